//! Indexing with progress and Ctrl-C, shared by the commands that index.

use std::path::Path;

use anyhow::{Context, Result};
use relens::embed::ImageEmbedder;
use relens::embed::retriever::Retriever;
use relens::error::Error;
use relens::library::{IndexingOptions, IndexingSummary, Library};

use crate::reporter::Reporter;
use crate::{interrupt, progress};

/// Whether what another model indexed is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Rebuild,
}

/// Brings the library at `directory` up to date with `pictures`.
pub(crate) fn index(
    directory: &Path,
    images: &Path,
    retriever: &Retriever,
    options: &IndexingOptions,
    existing: Existing,
) -> Result<(Library, IndexingSummary)> {
    // A mistyped directory must not leave an empty library behind.
    fs_err::read_dir(images)?;
    interrupt::watch();
    let model = retriever.model();
    let mut told = false;
    let _lock = Library::lock(directory, |who| {
        if !told {
            progress::note(&format!("{who} is indexing into this library; waiting until it has finished"));
            told = true;
        }
        !interrupt::requested()
    })?;
    let mut library = match existing {
        Existing::Keep => Library::open_or_create(directory, &model),
        Existing::Rebuild => Library::rebuild(directory, &model),
    }
    .map_err(|error| with_remedy(directory, error))?;
    let summary = library.index_directory(images, retriever, options, &mut Reporter::default());
    let summary = summary.with_context(|| format!("indexing {} stopped", images.display()))?;
    Ok((library, summary))
}

/// Says what to type where a library cannot be used as it is.
fn with_remedy(directory: &Path, error: Error) -> anyhow::Error {
    let remedy = match &error {
        Error::OtherModel { .. } => {
            "; --rebuild indexes it anew by this model, --library DIR names another library, and --model the one that \
             made it"
        }
        Error::Corrupt { .. } => {
            "; `relens library repair` saves what can be read, --rebuild indexes it anew"
        }
        _ => "",
    };
    let message = format!("the library {} cannot be used{remedy}", directory.display());
    anyhow::Error::from(error).context(message)
}
