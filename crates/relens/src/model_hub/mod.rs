//! Models by name: bundled ones, directories, repositories of the Hugging Face hub, open_clip's names of weights.
//!
//! What is downloaded lies in the hub's own cache (`HF_HOME`, else `~/.cache/huggingface`), which other programs share.
//! A model that is there is opened without asking the hub.

pub mod bundled;
mod repository;

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};

pub use repository::ModelHub;
pub use repository::{open_clip_names, repository_of};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// What a repository's name begins with.
pub const HUB_PREFIX: &str = "hf-hub:";

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelReference {
    /// A directory.
    Directory(PathBuf),
    /// A model that comes with relens.
    Bundled(String),
    /// A repository of the hub.
    Repository {
        /// `organisation/name`.
        name: String,
        /// A branch, tag or commit.
        revision: String,
    },
}

impl ModelReference {
    /// Reads what somebody typed: the path of a directory, `hf-hub:organisation/name` with or without `@revision`,
    /// open_clip's `model/weights`, or else the name of a bundled model.
    ///
    /// # Errors
    /// A repository's name is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(repository) = text.strip_prefix(HUB_PREFIX) {
            let (name, revision) = repository.split_once('@').unwrap_or((repository, "main"));
            return Self::repository(text, name, revision);
        }
        // Before the names of the hub, so that a directory of the user's can always be meant.
        if Path::new(text).is_dir() {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        match repository_of(text) {
            Some(name) => Self::repository(text, name, "main"),
            None => Ok(Self::Bundled(text.to_owned())),
        }
    }

    fn repository(text: &str, name: &str, revision: &str) -> Result<Self> {
        let plain = |part: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            // The parts become directories of the cache.
            !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed)
        };
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() != 2 || !parts.into_iter().all(plain) || !revision.split('/').all(plain) {
            return Err(Error::Hub {
                model: text.to_owned(),
                reason: "expected hf-hub:organisation/name or hf-hub:organisation/name@revision".to_owned(),
            });
        }
        Ok(Self::Repository { name: name.to_owned(), revision: revision.to_owned() })
    }

    /// The model's directory; a repository that is not in the cache is downloaded first, unless `hub` is offline.
    ///
    /// # Errors
    /// There is no such model, or it cannot be downloaded.
    pub fn directory(&self, hub: &ModelHub, progress: &mut dyn Progress) -> Result<PathBuf> {
        match self {
            Self::Directory(path) => Ok(path.clone()),
            Self::Bundled(name) => bundled::model(name),
            Self::Repository { name, revision } => hub.directory(name, revision, progress),
        }
    }
}

impl Display for ModelReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::Bundled(name) => formatter.write_str(name),
            Self::Repository { name, revision } if revision == "main" => {
                write!(formatter, "{HUB_PREFIX}{name}")
            }
            Self::Repository { name, revision } => write!(formatter, "{HUB_PREFIX}{name}@{revision}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str, revision: &str) -> ModelReference {
        ModelReference::Repository { name: name.to_owned(), revision: revision.to_owned() }
    }

    #[test]
    fn every_kind_of_name_is_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        assert_eq!(ModelReference::parse(path).unwrap(), ModelReference::Directory(path.into()));
        let bundled = ModelReference::parse("relens-mini").unwrap();
        assert_eq!(bundled, ModelReference::Bundled("relens-mini".into()));
        for (text, expected, shown) in [
            ("hf-hub:a/b", repository("a/b", "main"), "hf-hub:a/b"),
            ("hf-hub:a/b@v1.0", repository("a/b", "v1.0"), "hf-hub:a/b@v1.0"),
            (
                "ViT-B-32/laion2b_s34b_b79k",
                repository("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "main"),
                "hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
            ),
        ] {
            let found = ModelReference::parse(text).unwrap();
            assert_eq!(found, expected, "{text}");
            assert_eq!(found.to_string(), shown);
        }
    }

    #[test]
    fn names_that_could_leave_the_cache_are_refused() {
        for text in [
            "hf-hub:",
            "hf-hub:a",
            "hf-hub:a/b/c",
            "hf-hub:../b",
            "hf-hub:a/..",
            "hf-hub:a/b@../x",
            "hf-hub:a b/c",
        ] {
            let message = ModelReference::parse(text).unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("expected hf-hub:"), "{message}");
        }
    }
}
