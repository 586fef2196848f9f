//! `open_clip_config.json`, with open_clip's field names and defaults.
//!
//! Fields that only matter while training are read and left alone; a field that would change the network and that
//! relens does not know is refused by name.

mod image_towers;
mod text_towers;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use self::image_towers::image_side;
use self::text_towers::{hugging_face_text, native_text};
use super::Architecture;
use super::fields::{self, refuse};
use crate::Result;
use crate::image_preprocessing::{ImageSize, PreprocessConfig};
use crate::ops::Activation;

pub(crate) const CONFIG_FILE: &str = "open_clip_config.json";

/// What only training and other parts of open_clip look at.
const IRRELEVANT_FIELDS: [&str; 10] = [
    "hf_tokenizer_name",
    "output_tokens",
    "patch_dropout",
    "pos_embed_type",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "tokenizer_kwargs",
    "tokenizer_mode",
    "hf_model_pretrained",
];

#[derive(Deserialize)]
struct OpenClipConfigFile {
    model_cfg: Value,
    #[serde(default)]
    preprocess_cfg: PreprocessConfig,
}

#[derive(Deserialize)]
struct ModelFields {
    embed_dim: usize,
    vision_cfg: Value,
    text_cfg: Value,
    #[serde(default)]
    quick_gelu: bool,
    #[serde(default)]
    custom_text: bool,
    multimodal_cfg: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActivationArguments {
    #[serde(default)]
    approximate: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NormArguments {
    eps: Option<f64>,
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Architecture> {
    let file: OpenClipConfigFile = fields::parse(path, "", Value::Object(fields::read_object(path)?))?;
    let model: ModelFields = fields::parse(path, "model_cfg", file.model_cfg)?;
    fields::size(path, "model_cfg.embed_dim", model.embed_dim, fields::MAX_WIDTH)?;
    let image = image_side(path, &model)?;
    // CoCa and models with `custom_text` keep the text tower at a place of its own, CLIP keeps it at the root.
    let text_place = if model.custom_text || model.multimodal_cfg.is_some() { "text" } else { "" };
    let text = if model.text_cfg.get("hf_model_name").is_some_and(|name| !name.is_null()) {
        hugging_face_text(path, &model)?
    } else {
        native_text(path, &model, text_place)?
    };
    let side = u32::try_from(image.tower.image_size()).unwrap_or(u32::MAX);
    // open_clip takes the size from the tower, whatever the preprocessing says.
    let preprocess = PreprocessConfig { size: ImageSize::square(side), ..file.preprocess_cfg };
    Ok(Architecture { embed_dim: model.embed_dim, image, text, preprocess, files: Vec::new() })
}

/// Reads a tower's section; what is neither known nor irrelevant is refused.
fn parse_tower<T: serde::de::DeserializeOwned>(path: &Path, field: &str, section: &Value) -> Result<T> {
    let mut section = section.clone();
    if let Some(object) = section.as_object_mut() {
        object.retain(|key, _| !IRRELEVANT_FIELDS.contains(&key.as_str()));
    }
    fields::parse(path, field, section)
}

fn activation(
    path: &Path,
    side: &str,
    quick_gelu: bool,
    arguments: Option<&ActivationArguments>,
) -> Result<Activation> {
    match (quick_gelu, arguments.and_then(|arguments| arguments.approximate.as_deref())) {
        (true, None) => Ok(Activation::QuickGelu),
        (false, None | Some("none")) => Ok(Activation::Gelu),
        (false, Some("tanh")) => Ok(Activation::GeluTanh),
        (_, Some(other)) => {
            let field = format!("{side}.act_kwargs.approximate");
            Err(refuse(path, &field, "\"tanh\" or \"none\", and no `quick_gelu`", &format!("{other:?}")))
        }
    }
}

fn eps(path: &Path, side: &str, arguments: Option<&NormArguments>) -> Result<f64> {
    let eps = arguments.and_then(|arguments| arguments.eps).unwrap_or(1e-5);
    fields::epsilon(path, &format!("{side}.norm_kwargs.eps"), eps)?;
    Ok(eps)
}
