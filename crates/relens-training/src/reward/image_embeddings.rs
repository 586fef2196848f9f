//! Pictures' embeddings, computed once for each retriever and list of pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens_models::atomic_file::write_atomically;
use relens_models::image_preprocessing::decode_image;
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use sha2::{Digest, Sha256};

use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Pictures decoded and embedded at once.
const BATCH: usize = 64;

/// The tensor's name in a cache file.
const TENSOR: &str = "embeddings";

/// Where embeddings are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingCache {
    /// The directory; files in it are named by all that decides their content.
    pub directory: PathBuf,
}

/// The embeddings of pictures in order, `[pictures, dim]`; from the cache if it has them.
///
/// # Errors
/// A picture that cannot be read, with its path; [`TrainingError::Interrupted`] where `progress` asks for it; a full
/// disk.
pub fn embed_pictures(
    retriever: &Retriever,
    paths: &[PathBuf],
    cache: &EmbeddingCache,
    progress: &mut dyn Progress,
) -> Result<Embeddings> {
    let file = cache.directory.join(format!("{}.safetensors", key(retriever.fingerprint(), paths)?));
    if file.is_file() {
        match read(&file, paths.len(), retriever.dim()) {
            Ok(embeddings) => return Ok(embeddings),
            Err(error) => tracing::warn!(%error, "cached embeddings cannot be used, computing them anew"),
        }
    }
    let mut embeddings = Embeddings::new(retriever.dim());
    progress.begin("picture embeddings", paths.len() as u64);
    for (batch, chunk) in paths.chunks(BATCH).enumerate() {
        let pictures = chunk.par_iter().map(decode_image).collect::<Result<Vec<_>, _>>()?;
        embeddings.append(&retriever.embed_images(&pictures)?)?;
        progress.advance((batch * BATCH + chunk.len()) as u64);
        if progress.cancelled() {
            return Err(TrainingError::Interrupted { step: 0 });
        }
    }
    progress.end();
    fs_err::create_dir_all(&cache.directory)?;
    let tensor =
        Tensor::from_slice(embeddings.as_slice(), (embeddings.rows(), embeddings.dim()), &Device::Cpu)?;
    let tensors = BTreeMap::from([(TENSOR.to_owned(), tensor)]);
    write_atomically(&file, &tensors_to_bytes(&tensors, ElementType::F32)?)?;
    Ok(embeddings)
}

fn read(file: &Path, rows: usize, dim: usize) -> Result<Embeddings> {
    let tensor = Weights::open(file)?.tensor(TENSOR, &[rows, dim])?;
    Ok(Embeddings::from_rows(dim, tensor.flatten_all()?.to_vec1()?)?)
}

/// A hash of the retriever and of every picture's path, size and time of change.
fn key(fingerprint: &str, paths: &[PathBuf]) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(fingerprint.as_bytes());
    for path in paths {
        let metadata = fs_err::metadata(path)?;
        let changed = metadata.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        hash.update(path.as_os_str().as_encoded_bytes());
        hash.update(metadata.len().to_le_bytes());
        hash.update(changed.to_le_bytes());
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}
