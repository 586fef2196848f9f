//! Repositories of the hub, in its cache and over the network; and open_clip's names of weights.

use std::path::PathBuf;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use relens_models::dual_encoder::architecture::{Architecture, choose_weights, is_model_file};
use relens_models::regular_file::{self, FileKind};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// Set to 1 or true, nothing is downloaded.
const OFFLINE_VARIABLE: &str = "HF_HUB_OFFLINE";
/// A token for repositories that are not public; else the one that `hf auth login` left is used.
const TOKEN_VARIABLE: &str = "HF_TOKEN";
/// The cache's directory, if it is not `hub` inside `HF_HOME`.
const CACHE_VARIABLE: &str = "HF_HUB_CACHE";
/// Another server that speaks the hub's protocol.
const ENDPOINT_VARIABLE: &str = "HF_ENDPOINT";
/// How often a download is taken up again.
const RETRIES: usize = 3;

/// The hub and its cache.
#[derive(Debug, Clone)]
pub struct ModelHub {
    cache: Cache,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
}

impl ModelHub {
    /// The hub as the environment describes it: `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`,
    /// `HF_HUB_OFFLINE`. Where nobody is at home, the cache is in the directory for temporary files.
    pub fn from_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = match set(CACHE_VARIABLE) {
            Some(path) => Cache::new(PathBuf::from(path)),
            None if set("HF_HOME").is_some() || std::env::home_dir().is_some() => Cache::from_env(),
            None => Cache::new(std::env::temp_dir().join("huggingface").join("hub")),
        };
        let token = set(TOKEN_VARIABLE).or_else(|| cache.token());
        let offline =
            set(OFFLINE_VARIABLE).is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"));
        Self { cache, endpoint: set(ENDPOINT_VARIABLE), token, offline }
    }

    /// A hub of another place: for tests and mirrors.
    pub fn at(cache: PathBuf, endpoint: &str) -> Self {
        Self { cache: Cache::new(cache), endpoint: Some(endpoint.to_owned()), token: None, offline: false }
    }

    /// The same hub, with or without the network; what the environment forbids stays forbidden.
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline: self.offline || offline, ..self }
    }

    /// The directory of a repository's files, downloaded if something is missing and the network may be used.
    ///
    /// # Errors
    /// It is not in the cache and cannot be downloaded; the error names the path that was looked for.
    pub fn directory(&self, name: &str, revision: &str, progress: &mut dyn Progress) -> Result<PathBuf> {
        let repository = Repo::with_revision(name.to_owned(), RepoType::Model, revision.to_owned());
        let refused = |reason: String| Error::Hub { model: format!("{}{name}", super::HUB_PREFIX), reason };
        let snapshot = self.snapshot(&repository);
        // A model that is complete in the cache needs no network, not even to ask whether it is new.
        let missing = match &snapshot {
            Ok(directory) => match Architecture::open(directory) {
                Ok(_) => return Ok(directory.clone()),
                Err(error) => error.to_string(),
            },
            Err(path) => format!("expected {} in the cache, found none", path.display()),
        };
        if self.offline {
            return Err(refused(format!("{missing}; nothing is downloaded offline")));
        }
        self.download(&repository, progress)
            .map_err(|reason| refused(format!("{missing}; downloading it: {reason}")))?;
        self.snapshot(&repository).map_err(|path| refused(format!("expected {}, found none", path.display())))
    }

    /// Where the cache keeps the files of this revision, or the path at which it should say so.
    fn snapshot(&self, repository: &Repo) -> Result<PathBuf, PathBuf> {
        let root = self.cache.path().join(repository.folder_name());
        let reference = root.join("refs").join(repository.revision());
        let commit = match regular_file::read_to_string(&reference, FileKind::Settings) {
            Ok(commit) => commit.trim().to_owned(),
            // A full commit needs no reference.
            Err(_) => repository.revision().to_owned(),
        };
        let plain = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
        let directory = root.join("snapshots").join(commit);
        if plain && directory.is_dir() { Ok(directory) } else { Err(reference) }
    }

    /// Downloads the files that make up the model, those alone that are not in the cache yet.
    fn download(&self, repository: &Repo, progress: &mut dyn Progress) -> Result<(), String> {
        let api = self.api().map_err(|error| error.to_string())?;
        let remote = api.repo(repository.clone());
        let listing = remote.info().map_err(|error| message_of(&error))?;
        let names: Vec<&str> = listing.siblings.iter().map(|file| file.rfilename.as_str()).collect();
        let wanted = wanted_files(&names);
        if wanted.is_empty() {
            return Err(
                "expected open_clip_config.json or config.json in the repository, found neither".to_owned()
            );
        }
        let cached = self.cache.repo(repository.clone());
        for name in wanted.into_iter().filter(|name| cached.get(name).is_none()) {
            tracing::info!("downloading {name} of {}", repository.url());
            remote
                .download_with_progress(name, Forwarding::to(progress))
                .map_err(|error| format!("{name}: {}", message_of(&error)))?;
        }
        Ok(())
    }

    fn api(&self) -> Result<Api, ApiError> {
        let builder = ApiBuilder::from_cache(self.cache.clone())
            .with_retries(RETRIES)
            .with_token(self.token.clone())
            .with_progress(false);
        match &self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.trim_end_matches('/').to_owned()).build(),
            None => builder.build(),
        }
    }
}

/// The files of a listing that a model is read from.
fn wanted_files<'a>(names: &[&'a str]) -> Vec<&'a str> {
    if !["open_clip_config.json", "config.json"].iter().any(|config| names.contains(config)) {
        return Vec::new();
    }
    names.iter().copied().filter(|name| is_model_file(name)).chain(choose_weights(names)).collect()
}

/// An error in words that help.
fn message_of(error: &ApiError) -> String {
    let text = error.to_string();
    // The hub answers so for names that do not exist, too.
    if text.contains("401") || text.contains("403") {
        return format!("{text} (is the name right? if it is not public, set {TOKEN_VARIABLE})");
    }
    text
}

/// Turns the client's reports into ours: it starts every file twice, again at every retry, and then tells how much is
/// there already.
struct Forwarding<'a> {
    progress: &'a mut dyn Progress,
    started: bool,
    position_follows: bool,
    done: u64,
}

impl<'a> Forwarding<'a> {
    fn to(progress: &'a mut dyn Progress) -> Self {
        Self { progress, started: false, position_follows: false, done: 0 }
    }
}

impl hf_hub::api::Progress for Forwarding<'_> {
    fn init(&mut self, size: usize, file: &str) {
        if !self.started {
            self.progress.begin(file, size as u64);
        }
        self.started = true;
        self.position_follows = true;
    }

    fn update(&mut self, size: usize) {
        let size = size as u64;
        // The library reports where a resumed download begins as its first step, and after that what came in.
        let more = if self.position_follows { size.saturating_sub(self.done) } else { size };
        self.position_follows = false;
        self.done = self.done.saturating_add(more);
        self.progress.advance(self.done);
    }

    fn finish(&mut self) {
        self.progress.end();
    }
}

/// One line a model: `model/weights repository`.
const TABLE: &str = include_str!("open_clip_names.txt");

/// All names that are known, with their repositories, sorted.
pub fn open_clip_names() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '))
}

/// The repository of an open_clip name such as `ViT-B-32/laion2b_s34b_b79k`; `-quickgelu` in the model's name is
/// accepted and means the same weights.
pub fn repository_of(name: &str) -> Option<&'static str> {
    open_clip_names().find(|(known, _)| *known == name).map(|(_, repository)| repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        let names: Vec<_> = open_clip_names().collect();
        assert!(names.len() > 100, "{}", names.len());
        assert!(names.is_sorted(), "sorted by name, no name twice");
        for (name, repository) in names {
            assert_eq!(name.split('/').count(), 2, "{name}");
            assert_eq!(repository.split('/').count(), 2, "{repository}");
        }
        assert_eq!(
            repository_of("coca_ViT-L-14/laion2b_s13b_b90k"),
            Some("laion/CoCa-ViT-L-14-laion2B-s13B-b90k")
        );
        assert_eq!(repository_of("ViT-B-32/nonsense"), None);
    }
}
