//! The model that training starts with: a finished one, or two towers with fresh heads; and the
//! model that it ends with: an open_clip directory, f16, with the standardisation inside its weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens::embed::embeddings::Embeddings;
use relens_models::atomic_file::write_atomically;
use relens_models::dual_encoder::architecture::{Projection, ProjectionConfig, open_weights};
use relens_models::dual_encoder::{
    CONFIG_FILE, DualEncoder, DualEncoderConfig, HeadKind, ModelConfig, TEXT_CONFIG_FILE, TOKENIZER_FILE,
    TextConfig, VisionConfig, WEIGHTS_FILE,
};
use relens_models::ops::l2_normalize;
use relens_models::towers::bert::BertConfig;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use serde_json::{Map, Value};

use super::config::RetrieverModelConfig;
use super::network::Network;
use super::standardization::Standardization;
use super::training_data::TrainingData;
use super::validation::{RetrievalMeasurement, append};
use crate::run::finished_model::publish;
use crate::{Result, TrainingError, random};

/// Whether a tensor of the towers' files is part of a dual encoder.
pub(super) fn is_needed(name: &str) -> bool {
    let unneeded = ["pooler.", "classifier.", "cls."];
    !unneeded.iter().any(|part| name.starts_with(part) || name.contains(&format!(".{part}")))
        && !name.ends_with("position_ids")
        && !name.ends_with("num_batches_tracked")
}

/// Towers, configuration and tokenizer, before anything is trained.
#[derive(Debug)]
pub(super) struct Pretrained {
    /// `visual.trunk.*` and `text.transformer.*`, and the heads if the model is a finished one.
    pub(super) weights: Weights,
    pub(super) config: DualEncoderConfig,
    pub(super) text_config: BertConfig,
    /// The files that go with the model unchanged.
    pub(super) text_config_path: PathBuf,
    pub(super) tokenizer_path: PathBuf,
    /// Whether the heads are still to be made.
    pub(super) fresh_heads: bool,
}

impl Pretrained {
    /// Opens what the settings name.
    pub(super) fn open(settings: &RetrieverModelConfig) -> Result<Self> {
        match (&settings.start_from, &settings.image_weights, &settings.text_tower) {
            (Some(directory), _, _) => Self::finished(directory),
            (None, Some(image), Some(text)) => Self::towers(settings, image, text),
            _ => Err(TrainingError::setting("model", "`start_from`, or both towers", &"neither")),
        }
    }

    fn finished(directory: &Path) -> Result<Self> {
        let text_config_path = directory.join(TEXT_CONFIG_FILE);
        Ok(Self {
            weights: open_weights(directory)?,
            config: DualEncoderConfig::read(directory)?,
            text_config: BertConfig::open(&text_config_path)?,
            text_config_path,
            tokenizer_path: directory.join(TOKENIZER_FILE),
            fresh_heads: false,
        })
    }

    fn towers(settings: &RetrieverModelConfig, image: &Path, text: &Path) -> Result<Self> {
        let text_config_path = text.join("config.json");
        let weights = Weights::merge([
            Weights::open(image)?.with_prefix("visual.trunk."),
            Weights::open(text.join("model.safetensors"))?.with_prefix("text.transformer."),
        ])?;
        let name = settings
            .text_tower_name
            .clone()
            .unwrap_or_else(|| text.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let config = DualEncoderConfig {
            model_cfg: ModelConfig {
                embed_dim: settings.embed_dim,
                vision_cfg: VisionConfig {
                    timm_model_name: settings.image_trunk.clone(),
                    timm_model_pretrained: false,
                    timm_pool: "avg".to_owned(),
                    timm_proj: settings.image_head,
                    // A linear head needs a bias to take standardised features.
                    timm_proj_bias: settings.image_head == HeadKind::Linear,
                    image_size: settings.preprocess.size.height as usize,
                },
                text_cfg: TextConfig {
                    hf_model_name: name.clone(),
                    hf_model_pretrained: false,
                    hf_tokenizer_name: name,
                    hf_pooler_type: "mean_pooler".to_owned(),
                    hf_proj_type: Some(settings.text_head),
                    context_length: settings.context_length,
                },
            },
            preprocess_cfg: settings.preprocess.clone(),
        };
        Ok(Self {
            weights,
            config,
            text_config: BertConfig::open(&text_config_path)?,
            text_config_path,
            tokenizer_path: text.join("tokenizer.json"),
            fresh_heads: true,
        })
    }

    /// The first layer of the image head, if it can take standardised features.
    pub(super) fn first_image_layer(&self) -> Option<&'static str> {
        match (self.config.model_cfg.vision_cfg.timm_proj, self.config.model_cfg.vision_cfg.timm_proj_bias) {
            (HeadKind::Mlp, _) => Some("visual.head.mlp.fc1"),
            (HeadKind::Linear, true) => Some("visual.head.proj"),
            (HeadKind::Linear, false) => None,
        }
    }

    /// All weights that training starts with: heads for standardised image features, a text tower whose pooled output
    /// is standardised.
    ///
    /// A finished model keeps its text side; its image head is rewritten to take standardised features and gives what
    /// it gave before.
    pub(super) fn initial_weights(
        &self,
        image: &Standardization,
        text: &Standardization,
        settings: &RetrieverModelConfig,
        seed: u64,
    ) -> Result<Weights> {
        let mut weights = BTreeMap::new();
        for name in self.weights.names().filter(|name| is_needed(name)) {
            let shape = self.weights.shape(name).unwrap_or_default();
            weights.insert(name.to_owned(), self.weights.tensor(name, shape)?);
        }
        if self.fresh_heads {
            let last = self.text_config.num_hidden_layers.saturating_sub(1);
            let norm = format!("text.transformer.encoder.layer.{last}.output.LayerNorm");
            text.fold_into_norm(&mut weights, &norm)?;
            self.add_heads(&mut weights, image.mean.len(), seed)?;
            let logit_scale = Tensor::new(settings.initial_logit_scale as f32, &Device::Cpu)?;
            weights.insert("logit_scale".to_owned(), logit_scale);
        } else if let Some(layer) = self.first_image_layer() {
            image.unfold_from_linear(&mut weights, layer)?;
        }
        let bytes = tensors_to_bytes(&weights, ElementType::F32)?;
        Ok(Weights::from_bytes(self.weights.path(), bytes)?)
    }

    fn add_heads(&self, weights: &mut BTreeMap<String, Tensor>, features: usize, seed: u64) -> Result<()> {
        let model = &self.config.model_cfg;
        let (embed_dim, width) = (model.embed_dim, self.text_config.hidden_size);
        let mut linear = |layer: &str, inputs: usize, outputs: usize, bias: bool| -> Result<()> {
            let bound = 1.0 / (inputs.max(1) as f32).sqrt();
            weights.insert(format!("{layer}.weight"), uniform(&[outputs, inputs], bound, seed, layer)?);
            if bias {
                let name = format!("{layer}.bias");
                let values = uniform(&[outputs], bound, seed, &name)?;
                weights.insert(name, values);
            }
            Ok(())
        };
        let heads = [(model.image_projection(), features), (model.text_projection(width), width)];
        for (head, inputs) in heads {
            match head {
                ProjectionConfig::Identity => {}
                ProjectionConfig::Matrix(name) => {
                    return Err(TrainingError::setting("model", "heads of linear layers", &name));
                }
                ProjectionConfig::Linear { place, bias } => linear(&place, inputs, embed_dim, bias)?,
                ProjectionConfig::Mlp { expand, expand_bias, inner, contract, contract_bias } => {
                    linear(&expand, inputs, inner, expand_bias)?;
                    linear(&contract, inner, embed_dim, contract_bias)?;
                }
            }
        }
        Ok(())
    }
}

/// PyTorch's default for linear layers: uniform within ±1/√inputs.
fn uniform(shape: &[usize], bound: f32, seed: u64, name: &str) -> Result<Tensor> {
    let mut rng = random::stream(seed, &format!("initial {name}"), 0);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| bound * (2.0 * rng.random::<f32>() - 1.0)).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Rows that are embedded at once.
const ROWS: usize = 64;

/// Writes the model and measures what was written.
pub(super) fn export(run: &Path, data: &TrainingData, network: &Network) -> Result<Map<String, Value>> {
    publish(run, |directory| {
        fs_err::create_dir_all(directory)?;
        let weights = tensors_to_bytes(&exported_weights(data, network)?, ElementType::F16)?;
        write_atomically(&directory.join(WEIGHTS_FILE), &weights)?;
        write_atomically(&directory.join(CONFIG_FILE), data.pretrained.config.to_json()?.as_bytes())?;
        for (name, source) in [
            (TEXT_CONFIG_FILE, &data.pretrained.text_config_path),
            (TOKENIZER_FILE, &data.pretrained.tokenizer_path),
        ] {
            write_atomically(&directory.join(name), &fs_err::read(source)?)?;
        }
        measure(directory, data)
    })
}

/// All tensors in the checkpoint's layout: what was trained replaces what training began with.
fn exported_weights(data: &TrainingData, network: &Network) -> Result<BTreeMap<String, Tensor>> {
    let mut weights = BTreeMap::new();
    for name in data.weights.names() {
        let shape = data.weights.shape(name).unwrap_or_default();
        weights.insert(name.to_owned(), data.weights.tensor(name, shape)?);
    }
    let layouts = network.layouts();
    for (name, value) in network.variables()? {
        let stored = match layouts.get(&name) {
            Some(layout) => layout.to_stored(&value)?,
            None => value,
        };
        weights.insert(name, stored);
    }
    if let Some(layer) = data.pretrained.first_image_layer() {
        network.image_standardization().fold_into_linear(&mut weights, layer)?;
    }
    Ok(weights)
}

/// Recall of the model in `directory`, on what is cached of the trunk's frozen part, and its own text tower.
fn measure(directory: &Path, data: &TrainingData) -> Result<Map<String, Value>> {
    let encoder = DualEncoder::open(directory)?;
    let images = exported_images(&encoder, data)?;
    let texts: Vec<&str> = data
        .corpus
        .validation()
        .iter()
        .flat_map(|picture| picture.captions.iter().map(|&text| data.corpus.texts[text].as_str()))
        .collect();
    let mut captions = Embeddings::new(encoder.embed_dim());
    for chunk in texts.chunks(ROWS) {
        append(&mut captions, &encoder.encode_text(&data.tokenizer.encode_batch(chunk)?)?)?;
    }
    Ok(RetrievalMeasurement::of(&data.corpus, images, captions)?.metrics())
}

/// Embeddings of the validation pictures.
fn exported_images(encoder: &DualEncoder, data: &TrainingData) -> Result<Embeddings> {
    let rows = &data.image_views[0];
    let model = &data.pretrained.config.model_cfg;
    let parameters = encoder.parameters();
    let head = Projection::load(parameters, &model.image_projection(), rows.width(), model.embed_dim)?;
    let live = match &data.feature_maps {
        Some(maps) => {
            let config = EfficientNetConfig::from_timm_name(&model.vision_cfg.timm_model_name)?;
            Some((maps, EfficientNet::new(config, &parameters.pp("visual.trunk"))?))
        }
        None => None,
    };
    let mut images = Embeddings::new(encoder.embed_dim());
    let (mut start, end) = (data.corpus.training_pictures, rows.rows());
    while start < end {
        let stop = (start + ROWS).min(end);
        let features = match &live {
            Some((maps, trunk)) => trunk.pooled_from(&maps.full(start..stop)?, maps.block)?,
            None => Tensor::from_vec(rows.to_f32(start..stop), (stop - start, rows.width()), &Device::Cpu)?,
        };
        append(&mut images, &l2_normalize(&head.forward(&features)?)?)?;
        start = stop;
    }
    Ok(images)
}
