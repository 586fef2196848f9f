//! `relens quickstart`: what a newcomer runs first.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use relens::embed::retriever::Retriever;
use relens::enhancer::Query;
use relens::enhancer::open::EnhancerContext;
use relens::error::Error;
use relens::library::{FoundImage, IndexingOptions};
use relens::model_hub::bundled;
use relens::ranking::Pipeline;
use relens::ranking::pipeline_config::DEFAULT;
use relens_models::regular_file::{self, FileKind};
use relens_server::ServerConfig;
use serde::Deserialize;

use crate::indexing::{self, Existing};
use crate::library_location::{self, LibraryArguments};
use crate::model_choice::{self, ModelArguments};
use crate::output::{self, Output};
use crate::ranking_output::{self, ShownImage};
use crate::{desktop, serving};
use relens::counted::counted;

/// How many pictures are shown for each search.
const SHOWN: usize = 3;

/// What the gallery is searched for: each has an answer there, most have a near miss too.
const GALLERY_QUERIES: [&str; 6] = [
    "two dogs looking out of a house",
    "people making music on a stage",
    "a cup of coffee on a wooden table",
    "a wild animal in the snow",
    "an old castle beside the water",
    "an orange flower",
];

/// Queries that fit most people's pictures.
const EVERYDAY_QUERIES: [&str; 5] = [
    "children playing outside",
    "a group of people smiling",
    "a dog on the grass",
    "mountains and water",
    "a street with cars",
];

/// See what relens does: index some pictures and search them.
///
/// Without options, forty pictures that come with relens are indexed into a library that is thrown away afterwards.
/// With --images, your own directory is indexed into the default library (or the one that --library names), so that
/// `relens search` works on it right away. With --serve, the pictures are then searched in a browser. No network is needed.
#[derive(Debug, Args)]
pub(crate) struct QuickstartArguments {
    /// A directory with your own pictures.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// Open the page of `relens serve` on these pictures afterwards, until Ctrl-C.
    #[arg(long)]
    serve: bool,

    /// Where that page is served; port 0 takes any that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7788", requires = "serve")]
    listen: SocketAddr,

    #[command(flatten)]
    library: LibraryArguments,

    #[command(flatten)]
    model: ModelArguments,
}

/// What the gallery's `attribution.json` says about a picture.
#[derive(Debug, Deserialize)]
struct ImageCredit {
    file: String,
    title: String,
}

impl QuickstartArguments {
    pub(crate) fn run(self) -> Result<()> {
        let retriever = Arc::new(self.model.open()?);
        let mut output = Output::new();
        match &self.images {
            Some(pictures) => {
                let directory = self.library.directory()?;
                let show = Showcase { pictures, queries: &EVERYDAY_QUERIES, titles: HashMap::new() };
                show.run(&directory, &retriever, &mut output)?;
                writeln!(
                    output.writer,
                    "The pictures are now in {}. Next, search them:",
                    directory.display()
                )?;
                writeln!(output.writer, "  relens search \"two dogs on a beach\"\n  relens search --help")?;
                output.writer.flush()?;
                self.open_page(directory, library_location::home()?, &retriever)?;
            }
            None => {
                let gallery = bundled::gallery()?;
                let (temporary, titles) = (tempfile::tempdir()?, titles(&gallery)?);
                let show = Showcase { pictures: &gallery, queries: &GALLERY_QUERIES, titles };
                show.run(temporary.path(), &retriever, &mut output)?;
                writeln!(output.writer, "Next, your own pictures:")?;
                writeln!(output.writer, "  relens index ~/Pictures")?;
                writeln!(output.writer, "  relens search \"two dogs on a beach\"\n")?;
                let attribution = gallery.join("ATTRIBUTION.md");
                let attribution = output.link(&attribution, &attribution.display().to_string());
                let faint = output.style(output::faint());
                writeln!(output.writer, "{faint}Who made these pictures: {attribution}{faint:#}")?;
                output.writer.flush()?;
                // What is tried out on the gallery is thrown away with it.
                let directory = temporary.path();
                self.open_page(directory.to_owned(), directory.join("home"), &retriever)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

impl QuickstartArguments {
    /// Serves the page, if that was asked for, and shows it.
    fn open_page(&self, library: PathBuf, home: PathBuf, retriever: &Arc<Retriever>) -> Result<()> {
        if !self.serve {
            return Ok(());
        }
        let local = ServerConfig::local(library, home, model_choice::hub());
        let config = ServerConfig { listen: self.listen, ..local };
        serving::serve(config, retriever.clone(), |address| {
            if let Err(error) = desktop::open(format!("http://{address}")) {
                tracing::debug!("open the address in a browser: {error:#}");
            }
        })
    }
}

/// Some pictures and what to search them for.
struct Showcase<'a> {
    pictures: &'a Path,
    queries: &'a [&'a str],
    titles: HashMap<String, String>,
}

impl Showcase<'_> {
    fn run(&self, directory: &Path, retriever: &Arc<Retriever>, output: &mut Output) -> Result<()> {
        let start = Instant::now();
        let (library, summary) = indexing::index(
            directory,
            self.pictures,
            retriever,
            &IndexingOptions::default(),
            Existing::Keep,
        )?;
        if summary.cancelled {
            return Err(Error::Cancelled.into());
        }
        let (images, seconds, model) =
            (library.catalog().image_count()?, start.elapsed().as_secs_f64(), retriever.name());
        writeln!(output.writer, "{} indexed by {model} in {seconds:.1} s.\n", counted(images, "picture"))?;
        let strong = output.style(output::strong());
        let context = EnhancerContext { embedder: Some(retriever.clone()), ..EnhancerContext::default() };
        let pipeline = Pipeline::open(DEFAULT, &context)?;
        for query in self.queries {
            writeln!(output.writer, "relens search {strong}\"{query}\"{strong:#}")?;
            let (found, _) = library.search(&Query::new(query)?, SHOWN, &pipeline, retriever.as_ref())?;
            let found: Vec<ShownImage<'_>> = found.iter().map(|found| self.titled(found)).collect();
            ranking_output::write_list(output, &found, "", None)?;
            writeln!(output.writer)?;
        }
        Ok(())
    }

    fn titled<'a>(&'a self, found: &'a FoundImage) -> ShownImage<'a> {
        let path = &found.image.path;
        let name = path.file_name().and_then(|name| name.to_str());
        ShownImage {
            path,
            score: found.score,
            evidence: found.evidence,
            title: name.and_then(|name| self.titles.get(name)).map(String::as_str),
        }
    }
}

/// What the gallery's pictures show, by their file names.
fn titles(gallery: &Path) -> Result<HashMap<String, String>> {
    let path = gallery.join("attribution.json");
    let attributions: Vec<ImageCredit> =
        serde_json::from_slice(&regular_file::read(&path, FileKind::Settings)?).with_context(|| {
            format!("{}: expected a JSON array of {{\"file\", \"title\", …}}", path.display())
        })?;
    Ok(attributions.into_iter().map(|picture| (picture.file, picture.title)).collect())
}
