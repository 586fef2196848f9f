//! The vectors of pictures that are named one by one or by a dataset: all of them, or an error.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use relens::dataset::Dataset;
use relens::embed::ImageEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::error::Error;

use crate::progress::Progress;
use crate::reporter::Reporter;
use crate::{interrupt, library_location};

/// Pictures that are scaled down, then embedded together: bounds the memory, whatever their number and size.
const IMAGES_PER_BATCH: usize = 64;

/// Embeds the pictures at `paths`, in order.
///
/// Each is scaled down as soon as it is decoded, so that no more large ones are in memory than there are threads.
///
/// # Errors
/// For the first picture that cannot be read, by its name.
pub(crate) fn embed_images<P: AsRef<Path> + Sync>(retriever: &Retriever, paths: &[P]) -> Result<Embeddings> {
    let mut embeddings = Embeddings::new(retriever.dim());
    for batch in paths.chunks(IMAGES_PER_BATCH) {
        let prepared = batch.par_iter().map(|path| Ok(retriever.prepare(path.as_ref())?.picture));
        let pictures = prepared.collect::<relens::error::Result<Vec<_>>>()?;
        embeddings.append(&retriever.embed(&pictures)?)?;
    }
    Ok(embeddings)
}

/// Embeds the dataset's pictures in order. One that cannot be read is an error: without it the numbers would lie.
pub(crate) fn embed_dataset(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    let (mut embeddings, total) = (Embeddings::new(retriever.dim()), dataset.images.len() as u64);
    let progress = Progress::start("pictures", total);
    for batch in dataset.images.chunks(IMAGES_PER_BATCH) {
        if interrupt::requested() {
            return Err(Error::Cancelled.into());
        }
        let paths: Vec<&Path> = batch.iter().map(|image| image.path.as_path()).collect();
        embeddings.append(&embed_images(retriever, &paths)?)?;
        progress.update(embeddings.rows() as u64, total);
    }
    progress.finish();
    Ok(embeddings)
}

/// The vectors of the data set's pictures, `[pictures, dim]`, from the cache in relens's home where it has them.
pub(crate) fn embed_dataset_once(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    // Without a home directory the next run is slower, nothing else.
    let cache = library_location::home()
        .map_or_else(|_| EmbeddingCache::nowhere(), |home| EmbeddingCache::at(home.join("cache")));
    let paths: Vec<PathBuf> = dataset.images.iter().map(|image| image.path.clone()).collect();
    Ok(cache.images(retriever, &paths, &mut Reporter::default())?)
}
