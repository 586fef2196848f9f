//! Everything that a run computes before its first step, all of it cached or a function of the seed.

use candle_core::{Device, Tensor};
use relens_models::image_preprocessing::Preprocessor;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::Tokenizer;
use relens_models::towers::bert::BertModel;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::Weights;

use super::assembly::Pretrained;
use super::config::RetrieverConfig;
use super::corpus::Corpus;
use super::feature_cache::{FeatureCache, FeatureRows};
use super::feature_maps::{FeatureMaps, first_trained_block, of_rows, shape_before};
use super::features::{
    ImageEncoding, ImageFeatures, PICTURES, POOLED, TextFeatures, caption_means, picture_fingerprints,
    tower_fingerprint,
};
use super::standardization::Standardization;
use super::teacher::{TeacherInputs, Teachers};
use super::views::View;
use crate::Result;
use relens::progress::Progress;

/// Pictures, texts, their features under the frozen towers, and the weights to begin with.
#[derive(Debug)]
pub(super) struct TrainingData {
    pub(super) corpus: Corpus,
    pub(super) pretrained: Pretrained,
    pub(super) tokenizer: Tokenizer,
    /// Features of the pictures as the retriever will see them (validation included), then of the other views.
    pub(super) image_views: Vec<FeatureRows>,
    /// What the first trained block of the trunk reads, if any phase trains one.
    pub(super) feature_maps: Option<FeatureMaps>,
    /// Features of the texts (validation included), then of the versions with words left out.
    pub(super) text_versions: Vec<FeatureRows>,
    pub(super) image_standardization: Standardization,
    pub(super) text_standardization: Standardization,
    /// The weights that training starts with.
    pub(super) weights: Weights,
    /// Mean caption features of each training picture, `[pictures, width]`, if the loss uses them.
    pub(super) caption_means: Option<Tensor>,
    pub(super) teachers: Option<Teachers>,
}

impl TrainingData {
    /// Reads, computes or finds in the cache all of it.
    pub(super) fn prepare(config: &RetrieverConfig, progress: &mut dyn Progress) -> Result<Self> {
        let corpus = Corpus::read(&config.data)?;
        let pretrained = Pretrained::open(&config.model)?;
        let context_length = pretrained.config.model_cfg.text_cfg.context_length;
        let tokenizer = Tokenizer::open(&pretrained.tokenizer_path, context_length)?;
        let cache = FeatureCache::open(&config.cache)?;
        let hashes = picture_fingerprints(&corpus.pictures)?;
        let images = ImageInputs::new(config, &corpus, &pretrained, &hashes, &cache)?;
        let feature_maps = images.feature_maps(progress)?;
        let image_views = images.views(feature_maps.as_ref(), progress)?;
        drop(images);
        let text_versions = text_versions(config, &corpus, &pretrained, &tokenizer, &cache, progress)?;
        let (image_standardization, text_standardization) =
            standardizations(config, &corpus, &pretrained, &image_views[0], &text_versions[0]);
        let weights = pretrained.initial_weights(
            &image_standardization,
            &text_standardization,
            &config.model,
            config.seed,
        )?;
        let inputs =
            TeacherInputs { corpus: &corpus, picture_hashes: &hashes, cache: &cache, views: &config.views };
        let teachers = Teachers::load(&config.objective.teacher, &inputs, progress)?;
        let caption_means = (config.objective.caption_similarity_weight > 0.0)
            .then(|| -> Result<Tensor> {
                let means = caption_means(&corpus, &text_versions[0])?;
                let shape = (corpus.training_pictures, text_versions[0].width());
                Ok(Tensor::from_vec(means, shape, &Device::Cpu)?)
            })
            .transpose()?;
        Ok(Self {
            corpus,
            pretrained,
            tokenizer,
            image_views,
            feature_maps,
            text_versions,
            image_standardization,
            text_standardization,
            weights,
            caption_means,
            teachers,
        })
    }
}

/// The frozen trunk and the pictures that go through it.
struct ImageInputs<'a> {
    config: &'a RetrieverConfig,
    corpus: &'a Corpus,
    hashes: &'a [[u8; 32]],
    cache: &'a FeatureCache,
    trunk: EfficientNet,
    fingerprint: String,
    preprocessor: Preprocessor,
}

impl<'a> ImageInputs<'a> {
    fn new(
        config: &'a RetrieverConfig,
        corpus: &'a Corpus,
        pretrained: &Pretrained,
        hashes: &'a [[u8; 32]],
        cache: &'a FeatureCache,
    ) -> Result<Self> {
        let parameters = Parameters::frozen(pretrained.weights.clone()).pp("visual.trunk");
        let name = &pretrained.config.model_cfg.vision_cfg.timm_model_name;
        Ok(Self {
            config,
            corpus,
            hashes,
            cache,
            trunk: EfficientNet::new(EfficientNetConfig::from_timm_name(name)?, &parameters)?,
            fingerprint: tower_fingerprint(&pretrained.weights, "visual.trunk.")?,
            preprocessor: Preprocessor::new(pretrained.config.preprocess_cfg.clone())?,
        })
    }

    fn features(&self) -> ImageFeatures<'_> {
        ImageFeatures {
            cache: self.cache,
            tower_fingerprint: &self.fingerprint,
            preprocessor: &self.preprocessor,
            views: &self.config.views,
        }
    }

    /// How many pictures are needed in a view: only the one that the retriever will have, of validation too.
    fn count(&self, view: View) -> usize {
        match view {
            View::Full => self.corpus.pictures.len(),
            View::Flipped | View::Crop(_) => self.corpus.training_pictures,
        }
    }

    /// What the first trained block reads. Mirrored pictures are left out: a mirrored map stands for them.
    fn feature_maps(&self, progress: &mut dyn Progress) -> Result<Option<FeatureMaps>> {
        let Some(block) = first_trained_block(self.trunk.config(), &self.config.phases)? else {
            return Ok(None);
        };
        let size = self.preprocessor.config().size;
        let shape = shape_before(&self.trunk, block, size.height as usize, size.width as usize)?;
        let encoding = ImageEncoding {
            kind: format!("{POOLED}-block{block}"),
            width: shape.iter().product(),
            forward: &|pictures| Ok(self.trunk.forward_until(pictures, block)?),
        };
        let views = View::all(&self.config.views)
            .into_iter()
            .filter(|view| *view != View::Flipped)
            .map(|view| {
                let count = self.count(view);
                let (pictures, hashes) = (&self.corpus.pictures[..count], &self.hashes[..count]);
                self.features().rows(&encoding, pictures, hashes, view, progress)
            })
            .collect::<Result<_>>()?;
        Ok(Some(FeatureMaps { block, shape, views }))
    }

    /// Pooled features of every view; from feature maps where there are some, which saves most of the work.
    fn views(&self, maps: Option<&FeatureMaps>, progress: &mut dyn Progress) -> Result<Vec<FeatureRows>> {
        let encoding = ImageEncoding {
            kind: POOLED.to_owned(),
            width: self.trunk.feature_size(),
            forward: &|pictures| Ok(self.trunk.pooled(pictures)?),
        };
        let mut mapped = maps.map(|maps| (maps, maps.views.iter()));
        let mut views = Vec::new();
        for view in View::all(&self.config.views) {
            let count = self.count(view);
            let (pictures, hashes) = (&self.corpus.pictures[..count], &self.hashes[..count]);
            let cached = mapped.as_mut().filter(|_| view != View::Flipped);
            let rows = match cached.and_then(|(maps, rows)| Some((*maps, rows.next()?))) {
                Some((maps, rows)) => {
                    let key = self.features().key(&encoding, pictures, hashes, view)?;
                    self.cache.rows(&key, PICTURES, progress, |range| {
                        let maps_of_range = of_rows(rows, maps.shape, range)?;
                        Ok(self.trunk.pooled_from(&maps_of_range, maps.block)?.flatten_all()?.to_vec1()?)
                    })?
                }
                None => self.features().rows(&encoding, pictures, hashes, view, progress)?,
            };
            views.push(rows);
        }
        Ok(views)
    }
}

fn text_versions(
    config: &RetrieverConfig,
    corpus: &Corpus,
    pretrained: &Pretrained,
    tokenizer: &Tokenizer,
    cache: &FeatureCache,
    progress: &mut dyn Progress,
) -> Result<Vec<FeatureRows>> {
    let parameters = Parameters::frozen(pretrained.weights.clone()).pp("text.transformer");
    let features = TextFeatures {
        tower: &BertModel::load(&parameters, &pretrained.text_config)?,
        tower_fingerprint: &tower_fingerprint(&pretrained.weights, "text.transformer.")?,
        tokenizer,
        width: pretrained.text_config.hidden_size,
    };
    (0..=config.views.word_dropout_views)
        .map(|version| {
            let count = if version == 0 { corpus.texts.len() } else { corpus.training_texts };
            features.rows(cache, &corpus.texts[..count], version, &config.views, progress)
        })
        .collect()
}

/// Image and text standardisation; the identity where it is off or cannot be folded into the model.
fn standardizations(
    config: &RetrieverConfig,
    corpus: &Corpus,
    pretrained: &Pretrained,
    images: &FeatureRows,
    texts: &FeatureRows,
) -> (Standardization, Standardization) {
    let image = if config.model.standardize && pretrained.first_image_layer().is_some() {
        Standardization::measure(images, corpus.training_pictures)
    } else {
        Standardization::identity(images.width())
    };
    let text = if config.model.standardize && pretrained.fresh_heads {
        Standardization::measure(texts, corpus.training_texts)
    } else {
        Standardization::identity(texts.width())
    };
    (image, text)
}
