//! The vectors of pictures that are named one by one or by a dataset: all of them, or an error.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use relens::dataset::{Dataset, DatasetImage};
use relens::embed::ImageEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::progress::Progress;

use crate::library_location;
use crate::reporter::Reporter;

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
        let prepared = batch.par_iter().map(|path| Ok(retriever.prepare(path.as_ref())?.image));
        let images = prepared.collect::<relens::error::Result<Vec<_>>>()?;
        embeddings.append(&retriever.embed(&images)?)?;
    }
    Ok(embeddings)
}

/// Embeds the dataset's pictures in order. One that cannot be read is an error: without it the numbers would lie.
pub(crate) fn embed_dataset(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    embed_by(&EmbeddingCache::nowhere(), dataset, retriever)
}

/// The dataset without pictures that are missing or cannot be read, and what is left out, each with the reason.
pub(crate) fn without_broken(mut dataset: Dataset, retriever: &Retriever) -> (Dataset, Vec<String>) {
    let read =
        |image: &DatasetImage| retriever.prepare(&image.path).map(drop).map_err(|error| error.to_string());
    let mut found: Vec<std::result::Result<(), String>> = Vec::with_capacity(dataset.images.len());
    let mut progress = Reporter::default();
    progress.begin("check-pictures", dataset.images.len() as u64);
    for batch in dataset.images.chunks(IMAGES_PER_BATCH) {
        found.par_extend(batch.par_iter().map(read));
        progress.advance(found.len() as u64);
    }
    progress.end();
    let mut found = found.into_iter();
    let mut broken = Vec::new();
    dataset.images.retain(|_| match found.next() {
        Some(Err(reason)) => {
            broken.push(reason);
            false
        }
        _ => true,
    });
    (dataset, broken)
}

/// The vectors of the data set's pictures, `[pictures, dim]`, from the cache in relens's home where it has them.
pub(crate) fn embed_dataset_once(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    // Without a home directory the next run is slower, nothing else.
    let cache = library_location::home()
        .map_or_else(|_| EmbeddingCache::nowhere(), |home| EmbeddingCache::at(home.join("cache")));
    embed_by(&cache, dataset, retriever)
}

fn embed_by(cache: &EmbeddingCache, dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    let paths: Vec<PathBuf> = dataset.images.iter().map(|image| image.path.clone()).collect();
    Ok(cache.images(retriever, &paths, &mut Reporter::default())?)
}
