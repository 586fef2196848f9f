//! Indexing with progress and Ctrl-C, shared by the commands that index.

use std::path::Path;

use anyhow::{Context, Result};
use relens::embed::ImageEmbedder;
use relens::embed::retriever::Retriever;
use relens::library::{IndexingOptions, IndexingSummary, KeptFolder, Library};

use crate::library_location::with_remedy;
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
    if let Some((library, kept)) = unplugged(directory, images) {
        return Ok((library, IndexingSummary { kept: vec![kept], ..IndexingSummary::default() }));
    }
    // A mistyped directory must not leave an empty library behind.
    fs_err::read_dir(images)?;
    interrupt::watch();
    let model = retriever.model();
    let mut announced = false;
    let _lock = Library::lock(directory, |who| {
        if !announced {
            progress::note(&format!("{who} is indexing into this library; waiting until it has finished"));
            announced = true;
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

/// The library, and the folder that it knows at `images`, where nothing lies now: a drive that is unplugged.
fn unplugged(directory: &Path, images: &Path) -> Option<(Library, KeptFolder)> {
    let library = Library::open(directory).ok().filter(|_| !images.exists())?;
    let place = std::path::absolute(images).ok()?;
    let folder = library.catalog().folders().ok()?.into_iter().find(|folder| folder.path == place)?;
    Some((library, KeptFolder { path: folder.path, images: folder.images }))
}
