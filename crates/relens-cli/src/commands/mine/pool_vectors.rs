//! The pictures' vectors, kept between runs: embedding some thousand pictures takes longer than many a run.

use std::path::PathBuf;

use anyhow::Result;
use relens::dataset::Dataset;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::index::{ExactIndex, Index};

use crate::image_embedding::embed_dataset;
use crate::library_location;

/// The vectors of the data set's pictures, `[pictures, dim]`, from the cache in relens's home if they are there.
///
/// They are found by the model's fingerprint and the pictures' paths, sizes and times of change.
pub(super) fn of(dataset: &Dataset, retriever: &Retriever) -> Result<Embeddings> {
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
