//! Embeddings of a frozen retriever, kept on disk between runs.
//!
//! A file holds one block of texts or pictures; its name is a hash of the retriever's fingerprint and of what was
//! embedded. A run that is stopped goes on with the next block.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use relens::embed::ImageEmbedder;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens_models::weights::{ElementType, Weights, save_tensors};
use sha2::{Digest, Sha256};

use crate::{Result, TrainingError};
use relens::progress::Progress;

const TEXTS_PER_BLOCK: usize = 2048;
const PICTURES_PER_BLOCK: usize = 256;
/// Pictures that are in memory at a time.
const PICTURES_AT_ONCE: usize = 64;
const TENSOR: &str = "embeddings";

/// The cache's directory.
pub(super) struct EmbeddingCache {
    directory: PathBuf,
}

impl EmbeddingCache {
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs_err::create_dir_all(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The embeddings of `texts`, in order.
    pub(super) fn texts(
        &self,
        embedder: &dyn TextEmbedder,
        texts: &[String],
        progress: &mut dyn Progress,
    ) -> Result<Embeddings> {
        let key = |text: &String| Ok(text.clone().into_bytes());
        let blocks = Blocks { what: "texts", size: TEXTS_PER_BLOCK, fingerprint: embedder.fingerprint() };
        self.blocks(&blocks, texts, key, progress, |block| {
            let texts: Vec<&str> = block.iter().map(String::as_str).collect();
            Ok(embedder.embed_texts(&texts)?)
        })
    }

    /// The embeddings of the pictures at `paths`, in order. A picture is known by its path, size and time of change.
    pub(super) fn pictures<E: ImageEmbedder>(
        &self,
        embedder: &E,
        paths: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<Embeddings> {
        let key = |path: &PathBuf| {
            let file = fs_err::metadata(path)?;
            let changed = file.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Ok(format!("{} {} {}", path.display(), file.len(), changed.as_nanos()).into_bytes())
        };
        let model = embedder.model();
        let blocks = Blocks { what: "pictures", size: PICTURES_PER_BLOCK, fingerprint: &model.fingerprint };
        self.blocks(&blocks, paths, key, progress, |block| {
            let mut embeddings = Embeddings::new(model.dim);
            for paths in block.chunks(PICTURES_AT_ONCE) {
                let prepared = paths.par_iter().map(|path| Ok(embedder.prepare(path)?.picture));
                let pictures = prepared.collect::<relens::error::Result<Vec<_>>>()?;
                embeddings.append(&embedder.embed(&pictures)?)?;
            }
            Ok(embeddings)
        })
    }

    fn blocks<T>(
        &self,
        blocks: &Blocks<'_>,
        items: &[T],
        key: impl Fn(&T) -> Result<Vec<u8>>,
        progress: &mut dyn Progress,
        embed: impl Fn(&[T]) -> Result<Embeddings>,
    ) -> Result<Embeddings> {
        progress.begin(blocks.what, items.len() as u64);
        let mut all: Option<Embeddings> = None;
        let mut done = 0;
        for block in items.chunks(blocks.size) {
            if progress.cancelled() {
                return Err(TrainingError::Interrupted { step: 0 });
            }
            let keys = block.iter().map(&key).collect::<Result<Vec<_>>>()?;
            let path = self.directory.join(blocks.file_name(&keys));
            let embedded = match read(&path) {
                Some(known) if known.rows() == block.len() => known,
                _ => {
                    let fresh = embed(block)?;
                    write(&path, &fresh)?;
                    fresh
                }
            };
            match &mut all {
                Some(all) => all.append(&embedded)?,
                None => all = Some(embedded),
            }
            done += block.len() as u64;
            progress.advance(done);
        }
        progress.end();
        all.ok_or_else(|| TrainingError::argument("EmbeddingCache", format!("some {}", blocks.what), "none"))
    }
}

/// What a file of the cache is called by.
struct Blocks<'a> {
    what: &'static str,
    size: usize,
    fingerprint: &'a str,
}

impl Blocks<'_> {
    fn file_name(&self, keys: &[Vec<u8>]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.fingerprint.as_bytes());
        for key in keys {
            hash.update((key.len() as u64).to_le_bytes());
            hash.update(key);
        }
        let digest = hash.finalize();
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{name}.safetensors", self.what)
    }
}

/// A block that is there and whole; one that cannot be read is embedded again.
fn read(path: &Path) -> Option<Embeddings> {
    if !path.is_file() {
        return None;
    }
    let read = || -> Result<Embeddings> {
        let weights = Weights::open(path)?;
        let shape = weights.shape(TENSOR).unwrap_or(&[0, 0]).to_vec();
        let dim = shape.get(1).copied().unwrap_or(0);
        Ok(Embeddings::from_rows(dim, weights.stored(TENSOR, &shape)?.to_f32()?)?)
    };
    read()
        .inspect_err(|error| tracing::warn!(%error, "a cached block cannot be read, embedding it again"))
        .ok()
}

fn write(path: &Path, embeddings: &Embeddings) -> Result<()> {
    let shape = (embeddings.rows(), embeddings.dim());
    let tensor = Tensor::from_slice(embeddings.as_slice(), shape, &Device::Cpu)?;
    Ok(save_tensors(path, &BTreeMap::from([(TENSOR.to_owned(), tensor)]), ElementType::F32)?)
}
