//! `relens serve`: the library over HTTP, for programs and in a browser.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens::error::Error;
use relens::library::Library;
use relens_server::ServerConfig;

use crate::library_location::{self, LibraryArguments};
use crate::model_choice::{self, PrecisionArguments};
use crate::usage::usage_error;
use crate::{progress, serving};

/// Answer searches over HTTP: a page for people, an interface for programs.
///
/// The page is at http://127.0.0.1:7788, the interface at /api. Clients of OpenAI's embeddings, text-embeddings-inference,
/// immich's machine learning and clip-retrieval are answered in their own forms. Only this computer is served unless
/// --listen says otherwise; then a key is needed. A library that `relens index` changes meanwhile is read again.
///
/// Example: relens serve --alias ViT-B-32__openai=relens-mini
/// Example: relens serve --listen 0.0.0.0:7788 --api-key-file key.txt
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    library: LibraryArguments,

    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7788")]
    listen: SocketAddr,

    /// The retriever, by any name that `relens index --model` takes; may be repeated: clients may name the others, which
    /// are opened when they are first asked for. Default: the one that made the library.
    #[arg(long = "model", value_name = "NAME|DIR")]
    models: Vec<String>,

    #[command(flatten)]
    precision: PrecisionArguments,

    /// Another name under which clients may ask for a model; may be repeated.
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = alias)]
    aliases: Vec<(String, String)>,

    /// A file with the key that clients must send, of at least 16 characters.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Serve everybody who can reach an address that is not this computer's alone, without a key.
    #[arg(long)]
    insecure: bool,

    /// A name under which the server may be asked, beside localhost and addresses; may be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,

    /// Refuse changes of the knowledge base and judgements.
    #[arg(long)]
    read_only: bool,

    /// The address of an immich machine-learning service for what relens does not do: faces, text in pictures.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// Fetch pictures at public addresses of the network that clients name. Addresses of this computer and its network are
    /// never fetched.
    #[arg(long)]
    allow_remote_images: bool,

    /// Write what is searched for into the log (-v shows it).
    #[arg(long)]
    log_queries: bool,
}

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => {
            Ok((name.to_owned(), model.to_owned()))
        }
        _ => Err(format!("expected NAME=MODEL, such as ViT-B-32__openai=relens-mini, found `{text}`")),
    }
}

impl ServeArguments {
    pub(crate) fn run(self) -> Result<()> {
        let directory = self.library.directory()?;
        let retriever = self.retriever(&directory)?;
        let config = self.config(directory, &retriever)?;
        serving::serve(config, retriever, |_| {})
    }

    /// The first model that was named, else that of the library, else the default until there is a library.
    fn retriever(&self, directory: &Path) -> Result<Retriever> {
        let named = self.models.first().map(String::as_str);
        match Library::open(directory) {
            Ok(library) => model_choice::of_library(&library, named, &self.precision),
            Err(Error::NoLibrary { .. }) => {
                progress::note(&format!(
                    "no library in {} yet: `relens index DIR` makes one, which is then searched",
                    directory.display()
                ));
                Ok(self.precision.apply(model_choice::open(named.unwrap_or(DEFAULT_MODEL))?))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn config(self, library: PathBuf, retriever: &Retriever) -> Result<ServerConfig> {
        let aliases: BTreeMap<String, String> = self.aliases.into_iter().collect();
        let models: Vec<String> = self.models.into_iter().skip(1).collect();
        let known = |model: &String| model == retriever.name() || models.contains(model);
        if let Some((name, model)) = aliases.iter().find(|(_, model)| !known(model)) {
            let served = retriever.name();
            return Err(usage_error(format!(
                "--alias {name}={model}: expected the name of a model that is served ({served}, or a further --model)"
            )));
        }
        Ok(ServerConfig {
            listen: self.listen,
            models,
            aliases,
            api_key: self.api_key_file.as_deref().map(read_key).transpose()?,
            insecure: self.insecure,
            hosts: self.hosts,
            read_only: self.read_only,
            upstream: self.upstream,
            remote_images: self.allow_remote_images,
            log_queries: self.log_queries,
            ..ServerConfig::local(library, library_location::home()?, model_choice::hub())
        })
    }
}

fn read_key(path: &Path) -> Result<String> {
    let text = fs_err::read_to_string(path).context("the key cannot be read")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_has_two_sides() {
        assert_eq!(alias("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(alias("a").is_err() && alias("=b").is_err() && alias("a=").is_err());
    }
}
