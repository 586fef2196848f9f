//! `open_clip_config.json`, with open_clip's field names and defaults.
//!
//! Fields that only matter while training are read and left alone; a field that would change the network and that
//! relens does not know is refused by name.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::Architecture;
use super::fields::{self, refuse};
use super::image_side::{ImageSide, ImageTowerConfig};
use super::projection::ProjectionConfig;
use super::text_side::{TextSide, TextTowerConfig, TokenPooling};
use super::timm_towers::{self, TrunkArguments, TrunkRequest};
use crate::Result;
use crate::bert::BertConfig;
use crate::image_preprocessing::{ImageSize, PreprocessConfig};
use crate::modified_resnet::ModifiedResNetConfig;
use crate::ops::{Activation, AttentionMask};
use crate::text_transformer::{TextPooling, TextTransformerConfig, TextTransformerNames};
use crate::tokenizer::{TextCleaning, TokenizerFlavour, TokenizerSettings};
use crate::vision_transformer::{ImagePooling, VisionTransformerConfig, VisionTransformerNames};

/// The file's name inside a model directory.
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
struct ConfigFile {
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

/// open_clip's `CLIPVisionCfg` for its own towers.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NativeVision {
    layers: Layers,
    width: usize,
    head_width: usize,
    mlp_ratio: f64,
    patch_size: Option<usize>,
    image_size: usize,
    ls_init_value: Option<f64>,
    attentional_pool: bool,
    attn_pooler_queries: usize,
    attn_pooler_heads: usize,
    no_ln_pre: bool,
    final_ln_after_pool: bool,
    pool_type: String,
    act_kwargs: Option<ActivationArguments>,
    norm_kwargs: Option<NormArguments>,
}

impl Default for NativeVision {
    fn default() -> Self {
        Self {
            layers: Layers::Blocks(12),
            width: 768,
            head_width: 64,
            mlp_ratio: 4.0,
            patch_size: Some(16),
            image_size: 224,
            ls_init_value: None,
            attentional_pool: false,
            attn_pooler_queries: 256,
            attn_pooler_heads: 8,
            no_ln_pre: false,
            final_ln_after_pool: false,
            pool_type: "tok".into(),
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

/// One number for a transformer, four for a ResNet.
#[derive(Deserialize)]
#[serde(untagged)]
enum Layers {
    Blocks(usize),
    Stages([usize; 4]),
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

/// open_clip's `CLIPVisionCfg` for trunks from timm.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TimmVision {
    timm_model_name: String,
    /// Not open_clip's: sizes that differ from the named trunk's, as timm keeps them in its own configurations.
    timm_model_args: TrunkArguments,
    timm_pool: String,
    timm_proj: Option<String>,
    timm_proj_bias: bool,
    image_size: usize,
}

impl Default for TimmVision {
    fn default() -> Self {
        Self {
            timm_model_name: String::new(),
            timm_model_args: TrunkArguments::default(),
            timm_pool: "avg".into(),
            timm_proj: Some("linear".into()),
            timm_proj_bias: false,
            image_size: 224,
        }
    }
}

/// open_clip's `CLIPTextCfg` for its own tower.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NativeText {
    context_length: usize,
    vocab_size: usize,
    width: usize,
    heads: usize,
    layers: usize,
    mlp_ratio: f64,
    ls_init_value: Option<f64>,
    embed_cls: bool,
    pad_id: u32,
    eos_id: u32,
    no_causal_mask: bool,
    pool_type: String,
    proj_bias: bool,
    proj_type: String,
    act_kwargs: Option<ActivationArguments>,
    norm_kwargs: Option<NormArguments>,
}

impl Default for NativeText {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49_408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
            ls_init_value: None,
            embed_cls: false,
            pad_id: 0,
            eos_id: 2,
            no_causal_mask: false,
            pool_type: "argmax".into(),
            proj_bias: false,
            proj_type: "linear".into(),
            act_kwargs: None,
            norm_kwargs: None,
        }
    }
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Architecture> {
    let file: ConfigFile = fields::parse(path, "", Value::Object(fields::read_object(path)?))?;
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

fn image_side(path: &Path, model: &ModelFields) -> Result<ImageSide> {
    if model.vision_cfg.get("timm_model_name").is_some_and(|name| !name.is_null()) {
        return timm_vision(path, model);
    }
    let field = "model_cfg.vision_cfg";
    let config: NativeVision = parse_tower(path, field, &model.vision_cfg)?;
    fields::size(path, "vision_cfg.width", config.width, fields::MAX_WIDTH)?;
    fields::size(path, "vision_cfg.head_width", config.head_width, fields::MAX_WIDTH)?;
    fields::size(path, "vision_cfg.image_size", config.image_size, fields::MAX_IMAGE_SIZE)?;
    match config.layers {
        Layers::Blocks(layers) => native_transformer(path, model, &config, layers),
        Layers::Stages(layers) => {
            let width = config.width.saturating_mul(32);
            fields::size(path, "vision_cfg.width", width, fields::MAX_WIDTH)?;
            for stage in layers {
                fields::size(path, "vision_cfg.layers", stage, fields::MAX_LAYERS)?;
            }
            let heads = width / config.head_width;
            fields::heads(path, "vision_cfg.head_width", heads, width)?;
            if config.image_size < 32 || !config.width.is_multiple_of(2) {
                let found = format!("{} and {}", config.image_size, config.width);
                return Err(refuse(path, field, "`image_size` of at least 32 and an even `width`", &found));
            }
            let (image_size, outputs) = (config.image_size, model.embed_dim);
            let tower = ModifiedResNetConfig { image_size, width: config.width, layers, heads, outputs };
            Ok(ImageSide {
                place: "visual".into(),
                tower: ImageTowerConfig::ModifiedResNet(tower),
                projection: ProjectionConfig::Identity,
            })
        }
    }
}

fn native_transformer(
    path: &Path,
    model: &ModelFields,
    config: &NativeVision,
    layers: usize,
) -> Result<ImageSide> {
    let (width, image_size) = (config.width, config.image_size);
    let patch_size = config.patch_size.unwrap_or(0);
    fields::size(path, "vision_cfg.layers", layers, fields::MAX_LAYERS)?;
    fields::size(path, "vision_cfg.patch_size", patch_size, image_size)?;
    let heads = width / config.head_width;
    fields::heads(path, "vision_cfg.head_width", heads, width)?;
    let pooling = match (config.attentional_pool, config.pool_type.as_str()) {
        (true, "tok") => {
            fields::heads(path, "vision_cfg.attn_pooler_heads", config.attn_pooler_heads, model.embed_dim)?;
            fields::size(
                path,
                "vision_cfg.attn_pooler_queries",
                config.attn_pooler_queries,
                fields::MAX_WIDTH,
            )?;
            ImagePooling::Queries {
                heads: config.attn_pooler_heads,
                queries: config.attn_pooler_queries,
                width: model.embed_dim,
            }
        }
        (false, "tok") => ImagePooling::ClassToken,
        (false, "avg") => ImagePooling::AveragePatches { norm_first: !config.final_ln_after_pool },
        (_, other) => {
            return Err(refuse(path, "vision_cfg.pool_type", "\"tok\" or \"avg\"", &format!("{other:?}")));
        }
    };
    let tower = VisionTransformerConfig {
        image_size,
        patch_size,
        width,
        layers,
        heads,
        feed_forward_width: fields::feed_forward_width(
            path,
            "vision_cfg.mlp_ratio",
            width,
            config.mlp_ratio,
        )?,
        activation: activation(path, "vision_cfg", model.quick_gelu, config.act_kwargs.as_ref())?,
        eps: eps(path, "vision_cfg", config.norm_kwargs.as_ref())?,
        class_token: true,
        patch_bias: false,
        norm_before: !config.no_ln_pre,
        layer_scale: config.ls_init_value.is_some(),
        pooling,
        names: &VisionTransformerNames::OPEN_CLIP,
    };
    Ok(ImageSide {
        place: "visual".into(),
        tower: ImageTowerConfig::VisionTransformer(tower),
        projection: ProjectionConfig::Matrix("visual.proj".into()),
    })
}

fn timm_vision(path: &Path, model: &ModelFields) -> Result<ImageSide> {
    let config: TimmVision = parse_tower(path, "model_cfg.vision_cfg", &model.vision_cfg)?;
    let embed_dim = model.embed_dim;
    let (projection, classes) = match config.timm_proj.as_deref() {
        // Without an adapter of its own, open_clip uses the trunk's classifier.
        None | Some("") => (ProjectionConfig::Identity, embed_dim),
        Some("none") => (ProjectionConfig::Identity, 0),
        Some("linear") => {
            (ProjectionConfig::Linear { place: "visual.head.proj".into(), bias: config.timm_proj_bias }, 0)
        }
        Some("mlp") => {
            let projection = ProjectionConfig::Mlp {
                expand: "visual.head.mlp.fc1".into(),
                expand_bias: true,
                inner: 2 * embed_dim,
                contract: "visual.head.mlp.fc2".into(),
                contract_bias: config.timm_proj_bias,
            };
            (projection, 0)
        }
        Some(other) => {
            let expected = "\"linear\", \"mlp\", \"none\" or null";
            return Err(refuse(path, "vision_cfg.timm_proj", expected, &format!("{other:?}")));
        }
    };
    let tower = timm_towers::resolve(TrunkRequest {
        path,
        name: &config.timm_model_name,
        pool: &config.timm_pool,
        arguments: config.timm_model_args,
        classes,
        image_size: config.image_size,
    })?;
    if tower.image_size() != config.image_size {
        let expected = format!("{}, the size of {}", tower.image_size(), config.timm_model_name);
        return Err(refuse(path, "vision_cfg.image_size", &expected, &config.image_size.to_string()));
    }
    Ok(ImageSide { place: "visual.trunk".into(), tower, projection })
}

/// open_clip's `CLIPTextCfg` for towers from Hugging Face transformers.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HuggingFaceText {
    hf_model_name: String,
    hf_proj_type: Option<String>,
    hf_pooler_type: String,
    context_length: usize,
}

impl Default for HuggingFaceText {
    fn default() -> Self {
        Self {
            hf_model_name: String::new(),
            hf_proj_type: Some("mlp".into()),
            hf_pooler_type: "mean_pooler".into(),
            context_length: 77,
        }
    }
}

/// A BERT, whose own configuration lies beside open_clip's.
fn hugging_face_text(path: &Path, model: &ModelFields) -> Result<TextSide> {
    let config: HuggingFaceText = parse_tower(path, "model_cfg.text_cfg", &model.text_cfg)?;
    fields::size(path, "text_cfg.context_length", config.context_length, fields::MAX_CONTEXT_LENGTH)?;
    let bert_path = path.with_file_name("config.json");
    let model_type = fields::read_object(&bert_path)?.get("model_type").cloned();
    if let Some(found) = model_type.filter(|found| found != "bert") {
        let expected = format!("\"bert\" for {:?}", config.hf_model_name);
        return Err(refuse(&bert_path, "model_type", &expected, &found.to_string()));
    }
    let bert = BertConfig::open(&bert_path)?;
    let pooling = match config.hf_pooler_type.as_str() {
        "mean_pooler" => TokenPooling::Mean,
        "cls_last_hidden_state_pooler" => TokenPooling::First,
        other => {
            let expected = "\"mean_pooler\" or \"cls_last_hidden_state_pooler\"";
            return Err(refuse(path, "text_cfg.hf_pooler_type", expected, &format!("{other:?}")));
        }
    };
    let (width, embed_dim) = (bert.hidden_size, model.embed_dim);
    let projection = match config.hf_proj_type.as_deref() {
        None | Some("") if width == embed_dim => ProjectionConfig::Identity,
        Some("linear") => ProjectionConfig::Linear { place: "text.proj".into(), bias: false },
        Some("mlp") => ProjectionConfig::Mlp {
            expand: "text.proj.0".into(),
            expand_bias: false,
            inner: width.midpoint(embed_dim),
            contract: "text.proj.2".into(),
            contract_bias: false,
        },
        other => {
            let expected =
                format!("\"linear\" or \"mlp\", or null where the width {width} is the embedding's");
            return Err(refuse(path, "text_cfg.hf_proj_type", &expected, &format!("{other:?}")));
        }
    };
    Ok(TextSide {
        place: "text.transformer".into(),
        tower: TextTowerConfig::Bert(bert, pooling),
        projection,
        tokenizer: TokenizerSettings {
            flavour: TokenizerFlavour::HuggingFace,
            context_length: config.context_length,
            cleaning: cleaning(path, &model.text_cfg, "whitespace")?,
            pad_to_context: false,
        },
    })
}

/// The cleaning that `tokenizer_kwargs` asks for.
fn cleaning(path: &Path, text_cfg: &Value, default: &str) -> Result<TextCleaning> {
    let given = text_cfg.get("tokenizer_kwargs").and_then(|arguments| arguments.get("clean"));
    let name = given.and_then(Value::as_str).unwrap_or(default);
    TextCleaning::from_open_clip(name).ok_or_else(|| {
        let expected = "\"lower\", \"whitespace\" or \"canonicalize\"";
        refuse(path, "text_cfg.tokenizer_kwargs.clean", expected, &format!("{name:?}"))
    })
}

fn native_text(path: &Path, model: &ModelFields, place: &str) -> Result<TextSide> {
    let config: NativeText = parse_tower(path, "model_cfg.text_cfg", &model.text_cfg)?;
    fields::size(path, "text_cfg.width", config.width, fields::MAX_WIDTH)?;
    fields::size(path, "text_cfg.layers", config.layers, fields::MAX_LAYERS)?;
    fields::size(path, "text_cfg.vocab_size", config.vocab_size, fields::MAX_VOCABULARY)?;
    fields::size(path, "text_cfg.context_length", config.context_length, fields::MAX_CONTEXT_LENGTH)?;
    fields::heads(path, "text_cfg.heads", config.heads, config.width)?;
    let pooling = match (config.embed_cls, config.pool_type.as_str()) {
        (true, _) if config.no_causal_mask => {
            return Err(refuse(path, "text_cfg.no_causal_mask", "false with `embed_cls`", "true"));
        }
        (true, _) => TextPooling::ClassToken { padding: config.pad_id },
        (false, "argmax") => TextPooling::HighestId,
        (false, "eos") => TextPooling::Id(config.eos_id),
        (false, "first") => TextPooling::First,
        (false, "last") => TextPooling::LastOfContext,
        (false, other) => {
            let expected = "\"argmax\", \"eos\", \"first\" or \"last\"";
            return Err(refuse(path, "text_cfg.pool_type", expected, &format!("{other:?}")));
        }
    };
    let tower = TextTransformerConfig {
        vocabulary_size: config.vocab_size,
        context_length: config.context_length,
        width: config.width,
        layers: config.layers,
        heads: config.heads,
        feed_forward_width: fields::feed_forward_width(
            path,
            "text_cfg.mlp_ratio",
            config.width,
            config.mlp_ratio,
        )?,
        activation: activation(path, "text_cfg", model.quick_gelu, config.act_kwargs.as_ref())?,
        eps: eps(path, "text_cfg", config.norm_kwargs.as_ref())?,
        layer_scale: config.ls_init_value.is_some(),
        mask: if config.no_causal_mask { AttentionMask::None } else { AttentionMask::Causal },
        pooling,
        names: &TextTransformerNames::OPEN_CLIP,
    };
    Ok(TextSide {
        place: place.to_owned(),
        tower: TextTowerConfig::Transformer(tower),
        projection: text_projection(path, model, &config, place)?,
        tokenizer: native_tokenizer(path, model, config.context_length, pooling)?,
    })
}

/// CLIP's byte pairs, or the tokenizer of another model that `hf_tokenizer_name` names.
fn native_tokenizer(
    path: &Path,
    model: &ModelFields,
    context_length: usize,
    pooling: TextPooling,
) -> Result<TokenizerSettings> {
    let borrowed = model.text_cfg.get("hf_tokenizer_name").is_some_and(|name| !name.is_null() && name != "");
    let (flavour, default) = match borrowed {
        true => (TokenizerFlavour::HuggingFace, "whitespace"),
        false => (TokenizerFlavour::OpenClip, "lower"),
    };
    Ok(TokenizerSettings {
        flavour,
        context_length,
        cleaning: cleaning(path, &model.text_cfg, default)?,
        pad_to_context: pooling == TextPooling::LastOfContext,
    })
}

fn text_projection(
    path: &Path,
    model: &ModelFields,
    config: &NativeText,
    place: &str,
) -> Result<ProjectionConfig> {
    let name =
        if place.is_empty() { "text_projection".to_owned() } else { format!("{place}.text_projection") };
    match config.proj_type.as_str() {
        "none" if config.width == model.embed_dim => Ok(ProjectionConfig::Identity),
        "none" => {
            let expected = format!("\"linear\" where the width {} is not the embedding's", config.width);
            Err(refuse(path, "text_cfg.proj_type", &expected, "\"none\""))
        }
        "linear" if config.proj_bias => Ok(ProjectionConfig::Linear { place: name, bias: true }),
        "linear" => Ok(ProjectionConfig::Matrix(name)),
        other => Err(refuse(path, "text_cfg.proj_type", "\"linear\" or \"none\"", &format!("{other:?}"))),
    }
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
