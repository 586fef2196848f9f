//! Indexing with progress and Ctrl-C, shared by the commands that index.

use std::path::Path;

use anyhow::{Context, Result};
use relens::embed::ImageEmbedder;
use relens::embed::retriever::Retriever;
use relens::library::{IndexingOptions, IndexingSummary, Library};

use crate::interrupt;
use crate::reporter::Reporter;

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
    let mut library = match existing {
        Existing::Keep => Library::open_or_create(directory, &model),
        Existing::Rebuild => Library::rebuild(directory, &model),
    }
    .with_context(|| format!("the library {} cannot be used", directory.display()))?;
    let summary = library.index_directory(images, retriever, options, &mut Reporter::default());
    let summary = summary.with_context(|| format!("indexing {} stopped", images.display()))?;
    Ok((library, summary))
}
