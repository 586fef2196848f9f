//! Features of all pictures and texts under the frozen towers, through the cache.

use candle_core::Tensor;
use half::f16;
use rayon::prelude::*;
use relens_models::image_preprocessing::{Preprocessor, RgbImage, decode_image};
use relens_models::ops::mean_pool;
use relens_models::tokenizer::Tokenizer;
use relens_models::towers::bert::BertModel;
use relens_models::weights::Weights;
use sha2::{Digest, Sha256};

use super::assembly::is_needed;
use super::config::ViewConfig;
use super::corpus::{Corpus, ImageTexts};
use super::feature_cache::{CacheKey, FeatureCache, FeatureRows, Fingerprint};
use super::views::{View, drop_words};
use crate::{Result, TrainingError, random};
use relens::progress::Progress;

/// Pictures that go through the trunk at once.
pub(super) const PICTURES: usize = 32;
/// The kind of a trunk's pooled features.
pub(super) const POOLED: &str = "image";
/// Texts that go through the text tower at once.
const TEXTS: usize = 256;

/// A hash of the tensors whose names begin with `prefix`, in half precision: a tower exported as f16 counts as the
/// tower that it was made from, and shares its cached features.
pub(super) fn tower_fingerprint(weights: &Weights, prefix: &str) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    for name in weights.names().filter(|name| name.starts_with(prefix) && is_needed(name)) {
        let shape = weights.shape(name).unwrap_or_default();
        let halves: Vec<u8> = weights
            .stored(name, shape)?
            .to_f32()?
            .iter()
            .flat_map(|&value| f16::from_f32(value).to_le_bytes())
            .collect();
        fingerprint = fingerprint.with(name).with(halves);
    }
    Ok(fingerprint.finish())
}

/// A hash of each picture file.
pub(super) fn picture_fingerprints(pictures: &[ImageTexts]) -> Result<Vec<[u8; 32]>> {
    pictures.par_iter().map(|picture| Ok(Sha256::digest(fs_err::read(&picture.path)?).into())).collect()
}

/// From prepared pictures `[pictures, height, width, 3]` to rows: a trunk, or the first blocks of one.
pub(super) struct ImageEncoding<'a> {
    /// What the rows are, part of the cache's file name.
    pub(super) kind: String,
    /// Numbers in a row.
    pub(super) width: usize,
    /// The computation.
    pub(super) forward: &'a dyn Fn(&Tensor) -> Result<Tensor>,
}

/// What is needed to show pictures to a trunk.
pub(super) struct ImageFeatures<'a> {
    pub(super) cache: &'a FeatureCache,
    pub(super) tower_fingerprint: &'a str,
    pub(super) preprocessor: &'a Preprocessor,
    pub(super) views: &'a ViewConfig,
}

impl ImageFeatures<'_> {
    /// One row a picture, as `view` shows it.
    ///
    /// # Errors
    /// A picture cannot be read or decoded (named).
    pub(super) fn rows(
        &self,
        encoding: &ImageEncoding<'_>,
        pictures: &[ImageTexts],
        hashes: &[[u8; 32]],
        view: View,
        progress: &mut dyn Progress,
    ) -> Result<FeatureRows> {
        let key = self.key(encoding, pictures, hashes, view)?;
        self.cache.rows(&key, PICTURES, progress, |range| {
            let batch = self.prepare(&pictures[range], view)?;
            Ok((encoding.forward)(&batch)?.flatten_all()?.to_vec1()?)
        })
    }

    /// What identifies the rows in the cache.
    pub(super) fn key(
        &self,
        encoding: &ImageEncoding<'_>,
        pictures: &[ImageTexts],
        hashes: &[[u8; 32]],
        view: View,
    ) -> Result<CacheKey> {
        let preprocess = serde_json::to_vec(self.preprocessor.config()).map_err(std::io::Error::from)?;
        let mut fingerprint = Fingerprint::default()
            .with(self.tower_fingerprint)
            .with(&encoding.kind)
            .with(preprocess)
            .with(view.description(self.views));
        for (picture, hash) in pictures.iter().zip(hashes) {
            fingerprint = fingerprint.with(hash).with(picture.name());
        }
        Ok(CacheKey {
            kind: format!("{}-{}", encoding.kind, view.name()),
            fingerprint: fingerprint.finish(),
            rows: pictures.len(),
            width: encoding.width,
        })
    }

    /// Decodes pictures and prepares them as `view` shows them: `[pictures, height, width, 3]`.
    pub(super) fn prepare(&self, pictures: &[ImageTexts], view: View) -> Result<Tensor> {
        let seen: Vec<RgbImage> = pictures
            .par_iter()
            .map(|picture| {
                let decoded = decode_image(&picture.path)?;
                view.of(decoded, &picture.name(), self.views, self.preprocessor.config())
            })
            .collect::<Result<_>>()?;
        Ok(self.preprocessor.batch(&seen)?)
    }
}

/// A text tower with its tokenizer: mean-pooled features.
#[derive(Debug)]
pub(super) struct TextFeatures<'a> {
    pub(super) tower: &'a BertModel,
    pub(super) tower_fingerprint: &'a str,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) width: usize,
}

impl TextFeatures<'_> {
    /// One row a text. `version` 0 is the text itself, others have words left out.
    pub(super) fn rows(
        &self,
        cache: &FeatureCache,
        texts: &[String],
        version: usize,
        views: &ViewConfig,
        progress: &mut dyn Progress,
    ) -> Result<FeatureRows> {
        let versions: Vec<String> = match version {
            0 => texts.to_vec(),
            _ => texts
                .iter()
                .map(|text| {
                    let purpose = format!("word dropout {text}");
                    let mut rng = random::stream(views.seed, &purpose, version as u64);
                    drop_words(text, views.word_dropout, &mut rng)
                })
                .collect(),
        };
        let mut fingerprint = Fingerprint::default()
            .with(self.tower_fingerprint)
            .with(self.tokenizer.context_length().to_le_bytes())
            .with(self.tokenizer.vocabulary_size().to_le_bytes());
        for text in &versions {
            fingerprint = fingerprint.with(text);
        }
        let kind = if version == 0 { "text".to_owned() } else { format!("text-dropped{version}") };
        let key =
            CacheKey { kind, fingerprint: fingerprint.finish(), rows: versions.len(), width: self.width };
        cache.rows(&key, TEXTS, progress, |range| self.compute(&versions[range]))
    }

    fn compute(&self, texts: &[String]) -> Result<Vec<f32>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let tokens = self.tokenizer.encode_batch(&texts)?;
        let hidden = self.tower.forward(&tokens)?;
        Ok(mean_pool(&hidden, &tokens.offsets)?.flatten_all()?.to_vec1()?)
    }
}

/// Mean caption features of every training picture, of length 1: `[pictures × width]`.
pub(super) fn caption_means(corpus: &Corpus, text: &FeatureRows) -> Result<Vec<f32>> {
    let width = text.width();
    let mut means = vec![0f32; corpus.training_pictures * width];
    let mut row = vec![0f32; width];
    for (picture, mean) in corpus.training().iter().zip(means.chunks_mut(width)) {
        for &caption in &picture.captions {
            text.read(caption, &mut row);
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            mean.iter_mut().zip(&row).for_each(|(mean, value)| *mean += value / length);
        }
        if mean.iter().any(|value| !value.is_finite()) {
            let found = picture.path.display().to_string();
            return Err(TrainingError::argument("caption_means", "finite caption features", found));
        }
    }
    Ok(means)
}
