//! `config.json` of a CLIP, SigLIP or Chinese-CLIP in Hugging Face transformers.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Architecture;
use super::fields::{self, refuse};
use super::image_side::ProjectionConfig;
use super::image_side::{ImageSide, ImageTowerConfig};
use super::preprocessor_config;
use super::text_side::{TextSide, TextTowerConfig, TokenPooling};
use crate::Result;
use crate::ops::AttentionMask;
use crate::tokenizer::{TextCleaning, TokenizerConfig, TokenizerFlavour};
use crate::towers::bert::BertConfig;
use crate::towers::text_transformer::{TextPooling, TextTransformerConfig, TextTransformerNames};
use crate::towers::vision_transformer::{ImagePooling, VisionTransformerConfig, VisionTransformerNames};

/// The file's name inside a model directory.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// CLIP's end of text in configurations that were written before `eos_token_id` was right: take the highest id.
const OLD_CLIP_END_OF_TEXT: u32 = 2;

#[derive(Deserialize)]
struct VisionFields {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: usize,
    patch_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
}

#[derive(Deserialize)]
struct TextFields {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    #[serde(default)]
    eos_token_id: Option<u32>,
}

/// Reads the file, and `preprocessor_config.json` beside it.
pub(super) fn read(path: &Path) -> Result<Architecture> {
    let object = fields::read_object(path)?;
    let model_type = object.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let (embed_dim, image, text) = match model_type {
        "clip" => clip(path, &object)?,
        "siglip" => siglip(path, &object)?,
        "chinese_clip" => chinese_clip(path, &object)?,
        other => {
            let expected =
                "\"clip\", \"siglip\" or \"chinese_clip\", or open_clip_config.json beside this file";
            return Err(refuse(path, "model_type", expected, &format!("{other:?}")));
        }
    };
    let preprocess = preprocessor_config::read(path, image.tower.image_size())?;
    Ok(Architecture { embed_dim, image, text, preprocess, files: Vec::new() })
}

type Sides = (usize, ImageSide, TextSide);

fn clip(path: &Path, object: &Map<String, Value>) -> Result<Sides> {
    let embed_dim = projection_dim(path, object)?;
    let text: TextFields = section(
        path,
        object,
        "text_config",
        json!({
            "vocab_size": 49_408, "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 12,
            "num_attention_heads": 8, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5, "eos_token_id": 49_407,
        }),
    )?;
    let pooling = match text.eos_token_id {
        None | Some(OLD_CLIP_END_OF_TEXT) => TextPooling::HighestId,
        Some(id) => TextPooling::Id(id),
    };
    let projection = ProjectionConfig::Linear { place: "text_projection".into(), bias: false };
    let text = text_side(path, &text, AttentionMask::Causal, pooling, projection, TextCleaning::None)?;
    Ok((embed_dim, clip_image_side(path, object)?, text))
}

fn siglip(path: &Path, object: &Map<String, Value>) -> Result<Sides> {
    let text: TextFields = section(
        path,
        object,
        "text_config",
        json!({
            "vocab_size": 32_000, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
            "num_attention_heads": 12, "max_position_embeddings": 64, "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        }),
    )?;
    let vision: VisionFields = section(
        path,
        object,
        "vision_config",
        json!({
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
        }),
    )?;
    let embed_dim = vision.hidden_size;
    let projection = ProjectionConfig::Linear { place: "text_model.head".into(), bias: true };
    let text = text_side(
        path,
        &text,
        AttentionMask::None,
        TextPooling::LastOfContext,
        projection,
        siglip_cleaning(path)?,
    )?;
    let tower = VisionTransformerConfig {
        class_token: false,
        patch_bias: true,
        norm_before: false,
        pooling: ImagePooling::AttentionHead,
        ..vision_tower(path, &vision)?
    };
    let image = ImageSide {
        place: "vision_model".into(),
        tower: ImageTowerConfig::VisionTransformer(tower),
        projection: ProjectionConfig::Identity,
    };
    Ok((embed_dim, image, text))
}

fn chinese_clip(path: &Path, object: &Map<String, Value>) -> Result<Sides> {
    let embed_dim = projection_dim(path, object)?;
    let defaults = json!({
        "vocab_size": 30_522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
    });
    let bert = BertConfig::from_json(&fields::merged(defaults, object.get("text_config")).to_string(), path)?;
    let text = TextSide {
        place: "text_model".into(),
        tokenizer: chinese_clip_tokenizer(bert.max_position_embeddings),
        tower: TextTowerConfig::Bert(bert, TokenPooling::First),
        projection: ProjectionConfig::Linear { place: "text_projection".into(), bias: false },
    };
    Ok((embed_dim, clip_image_side(path, object)?, text))
}

/// The context length that Chinese-CLIP was trained with.
const CHINESE_CLIP_CONTEXT: usize = 52;

/// Chinese-CLIP's tokenizer. The reference cuts to 52 tokens; the table of `positions` has room for many more.
pub(super) fn chinese_clip_tokenizer(positions: usize) -> TokenizerConfig {
    tokenizer(positions.min(CHINESE_CLIP_CONTEXT), TextCleaning::None, false)
}

/// The image side that CLIP and Chinese-CLIP share.
fn clip_image_side(path: &Path, object: &Map<String, Value>) -> Result<ImageSide> {
    let vision: VisionFields = section(
        path,
        object,
        "vision_config",
        json!({
            "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
            "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
        }),
    )?;
    Ok(ImageSide {
        place: "vision_model".into(),
        tower: ImageTowerConfig::VisionTransformer(vision_tower(path, &vision)?),
        projection: ProjectionConfig::Linear { place: "visual_projection".into(), bias: false },
    })
}

/// A tower with CLIP's variants.
fn vision_tower(path: &Path, vision: &VisionFields) -> Result<VisionTransformerConfig> {
    let (width, image_size) = (vision.hidden_size, vision.image_size);
    let names = [("hidden_size", width), ("intermediate_size", vision.intermediate_size)];
    for (name, value) in names {
        fields::size(path, &format!("vision_config.{name}"), value, fields::MAX_WIDTH)?;
    }
    fields::size(path, "vision_config.num_hidden_layers", vision.num_hidden_layers, fields::MAX_LAYERS)?;
    fields::size(path, "vision_config.image_size", image_size, fields::MAX_IMAGE_SIZE)?;
    fields::size(path, "vision_config.patch_size", vision.patch_size, image_size)?;
    fields::heads(path, "vision_config.num_attention_heads", vision.num_attention_heads, width)?;
    fields::epsilon(path, "vision_config.layer_norm_eps", vision.layer_norm_eps)?;
    Ok(VisionTransformerConfig {
        image_size,
        patch_size: vision.patch_size,
        width,
        layers: vision.num_hidden_layers,
        heads: vision.num_attention_heads,
        feed_forward_width: vision.intermediate_size,
        activation: fields::activation(path, "vision_config.hidden_act", &vision.hidden_act)?,
        eps: vision.layer_norm_eps,
        class_token: true,
        patch_bias: false,
        norm_before: true,
        layer_scale: false,
        pooling: ImagePooling::ClassToken,
        names: &VisionTransformerNames::HUGGING_FACE,
    })
}

fn tokenizer(context_length: usize, cleaning: TextCleaning, pad_to_context: bool) -> TokenizerConfig {
    TokenizerConfig { flavour: TokenizerFlavour::HuggingFace, context_length, cleaning, pad_to_context }
}

/// `SiglipTokenizer` removes punctuation in code of its own; the tokenizers of other models do all by their files.
fn siglip_cleaning(config: &Path) -> Result<TextCleaning> {
    let path = config.with_file_name("tokenizer_config.json");
    if !path.is_file() {
        return Ok(TextCleaning::None);
    }
    let object = fields::read_object(&path)?;
    let class = object.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    Ok(if class.starts_with("SiglipTokenizer") { TextCleaning::CanonicalizeOnly } else { TextCleaning::None })
}

fn text_side(
    path: &Path,
    text: &TextFields,
    mask: AttentionMask,
    pooling: TextPooling,
    projection: ProjectionConfig,
    cleaning: TextCleaning,
) -> Result<TextSide> {
    let sizes = [
        ("hidden_size", text.hidden_size, fields::MAX_WIDTH),
        ("intermediate_size", text.intermediate_size, fields::MAX_WIDTH),
        ("num_hidden_layers", text.num_hidden_layers, fields::MAX_LAYERS),
        ("vocab_size", text.vocab_size, fields::MAX_VOCABULARY),
        ("max_position_embeddings", text.max_position_embeddings, fields::MAX_CONTEXT_LENGTH),
    ];
    for (name, value, largest) in sizes {
        fields::size(path, &format!("text_config.{name}"), value, largest)?;
    }
    fields::heads(path, "text_config.num_attention_heads", text.num_attention_heads, text.hidden_size)?;
    fields::epsilon(path, "text_config.layer_norm_eps", text.layer_norm_eps)?;
    let tower = TextTransformerConfig {
        vocabulary_size: text.vocab_size,
        context_length: text.max_position_embeddings,
        width: text.hidden_size,
        layers: text.num_hidden_layers,
        heads: text.num_attention_heads,
        feed_forward_width: text.intermediate_size,
        activation: fields::activation(path, "text_config.hidden_act", &text.hidden_act)?,
        eps: text.layer_norm_eps,
        layer_scale: false,
        mask,
        pooling,
        names: &TextTransformerNames::HUGGING_FACE,
    };
    Ok(TextSide {
        place: "text_model".into(),
        tower: TextTowerConfig::Transformer(tower),
        projection,
        tokenizer: tokenizer(text.max_position_embeddings, cleaning, pooling == TextPooling::LastOfContext),
    })
}

fn projection_dim(path: &Path, object: &Map<String, Value>) -> Result<usize> {
    let value = object.get("projection_dim").cloned().unwrap_or_else(|| json!(512));
    let dim = fields::parse(path, "projection_dim", value)?;
    fields::size(path, "projection_dim", dim, fields::MAX_WIDTH)?;
    Ok(dim)
}

/// A section over the defaults of its model type; older files override it with a section named `…_dict`.
fn section<T: serde::de::DeserializeOwned>(
    path: &Path,
    object: &Map<String, Value>,
    name: &str,
    defaults: Value,
) -> Result<T> {
    let given = fields::merged(defaults, object.get(name));
    // In this order: transformers lets the older section win where both are there.
    let given = fields::merged(given, object.get(&format!("{name}_dict")));
    fields::parse(path, name, given)
}
