//! The vectors of pictures that are named one by one or by a dataset: all of them, or an error.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rayon::prelude::*;
use relens::dataset::Dataset;
use relens::embed::ImageEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::error::Error;
use relens::index::{ExactIndex, Index};

use crate::progress::Progress;
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
        let images = prepared.collect::<relens::error::Result<Vec<_>>>()?;
        embeddings.append(&retriever.embed(&images)?)?;
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

/// The vectors of the data set's pictures, `[pictures, dim]`, from the cache in relens's home if they are there.
///
/// They are found by the model's fingerprint and the pictures' paths, sizes and times of change.
pub(crate) fn embed_dataset_once(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
    let fingerprint = fingerprint(dataset, retriever)?;
    let path = cache_file(&fingerprint);
    let ids: Vec<u64> = (0..dataset.images.len() as u64).collect();
    if let Some(path) = path.as_ref().filter(|path| path.is_file()) {
        match ExactIndex::open(path, &fingerprint) {
            Ok(index) => return Ok(index.vectors(&ids)?),
            Err(error) => tracing::info!("computed again: {error}"),
        }
    }
    let vectors = embed_dataset(dataset, retriever)?;
    if let Some(path) = path {
        let saved = ExactIndex::from_parts(&fingerprint, ids, vectors.clone())?.save(&path);
        // Without the cache the next run is slower, nothing else.
        if let Err(error) = saved {
            tracing::info!("the pictures' vectors are not kept: {error}");
        }
    }
    Ok(vectors)
}

fn cache_file(fingerprint: &str) -> Option<PathBuf> {
    let directory = library_location::home().ok()?.join("cache");
    fs_err::create_dir_all(&directory).ok()?;
    Some(directory.join(format!("pictures-{}.vectors", fingerprint.get(..32)?)))
}

fn fingerprint(dataset: &Dataset, retriever: &Retriever) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(retriever.fingerprint().as_bytes());
    for image in &dataset.images {
        let metadata = fs_err::metadata(&image.path)?;
        let changed = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        hasher.update(image.path.as_os_str().as_encoded_bytes());
        hasher.update(&[0]);
        hasher.update(&metadata.len().to_le_bytes());
        hasher.update(&changed.as_nanos().to_le_bytes());
    }
    Ok(hasher.finalize().to_hex().to_string())
}
