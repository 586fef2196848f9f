//! Text towers of open_clip: its own transformers, and BERTs from Hugging Face transformers.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{ActivationArguments, ModelFields, NormArguments, activation, eps, parse_tower};
use crate::Result;
use crate::dual_encoder::architecture::fields;
use crate::dual_encoder::architecture::fields::refuse;
use crate::dual_encoder::architecture::image_side::ProjectionConfig;
use crate::dual_encoder::architecture::text_side::{TextSide, TextTowerConfig, TokenPooling};
use crate::ops::AttentionMask;
use crate::tokenizer::{TextCleaning, TokenizerConfig, TokenizerFlavour};
use crate::towers::bert::BertConfig;
use crate::towers::text_transformer::{TextPooling, TextTransformerConfig, TextTransformerNames};

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
pub(super) fn hugging_face_text(path: &Path, model: &ModelFields) -> Result<TextSide> {
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
        tokenizer: TokenizerConfig {
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

pub(super) fn native_text(path: &Path, model: &ModelFields, place: &str) -> Result<TextSide> {
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
) -> Result<TokenizerConfig> {
    let borrowed = model.text_cfg.get("hf_tokenizer_name").is_some_and(|name| !name.is_null() && name != "");
    let (flavour, default) = match borrowed {
        true => (TokenizerFlavour::HuggingFace, "whitespace"),
        false => (TokenizerFlavour::OpenClip, "lower"),
    };
    Ok(TokenizerConfig {
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
