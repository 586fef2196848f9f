//! Where the files that come with relens are: the bundled models and the quickstart gallery.
//!
//! Looked for, in this order, in
//! 1. the directory that the environment variable `RELENS_DATA` names,
//! 2. the directories that a program named by [`add_data_directory`],
//! 3. the installed program's surroundings: `../share/relens` seen from the executable, then its own directory,
//! 4. the workspace that the program was compiled in, which is how `cargo run` finds them.
//!
//! Each thing is taken from the first place that has it, so `RELENS_DATA` may hold a part only.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use crate::error::{Error, Result};

/// The environment variable that names a directory with `models/` and `gallery/` in it.
pub const DATA_VARIABLE: &str = "RELENS_DATA";

/// The file that makes a directory a bundled knowledge base.
pub const KNOWLEDGE_FILE: &str = "knowledge.jsonl";

/// The file that makes a directory a rewriter.
pub const REWRITER_FILE: &str = "relens_rewriter.json";

/// What [`add_data_directory`] named.
static NAMED: RwLock<Vec<PathBuf>> = RwLock::new(Vec::new());

/// Names a directory with `models/` and `gallery/` for the rest of the process: for a program that is not ours, such as
/// an interpreter, whose surroundings say nothing of where our files are.
pub fn add_data_directory(directory: impl Into<PathBuf>) {
    let directory = directory.into();
    let mut named = NAMED.write().unwrap_or_else(PoisonError::into_inner);
    if !named.contains(&directory) {
        named.push(directory);
    }
}

/// The directory of a bundled model, for example `models/relens-mini`.
///
/// # Errors
/// When no data directory has it, or `name` is no plain name (a path separator, `..`).
pub fn model(name: &str) -> Result<PathBuf> {
    // A name, not a path: `../x` must not lead out of the bundled data.
    let plain = Path::new(name).file_name() == Some(OsStr::new(name));
    let places = if plain { roots() } else { Vec::new() };
    locate_in(&places, &format!("models/{name}"))
}

/// The names of all bundled retrievers, sorted. The knowledge base and the rewriter beside them are none.
pub fn model_names() -> Vec<String> {
    model_names_in(&roots())
}

/// The directory of the quickstart gallery: pictures and `attribution.json`.
///
/// # Errors
/// When no data directory has it.
pub fn gallery() -> Result<PathBuf> {
    locate_in(&roots(), "gallery")
}

/// The data directories, in the order in which they are searched. Not all of them need to exist.
fn roots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    if let Some(named) = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()) {
        roots.push(PathBuf::from(named));
    }
    roots.extend(NAMED.read().unwrap_or_else(PoisonError::into_inner).iter().cloned());
    if let Some(directory) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        // An installed program first, then one beside its data, then a source tree that it was built in.
        roots.extend(directory.parent().map(|prefix| prefix.join("share/relens")));
        roots.push(directory.to_path_buf());
    }
    roots.extend(Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf));
    roots
}

fn locate_in(roots: &[PathBuf], relative: &str) -> Result<PathBuf> {
    let candidates = || roots.iter().map(|root| root.join(relative));
    candidates().find(|path| path.is_dir()).ok_or_else(|| {
        let searched: Vec<String> = candidates().map(|path| path.display().to_string()).collect();
        Error::NotBundled {
            what: relative.to_owned(),
            searched: if searched.is_empty() {
                "nothing, since that is no plain name".into()
            } else {
                searched.join(", ")
            },
        }
    })
}

fn model_names_in(roots: &[PathBuf]) -> Vec<String> {
    let entries =
        roots.iter().filter_map(|root| fs_err::read_dir(root.join("models")).ok()).flatten().flatten();
    let is_other =
        |directory: &Path| [KNOWLEDGE_FILE, REWRITER_FILE].iter().any(|file| directory.join(file).is_file());
    let names: BTreeSet<String> = entries
        .filter(|entry| entry.path().is_dir() && !is_other(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_directory(models: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in models {
            fs_err::create_dir_all(root.path().join("models").join(name)).unwrap();
        }
        root
    }

    #[test]
    fn the_first_place_that_has_it_wins() {
        let (first, second) = (data_directory(&["b"]), data_directory(&["a", "b"]));
        let roots = [first.path().to_path_buf(), second.path().to_path_buf()];
        assert_eq!(locate_in(&roots, "models/b").unwrap(), first.path().join("models/b"));
        assert_eq!(locate_in(&roots, "models/a").unwrap(), second.path().join("models/a"));
        assert_eq!(model_names_in(&roots), ["a", "b"]);
        fs_err::write(first.path().join("models/b").join(KNOWLEDGE_FILE), "").unwrap();
        fs_err::remove_dir(second.path().join("models/b")).unwrap();
        assert_eq!(model_names_in(&roots), ["a"], "a knowledge base is no retriever");
        fs_err::write(second.path().join("models/a").join(REWRITER_FILE), "").unwrap();
        assert_eq!(model_names_in(&roots), [""; 0], "nor is a rewriter");
    }

    #[test]
    fn what_is_missing_is_reported_with_every_path_tried() {
        let (first, second) = (data_directory(&[]), data_directory(&[]));
        let roots = [first.path().to_path_buf(), second.path().to_path_buf()];
        let message = locate_in(&roots, "models/c").unwrap_err().to_string();
        for root in &roots {
            assert!(message.contains(&root.join("models/c").display().to_string()), "{message}");
        }
    }

    #[test]
    fn a_model_name_cannot_leave_the_models_directory() {
        for name in ["../gallery", "", ".", "..", "a/b", "/etc"] {
            assert!(model(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn the_gallery_is_found_from_the_workspace() {
        assert!(gallery().unwrap().join("attribution.json").is_file());
    }
}
