//! `open_clip_config.json`: which towers a dual encoder has, what stands on top of them, and what its images must look
//! like.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dual_encoder::architecture::{ProjectionConfig, fields};
use crate::error::{ModelError, Result};
use crate::image_preprocessing::{ImageSize, PreprocessConfig};
use crate::regular_file::{self, FileKind};

/// The file's name inside a model directory.
pub const CONFIG_FILE: &str = "open_clip_config.json";

/// The content of `open_clip_config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DualEncoderConfig {
    /// The towers.
    pub model_cfg: ModelConfig,
    /// How pictures are prepared.
    #[serde(default)]
    pub preprocess_cfg: PreprocessConfig,
}

/// The two towers and the space that they share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Dimensions of the shared space.
    pub embed_dim: usize,
    /// The image tower.
    pub vision_cfg: VisionConfig,
    /// The text tower.
    pub text_cfg: TextConfig,
}

/// An image tower from timm, with open_clip's head on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// The trunk's name in timm.
    pub timm_model_name: String,
    /// Written for open_clip, which would otherwise try to download the trunk.
    #[serde(default)]
    pub timm_model_pretrained: bool,
    /// How the feature map becomes one vector; relens reads `avg` and the empty string (the trunk's default).
    #[serde(default = "average_pool")]
    pub timm_pool: String,
    /// The head: `linear` or `mlp` (hidden width twice the embedding's, GELU).
    #[serde(default)]
    pub timm_proj: HeadKind,
    /// Whether the head's last layer has a bias.
    #[serde(default)]
    pub timm_proj_bias: bool,
    /// Side of the square picture in pixels.
    pub image_size: usize,
}

/// A text tower from Hugging Face, with open_clip's projection on top.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// The tower's name on the hub; its `config.json` lies in the model directory.
    pub hf_model_name: String,
    /// Written for open_clip: the tower's own weights are not downloaded.
    #[serde(default)]
    pub hf_model_pretrained: bool,
    /// The tokenizer's name on the hub; its `tokenizer.json` lies in the model directory.
    #[serde(default)]
    pub hf_tokenizer_name: String,
    /// How token vectors become one vector; relens reads `mean_pooler`.
    #[serde(default = "mean_pooler")]
    pub hf_pooler_type: String,
    /// The projection: `linear` or `mlp` (hidden width between the tower's and the embedding's, GELU), no biases;
    /// none where the tower's width is the embedding's.
    #[serde(default)]
    pub hf_proj_type: Option<HeadKind>,
    /// Most tokens of a text, special ones included; longer texts are cut.
    #[serde(default = "default_context_length")]
    pub context_length: usize,
}

/// The two kinds of head that both of open_clip's adapters know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// One matrix.
    #[default]
    Linear,
    /// Two matrices with a GELU between them.
    Mlp,
}

fn average_pool() -> String {
    "avg".to_owned()
}

fn mean_pooler() -> String {
    "mean_pooler".to_owned()
}

fn default_context_length() -> usize {
    77
}

impl DualEncoderConfig {
    /// Reads and checks `open_clip_config.json` of a model directory.
    ///
    /// # Errors
    /// The file is missing, is not JSON of this form, or asks for a tower that relens does not have.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG_FILE);
        let text = regular_file::read_to_string(&path, FileKind::Settings)?;
        Self::parse(&path, &text)
    }

    /// Parses and checks the file's text; `path` is what errors call it.
    ///
    /// # Errors
    /// As [`DualEncoderConfig::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(text)
            .map_err(|error| ModelError::Config { path: path.to_owned(), reason: error.to_string() })?;
        config.check(path)?;
        Ok(Self { preprocess_cfg: config.preprocess_cfg_of_size(), ..config })
    }

    /// open_clip takes the pictures' size from the tower, whatever the preprocessing says.
    fn preprocess_cfg_of_size(&self) -> PreprocessConfig {
        let side = u32::try_from(self.model_cfg.vision_cfg.image_size).unwrap_or(u32::MAX);
        PreprocessConfig { size: ImageSize::square(side), ..self.preprocess_cfg.clone() }
    }

    fn check(&self, path: &Path) -> Result<()> {
        let model = &self.model_cfg;
        fields::size(path, "model_cfg.embed_dim", model.embed_dim, fields::MAX_WIDTH)?;
        fields::size(
            path,
            "model_cfg.vision_cfg.image_size",
            model.vision_cfg.image_size,
            fields::MAX_IMAGE_SIZE,
        )?;
        fields::size(
            path,
            "model_cfg.text_cfg.context_length",
            model.text_cfg.context_length,
            fields::MAX_CONTEXT_LENGTH,
        )?;
        one_of(path, "model_cfg.vision_cfg.timm_pool", &model.vision_cfg.timm_pool, &["avg", ""])?;
        one_of(path, "model_cfg.text_cfg.hf_pooler_type", &model.text_cfg.hf_pooler_type, &["mean_pooler"])?;
        Ok(())
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never in practice: every field can be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").map_err(|error| ModelError::Config {
            path: PathBuf::from(CONFIG_FILE),
            reason: error.to_string(),
        })
    }
}

fn one_of(path: &Path, field: &str, value: &str, known: &[&str]) -> Result<()> {
    if known.contains(&value) {
        return Ok(());
    }
    Err(fields::refuse(path, field, &format!("one of {known:?}"), &format!("{value:?}")))
}

impl ModelConfig {
    /// The head of the image tower (`visual.head`); the `mlp` is twice as wide inside as the embedding.
    pub fn image_projection(&self) -> ProjectionConfig {
        let bias = self.vision_cfg.timm_proj_bias;
        match self.vision_cfg.timm_proj {
            HeadKind::Linear => ProjectionConfig::Linear { place: "visual.head.proj".into(), bias },
            HeadKind::Mlp => ProjectionConfig::Mlp {
                expand: "visual.head.mlp.fc1".into(),
                expand_bias: true,
                inner: 2 * self.embed_dim,
                contract: "visual.head.mlp.fc2".into(),
                contract_bias: bias,
            },
        }
    }

    /// The projection of a Hugging Face text tower of that width (`text.proj`), without biases; the `mlp` is midway
    /// between the tower and the embedding inside.
    pub fn text_projection(&self, width: usize) -> ProjectionConfig {
        match self.text_cfg.hf_proj_type {
            None => ProjectionConfig::Identity,
            Some(HeadKind::Linear) => ProjectionConfig::Linear { place: "text.proj".into(), bias: false },
            Some(HeadKind::Mlp) => ProjectionConfig::Mlp {
                expand: "text.proj.0".into(),
                expand_bias: false,
                inner: width.midpoint(self.embed_dim),
                contract: "text.proj.2".into(),
                contract_bias: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINI: &str = r#"{
        "model_cfg": {
            "embed_dim": 512,
            "vision_cfg": {"timm_model_name": "tf_efficientnet_lite2", "timm_proj": "linear", "image_size": 260},
            "text_cfg": {"hf_model_name": "some/bert", "hf_proj_type": "mlp", "context_length": 64}
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "squash"}
    }"#;

    fn parse(text: &str) -> Result<DualEncoderConfig> {
        DualEncoderConfig::parse(Path::new("model/open_clip_config.json"), text)
    }

    #[test]
    fn reads_what_open_clip_writes_and_fills_in_its_defaults() {
        let config = parse(MINI).unwrap();
        assert_eq!(config.model_cfg.vision_cfg.timm_pool, "avg");
        assert_eq!(config.model_cfg.text_cfg.hf_proj_type, Some(HeadKind::Mlp));
        assert_eq!(config.model_cfg.text_cfg.hf_pooler_type, "mean_pooler");
        assert_eq!(config.preprocess_cfg.size, ImageSize::square(260));
        assert_eq!(parse(&config.to_json().unwrap()).unwrap(), config);
    }

    #[test]
    fn refuses_what_it_cannot_run_and_says_what_it_expected() {
        for (from, to, field) in [
            ("\"image_size\": 260", "\"image_size\": 0", "image_size"),
            ("\"image_size\": 260", "\"image_size\": 999999999", "image_size"),
            ("\"embed_dim\": 512", "\"embed_dim\": 0", "embed_dim"),
            ("\"context_length\": 64", "\"context_length\": 99999999", "context_length"),
            ("\"timm_proj\": \"linear\"", "\"timm_proj\": \"attention\"", "attention"),
            ("\"timm_proj\"", "\"timm_pool\": \"abs_attn\", \"timm_proj\"", "timm_pool"),
            ("\"hf_proj_type\"", "\"hf_pooler_type\": \"cls_pooler\", \"hf_proj_type\"", "hf_pooler_type"),
            ("\"embed_dim\": 512,", "", "embed_dim"),
        ] {
            assert!(MINI.contains(from), "{from}");
            let message = parse(&MINI.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(message.starts_with("model/open_clip_config.json: "), "{message}");
            assert!(message.contains(field), "{field}: {message}");
        }
    }
}
