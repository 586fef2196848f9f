//! Embeddings kept on disk between runs: to embed some thousand images takes longer than many a run.
//!
//! A file holds one block of images or texts; its name is a hash of the model's fingerprint and of what was embedded: a
//! text itself, an image's path with the size and time of change
//! of its file, which may be an archive. Work that is stopped goes on with the next block. There is
//! one layout for every command, so that what one of them embedded another finds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use candle_core::{Device, Tensor};
use rayon::prelude::*;
use relens_models::ModelError;
use relens_models::weights::{ElementType, Weights, save_tensors};

use crate::embed::embeddings::Embeddings;
use crate::embed::{ImageEmbedder, TextEmbedder};
use crate::error::{Error, Result};
use crate::pictures::archive;
use crate::progress::Progress;

const TEXTS_PER_BLOCK: usize = 2048;
const IMAGES_PER_BLOCK: usize = 256;
/// Images that are in memory at a time.
const IMAGES_AT_ONCE: usize = 64;
/// The tensor's name in a file.
const TENSOR: &str = "embeddings";

/// The kind of what a block holds, as its files are called. Files of earlier versions had other names.
#[derive(Clone, Copy)]
enum Kind {
    Images,
    Texts,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Images => "image-embeddings",
            Self::Texts => "text-embeddings",
        }
    }

    fn task(self) -> &'static str {
        match self {
            Self::Images => "image embeddings",
            Self::Texts => "text embeddings",
        }
    }
}

/// A directory of embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingCache {
    directory: Option<PathBuf>,
}

impl EmbeddingCache {
    /// The cache in a directory, which is made when there is something to keep.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()) }
    }

    /// Keeps nothing.
    pub fn nowhere() -> Self {
        Self { directory: None }
    }

    /// The embeddings of the images at `paths`, in order.
    ///
    /// # Shapes
    /// - result: `[paths.len(), dim]`, L2-normalised
    ///
    /// # Errors
    /// An image that cannot be read, with its path; [`Error::Cancelled`] where `progress` asks for it; the model's. A disk
    /// that is full is no error: the next run is slower, nothing else.
    pub fn images<E: ImageEmbedder>(
        &self,
        embedder: &E,
        paths: &[PathBuf],
        progress: &mut dyn Progress,
    ) -> Result<Embeddings> {
        let model = embedder.model();
        let key = |path: &PathBuf| {
            let file = fs_err::metadata(archive::file_of(path))?;
            let changed = file.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
            let mut key = path.as_os_str().as_encoded_bytes().to_vec();
            key.extend(file.len().to_le_bytes());
            key.extend(changed.as_nanos().to_le_bytes());
            Ok(key)
        };
        let embed = |paths: &[PathBuf]| {
            let mut embeddings = Embeddings::new(model.dim);
            for paths in paths.chunks(IMAGES_AT_ONCE) {
                let prepared = paths.par_iter().map(|path| Ok(embedder.prepare(path)?.image));
                embeddings.append(&embedder.embed(&prepared.collect::<Result<Vec<_>>>()?)?)?;
            }
            Ok(embeddings)
        };
        let blocks = Blocks { kind: Kind::Images, fingerprint: &model.fingerprint };
        let found = self.blocks(&blocks, paths.chunks(IMAGES_PER_BLOCK), key, embed, progress)?;
        Ok(found.unwrap_or_else(|| Embeddings::new(model.dim)))
    }

    /// The embeddings of `texts`, in order.
    ///
    /// # Shapes
    /// - result: `[texts.len(), dim]`, L2-normalised
    ///
    /// # Errors
    /// [`Error::Argument`] without a text; otherwise as [`EmbeddingCache::images`].
    pub fn texts(
        &self,
        embedder: &dyn TextEmbedder,
        texts: &[String],
        progress: &mut dyn Progress,
    ) -> Result<Embeddings> {
        let key = |text: &String| Ok(text.clone().into_bytes());
        let embed = |texts: &[String]| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            embedder.embed_texts(&texts)
        };
        let blocks = Blocks { kind: Kind::Texts, fingerprint: embedder.fingerprint() };
        let found = self.blocks(&blocks, texts.chunks(TEXTS_PER_BLOCK), key, embed, progress)?;
        found.ok_or_else(|| Error::Argument {
            operation: "EmbeddingCache::texts",
            expected: "at least one text".to_owned(),
            found: "none".to_owned(),
        })
    }

    fn blocks<'a, T: 'a>(
        &self,
        blocks: &Blocks<'_>,
        items: std::slice::Chunks<'a, T>,
        key: impl Fn(&T) -> Result<Vec<u8>>,
        embed: impl Fn(&[T]) -> Result<Embeddings>,
        progress: &mut dyn Progress,
    ) -> Result<Option<Embeddings>> {
        progress.begin(blocks.kind.task(), items.clone().map(<[T]>::len).sum::<usize>() as u64);
        let mut all: Option<Embeddings> = None;
        let (mut done, mut noted) = (0, false);
        for block in items {
            if progress.cancelled() {
                return Err(Error::Cancelled);
            }
            let path = match &self.directory {
                Some(directory) => {
                    let keys = block.iter().map(&key).collect::<Result<Vec<_>>>()?;
                    Some(directory.join(blocks.file_name(&keys)))
                }
                None => None,
            };
            let known = path.as_deref().and_then(read).filter(|known| known.rows() == block.len());
            let embedded = match known {
                Some(known) => known,
                None => {
                    if !std::mem::replace(&mut noted, true) {
                        self.note_earlier_version(progress);
                    }
                    let fresh = embed(block)?;
                    if let Some(Err(error)) = path.as_deref().map(|path| write(path, &fresh)) {
                        progress.message(&format!("embeddings are not kept for the next run: {error}"));
                    }
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
        Ok(all)
    }

    /// Says that what an earlier version kept here is of no use any more.
    fn note_earlier_version(&self, progress: &mut dyn Progress) {
        let Some(directory) = &self.directory else { return };
        let Ok(entries) = fs_err::read_dir(directory) else { return };
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        if names.any(|name| is_of_earlier_version(&name)) {
            progress.message(&format!(
                "{}: holds embeddings of an earlier version, which are computed anew; its files without \
                 `-embeddings-` or `rewards-` in their names can be deleted",
                directory.display()
            ));
        }
    }
}

/// Whether a file's name is one of the three kinds that there were: a hash alone, `texts-…`, `pictures-…`.
fn is_of_earlier_version(name: &str) -> bool {
    let hash = |text: &str| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((stem, "safetensors" | "vectors")) = name.rsplit_once('.') else { return false };
    hash(stem.strip_prefix("texts-").or_else(|| stem.strip_prefix("pictures-")).unwrap_or(stem))
}

/// What decides a file's name besides the block's items.
struct Blocks<'a> {
    kind: Kind,
    fingerprint: &'a str,
}

impl Blocks<'_> {
    fn file_name(&self, keys: &[Vec<u8>]) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(self.fingerprint.as_bytes());
        for key in keys {
            // The length first, so that no two lists of keys run into each other.
            hash.update(&(key.len() as u64).to_le_bytes());
            hash.update(key);
        }
        let digest = hash.finalize().to_hex();
        format!("{}-{}.safetensors", self.kind.prefix(), digest.get(..32).unwrap_or(&digest))
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
        Embeddings::from_rows(dim, weights.stored(TENSOR, &shape)?.to_f32()?)
    };
    read()
        .inspect_err(|error| tracing::warn!(%error, "cached embeddings cannot be read, computing them anew"))
        .ok()
}

fn write(path: &Path, embeddings: &Embeddings) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs_err::create_dir_all(directory)?;
    }
    let shape = (embeddings.rows(), embeddings.dim());
    let tensor = Tensor::from_slice(embeddings.as_slice(), shape, &Device::Cpu).map_err(ModelError::from)?;
    Ok(save_tensors(path, &BTreeMap::from([(TENSOR.to_owned(), tensor)]), ElementType::F32)?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::progress::Silent;

    /// Counts how many texts it was given.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl TextEmbedder for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        fn fingerprint(&self) -> &str {
            "counting"
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
            self.0.fetch_add(texts.len(), Ordering::Relaxed);
            Embeddings::from_rows(2, texts.iter().flat_map(|text| [text.len() as f32, 1.0]).collect())
        }
    }

    #[derive(Default)]
    struct Messages(Vec<String>);

    impl Progress for Messages {
        fn message(&mut self, text: &str) {
            self.0.push(text.to_owned());
        }
    }

    fn texts(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("text {number}")).collect()
    }

    #[test]
    fn a_block_is_embedded_once_and_a_damaged_one_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = EmbeddingCache::at(directory.path().join("cache"));
        let (counting, texts) = (Counting::default(), texts(TEXTS_PER_BLOCK + 3));
        let first = cache.texts(&counting, &texts, &mut Silent).unwrap();
        let again = cache.texts(&counting, &texts, &mut Silent).unwrap();
        assert_eq!(first.as_slice(), again.as_slice());
        assert_eq!(counting.0.load(Ordering::Relaxed), texts.len());
        let files: Vec<_> = std::fs::read_dir(directory.path().join("cache")).unwrap().flatten().collect();
        assert_eq!(files.len(), 2, "two blocks");
        for file in files {
            std::fs::write(file.path(), "broken").unwrap();
        }
        assert_eq!(cache.texts(&counting, &texts, &mut Silent).unwrap().as_slice(), first.as_slice());
        assert_eq!(counting.0.load(Ordering::Relaxed), 2 * texts.len());
    }

    #[test]
    fn what_an_earlier_version_kept_is_named_and_computed_anew() {
        let directory = tempfile::tempdir().unwrap();
        let old = format!("pictures-{}.vectors", "0a".repeat(16));
        std::fs::write(directory.path().join(&old), "old").unwrap();
        let mut messages = Messages::default();
        let cache = EmbeddingCache::at(directory.path());
        cache.texts(&Counting::default(), &texts(2), &mut messages).unwrap();
        assert!(messages.0.len() == 1 && messages.0[0].contains("earlier version"), "{:?}", messages.0);
        cache.texts(&Counting::default(), &texts(2), &mut messages).unwrap();
        assert_eq!(messages.0.len(), 1, "nothing is computed, nothing is said");
        for (name, earlier) in [
            ("rewards-x.safetensors", false),
            ("a.txt", false),
            (&*format!("{}.safetensors", "f".repeat(32)), true),
        ] {
            assert_eq!(is_of_earlier_version(name), earlier, "{name}");
        }
    }
}
