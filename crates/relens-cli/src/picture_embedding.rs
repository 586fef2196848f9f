//! Pictures named one by one, as vectors: all or none.

use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::library::ImageEmbedder;

/// Pictures that are scaled down, then embedded together: bounds the memory, whatever their number and size.
pub(crate) const PICTURES_PER_BATCH: usize = 64;

/// Embeds the pictures at `paths`, in order.
///
/// Each is scaled down as soon as it is decoded, so that no more large ones are in memory than there are threads.
///
/// # Errors
/// For the first picture that cannot be read, by its name.
pub(crate) fn embed_pictures<P: AsRef<Path> + Sync>(
    retriever: &Retriever,
    paths: &[P],
) -> Result<Embeddings> {
    let mut embeddings = Embeddings::new(retriever.dim());
    for batch in paths.chunks(PICTURES_PER_BATCH) {
        let prepared = batch.par_iter().map(|path| Ok(retriever.prepare(path.as_ref())?.picture));
        let pictures = prepared.collect::<relens::error::Result<Vec<_>>>()?;
        embeddings.append(&retriever.embed(&pictures)?)?;
    }
    Ok(embeddings)
}
