//! The model that training starts with: a finished one, or two towers with fresh heads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens_models::dual_encoder::architecture::{ProjectionConfig, open_weights};
use relens_models::dual_encoder::{
    DualEncoderConfig, HeadKind, ModelConfig, TEXT_CONFIG_FILE, TOKENIZER_FILE, TextConfig, VisionConfig,
};
use relens_models::towers::bert::BertConfig;
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};

use super::config::RetrieverModelConfig;
use super::standardization::Standardization;
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
