//! Image towers of open_clip: its own transformers and ResNets, and trunks from timm.

use std::path::Path;

use serde::Deserialize;

use super::{ActivationArguments, ModelFields, NormArguments, activation, eps, parse_tower};
use crate::Result;
use crate::dual_encoder::architecture::fields;
use crate::dual_encoder::architecture::fields::refuse;
use crate::dual_encoder::architecture::image_side::ProjectionConfig;
use crate::dual_encoder::architecture::image_side::{ImageSide, ImageTowerConfig};
use crate::dual_encoder::architecture::timm_towers;
use crate::dual_encoder::architecture::timm_towers::{TrunkArguments, TrunkRequest};
use crate::towers::modified_resnet::ModifiedResNetConfig;
use crate::towers::vision_transformer::{ImagePooling, VisionTransformerConfig, VisionTransformerNames};

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

pub(super) fn image_side(path: &Path, model: &ModelFields) -> Result<ImageSide> {
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
