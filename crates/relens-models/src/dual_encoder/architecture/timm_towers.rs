//! The timm trunks that open_clip models are built on, by timm's names.

use std::path::Path;

use serde::Deserialize;

use super::fields::{self, refuse};
use super::image_side::ImageTowerConfig;
use crate::Result;
use crate::ops::Activation;
use crate::towers::efficientnet::EfficientNetConfig;
use crate::towers::eva02::Eva02Config;
use crate::towers::vision_transformer::{ImagePooling, VisionTransformerConfig, VisionTransformerNames};

/// Which of timm's classes a trunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Siglip,
    Eva02Clip,
}

/// One line of the table: the arguments that timm's function of this name passes on.
struct Trunk {
    name: &'static str,
    family: Family,
    /// Picture side, patch side, width, layers, heads.
    sizes: [usize; 5],
    feed_forward_ratio: f64,
}

const fn trunk(name: &'static str, family: Family, sizes: [usize; 5], feed_forward_ratio: f64) -> Trunk {
    Trunk { name, family, sizes, feed_forward_ratio }
}

const SWIGLU_RATIO: f64 = 4.0 * 2.0 / 3.0;
const SO400M_RATIO: f64 = 3.7362;

const TRUNKS: &[Trunk] = &[
    trunk("eva02_base_patch16_clip_224", Family::Eva02Clip, [224, 16, 768, 12, 12], SWIGLU_RATIO),
    trunk("eva02_large_patch14_clip_224", Family::Eva02Clip, [224, 14, 1024, 24, 16], SWIGLU_RATIO),
    trunk("eva02_large_patch14_clip_336", Family::Eva02Clip, [336, 14, 1024, 24, 16], SWIGLU_RATIO),
    trunk("vit_base_patch32_siglip_256", Family::Siglip, [256, 32, 768, 12, 12], 4.0),
    trunk("vit_base_patch16_siglip_224", Family::Siglip, [224, 16, 768, 12, 12], 4.0),
    trunk("vit_base_patch16_siglip_256", Family::Siglip, [256, 16, 768, 12, 12], 4.0),
    trunk("vit_base_patch16_siglip_384", Family::Siglip, [384, 16, 768, 12, 12], 4.0),
    trunk("vit_base_patch16_siglip_512", Family::Siglip, [512, 16, 768, 12, 12], 4.0),
    trunk("vit_large_patch16_siglip_256", Family::Siglip, [256, 16, 1024, 24, 16], 4.0),
    trunk("vit_large_patch16_siglip_384", Family::Siglip, [384, 16, 1024, 24, 16], 4.0),
    trunk("vit_large_patch16_siglip_512", Family::Siglip, [512, 16, 1024, 24, 16], 4.0),
    trunk("vit_so400m_patch14_siglip_224", Family::Siglip, [224, 14, 1152, 27, 16], SO400M_RATIO),
    trunk("vit_so400m_patch14_siglip_378", Family::Siglip, [378, 14, 1152, 27, 16], SO400M_RATIO),
    trunk("vit_so400m_patch14_siglip_384", Family::Siglip, [384, 14, 1152, 27, 16], SO400M_RATIO),
    trunk("vit_so400m_patch16_siglip_256", Family::Siglip, [256, 16, 1152, 27, 16], SO400M_RATIO),
    trunk("vit_so400m_patch16_siglip_384", Family::Siglip, [384, 16, 1152, 27, 16], SO400M_RATIO),
    trunk("vit_so400m_patch16_siglip_512", Family::Siglip, [512, 16, 1152, 27, 16], SO400M_RATIO),
];

/// The trunks that need no line in the table: their own module knows them by name.
const EFFICIENT_NETS: [&str; 5] = [
    "tf_efficientnet_lite0",
    "tf_efficientnet_lite1",
    "tf_efficientnet_lite2",
    "tf_efficientnet_lite3",
    "tf_efficientnet_lite4",
];

fn efficient_net(request: &TrunkRequest<'_>, image_size: usize) -> Result<ImageTowerConfig> {
    let TrunkRequest { path, pool, classes, .. } = *request;
    if !["avg", ""].contains(&pool) {
        return Err(refuse(path, "vision_cfg.timm_pool", "\"avg\" or \"\"", &format!("{pool:?}")));
    }
    if classes != 0 {
        return Err(refuse(path, "vision_cfg.timm_proj", "\"linear\", \"mlp\" or \"none\"", "null"));
    }
    fields::size(path, "vision_cfg.image_size", image_size, fields::MAX_IMAGE_SIZE)?;
    let config = EfficientNetConfig::from_timm_name(request.name)?;
    Ok(ImageTowerConfig::EfficientNet { name: request.name.to_owned(), config, image_size })
}

/// Sizes that differ from those of the named trunk: timm's `model_args`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TrunkArguments {
    img_size: Option<usize>,
    patch_size: Option<usize>,
    embed_dim: Option<usize>,
    depth: Option<usize>,
    num_heads: Option<usize>,
}

/// What open_clip asks of a trunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrunkRequest<'a> {
    pub(super) path: &'a Path,
    pub(super) name: &'a str,
    pub(super) pool: &'a str,
    pub(super) arguments: TrunkArguments,
    /// Width of the trunk's own classifier, 0 for none.
    pub(super) classes: usize,
    /// Side of the square picture in pixels, for trunks that take any.
    pub(super) image_size: usize,
}

/// The trunk of a name.
pub(super) fn resolve(request: TrunkRequest<'_>) -> Result<ImageTowerConfig> {
    let TrunkRequest { path, name, pool, arguments, classes, image_size } = request;
    if EFFICIENT_NETS.contains(&name) {
        return efficient_net(&request, image_size);
    }
    let Some(trunk) = TRUNKS.iter().find(|trunk| trunk.name == name) else {
        let known: Vec<&str> =
            EFFICIENT_NETS.iter().copied().chain(TRUNKS.iter().map(|trunk| trunk.name)).collect();
        let expected = format!("one of {}", known.join(", "));
        return Err(refuse(path, "vision_cfg.timm_model_name", &expected, &format!("{name:?}")));
    };
    let [image_size, patch_size, width, layers, heads] = trunk.sizes;
    let image_size = arguments.img_size.unwrap_or(image_size);
    let patch_size = arguments.patch_size.unwrap_or(patch_size);
    let width = arguments.embed_dim.unwrap_or(width);
    let layers = arguments.depth.unwrap_or(layers);
    let heads = arguments.num_heads.unwrap_or(heads);
    let place = "vision_cfg.timm_model_args";
    fields::size(path, place, image_size, fields::MAX_IMAGE_SIZE)?;
    fields::size(path, place, patch_size, image_size)?;
    fields::size(path, place, width, fields::MAX_WIDTH)?;
    fields::size(path, place, layers, fields::MAX_LAYERS)?;
    fields::heads(path, place, heads, width)?;
    let feed_forward_width = fields::feed_forward_width(path, place, width, trunk.feed_forward_ratio)?;
    let expect = |pools: &[&str]| {
        if pools.contains(&pool) {
            return Ok(());
        }
        Err(refuse(
            path,
            "vision_cfg.timm_pool",
            &format!("one of {pools:?} for {name}"),
            &format!("{pool:?}"),
        ))
    };
    match trunk.family {
        Family::Siglip => {
            expect(&["map", ""])?;
            if classes != 0 {
                return Err(refuse(path, "vision_cfg.timm_proj", "\"none\", \"linear\" or \"mlp\"", "null"));
            }
            Ok(ImageTowerConfig::VisionTransformer(VisionTransformerConfig {
                image_size,
                patch_size,
                width,
                layers,
                heads,
                feed_forward_width,
                activation: Activation::Gelu,
                eps: 1e-6,
                class_token: false,
                patch_bias: true,
                norm_before: false,
                layer_scale: false,
                pooling: ImagePooling::AttentionHead,
                names: &VisionTransformerNames::TIMM,
            }))
        }
        Family::Eva02Clip => {
            expect(&["token", ""])?;
            if !(width / heads).is_multiple_of(4) {
                return Err(refuse(path, place, "heads whose width is a multiple of 4", &heads.to_string()));
            }
            Ok(ImageTowerConfig::Eva02(Eva02Config {
                image_size,
                patch_size,
                width,
                layers,
                heads,
                feed_forward_width,
                reference_grid: 16,
                outputs: classes,
            }))
        }
    }
}
