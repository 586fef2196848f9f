//! Teachers: finished models whose similarities are soft targets.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use relens::dataset::Dataset;
use relens_models::dual_encoder::DualEncoder;
use relens_models::image_preprocessing::Preprocessor;

use super::batches::Batch;
use super::config::{TeacherConfig, ViewConfig};
use super::corpus::Corpus;
use super::feature_cache::{CacheKey, FeatureCache, Fingerprint};
use super::features::{ImageEncoding, ImageFeatures, POOLED, tower_fingerprint};
use super::views::View;
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Texts that a teacher embeds at once.
const TEXTS: usize = 256;

/// An ensemble of teachers: their embeddings of all training pictures and texts.
#[derive(Debug)]
pub(super) struct Teachers {
    /// `[pictures, width]` and `[texts, width]` of each.
    embeddings: Vec<(Tensor, Tensor)>,
    /// Factor on the mean cosine before the softmax.
    pub(super) scale: f64,
    /// Share of the target.
    pub(super) weight: f64,
}

/// What all teachers are shown.
pub(super) struct TeacherInputs<'a> {
    pub(super) corpus: &'a Corpus,
    pub(super) picture_hashes: &'a [[u8; 32]],
    pub(super) cache: &'a FeatureCache,
    pub(super) views: &'a ViewConfig,
}

impl Teachers {
    /// Embeds the training split with each teacher; `None` where the configuration asks for none.
    pub(super) fn load(
        config: &TeacherConfig,
        inputs: &TeacherInputs<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Option<Self>> {
        if config.weight == 0.0 || config.models.is_empty() {
            return Ok(None);
        }
        let aligned = config.captions.as_ref().map(|path| aligned_texts(path, inputs.corpus)).transpose()?;
        let texts = aligned.as_deref().unwrap_or(&inputs.corpus.texts[..inputs.corpus.training_texts]);
        let mut embeddings = Vec::new();
        let mut scales = 0f64;
        for path in &config.models {
            let encoder = DualEncoder::open(model_directory(path))?;
            scales += f64::from(encoder.logit_scale()).exp();
            let images = embed_pictures(&encoder, inputs, progress)?;
            let captions = embed_texts(&encoder, texts, inputs.cache, progress)?;
            embeddings.push((images, captions));
        }
        let scale = if config.scale > 0.0 { config.scale } else { scales / config.models.len() as f64 };
        Ok(Some(Self { embeddings, scale, weight: config.weight }))
    }

    /// The mean of the teachers' cosines: `[pictures of the batch, texts of the batch]`.
    pub(super) fn similarities(&self, batch: &Batch) -> Result<Tensor> {
        let positions = |positions: &[usize]| -> Result<Tensor> {
            let positions: Vec<u32> = positions.iter().map(|&position| position as u32).collect();
            Ok(Tensor::new(positions, &Device::Cpu)?)
        };
        let (pictures, texts) = (positions(&batch.pictures)?, positions(&batch.texts)?);
        let mut sum: Option<Tensor> = None;
        for (images, captions) in &self.embeddings {
            let images = images.index_select(&pictures, 0)?;
            let captions = captions.index_select(&texts, 0)?;
            let similarities = images.matmul(&captions.t()?.contiguous()?)?;
            sum = Some(match sum {
                Some(sum) => (sum + similarities)?,
                None => similarities,
            });
        }
        let sum = sum.ok_or_else(|| {
            TrainingError::argument("Teachers::similarities", "at least one teacher", "none")
        })?;
        Ok((sum / self.embeddings.len() as f64)?)
    }
}

/// A model directory, or the one that a run has finished.
fn model_directory(path: &Path) -> PathBuf {
    let finished = path.join(super::MODEL_DIRECTORY);
    if finished.is_dir() { finished } else { path.to_owned() }
}

fn embed_pictures(
    encoder: &DualEncoder,
    inputs: &TeacherInputs<'_>,
    progress: &mut dyn Progress,
) -> Result<Tensor> {
    let image = encoder.image_encoder()?;
    let features = ImageFeatures {
        cache: inputs.cache,
        tower_fingerprint: &tower_fingerprint(
            encoder.parameters().weights(),
            &encoder.architecture().image.place,
        )?,
        preprocessor: &Preprocessor::new(encoder.architecture().preprocess.clone())?,
        views: inputs.views,
    };
    let encoding = ImageEncoding {
        kind: POOLED.to_owned(),
        width: image.width(),
        forward: &|pictures| Ok(image.features(pictures)?),
    };
    let (pictures, hashes) = (&inputs.corpus.pictures, inputs.picture_hashes);
    let rows = features.rows(&encoding, pictures, hashes, View::Full, progress)?;
    let count = inputs.corpus.training_pictures;
    let values = Tensor::from_vec(rows.to_f32(0..count), (count, rows.width()), &Device::Cpu)?;
    Ok(image.project(&values)?)
}

/// For every training text the caption of its picture that the teachers read in its place.
fn aligned_texts(annotations: &Path, corpus: &Corpus) -> Result<Vec<String>> {
    // The pictures are those of the corpus: only names matter here.
    let dataset = Dataset::open(annotations, annotations.parent().unwrap_or(Path::new("")))?;
    let captions_of: HashMap<_, _> =
        dataset.images.iter().map(|image| (image.path.file_name(), image.captions.as_slice())).collect();
    let mut texts = vec![String::new(); corpus.training_texts];
    for picture in corpus.training() {
        let captions = captions_of.get(&picture.path.file_name()).copied().unwrap_or_default();
        if captions.is_empty() {
            let reason = format!("expected captions of {}, which is trained on, found none", picture.name());
            return Err(TrainingError::Data { path: annotations.to_owned(), reason });
        }
        let own =
            picture.captions.iter().chain(&picture.extra_captions).chain(picture.rewrites.iter().flatten());
        for (&text, caption) in own.zip(captions.iter().cycle()) {
            if let Some(place) = texts.get_mut(text) {
                place.clone_from(caption);
            }
        }
    }
    Ok(texts)
}

fn embed_texts(
    encoder: &DualEncoder,
    texts: &[String],
    cache: &FeatureCache,
    progress: &mut dyn Progress,
) -> Result<Tensor> {
    let tokenizer = encoder.open_tokenizer()?;
    let context_length = tokenizer.context_length();
    // CLIP keeps its text tower at the root of the checkpoint.
    let text_prefix = if encoder.architecture().text.place.starts_with("text.") { "text." } else { "" };
    let mut fingerprint = Fingerprint::default()
        .with(tower_fingerprint(encoder.parameters().weights(), text_prefix)?)
        .with(context_length.to_le_bytes());
    for text in texts {
        fingerprint = fingerprint.with(text);
    }
    let key = CacheKey {
        kind: "teacher-text".to_owned(),
        fingerprint: fingerprint.finish(),
        rows: texts.len(),
        width: encoder.embed_dim(),
    };
    let rows = cache.rows(&key, TEXTS, progress, |range| {
        let texts: Vec<&str> = texts[range].iter().map(String::as_str).collect();
        Ok(encoder.encode_text(&tokenizer.encode_batch(&texts)?)?.flatten_all()?.to_vec1()?)
    })?;
    Ok(Tensor::from_vec(rows.to_f32(0..rows.rows()), (rows.rows(), rows.width()), &Device::Cpu)?)
}
