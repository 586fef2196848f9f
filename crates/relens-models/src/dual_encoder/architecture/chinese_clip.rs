//! Chinese-CLIP's own checkpoints: one `.pt` without a configuration, as the authors' `cn_clip` publishes them.
//!
//! The towers are known by the shapes of the tensors, which are named as CLIP's and BERT's first programs named them:
//! `visual.…`, `bert.…`, `text_projection` and `logit_scale`. All published sizes are read: ViT-B/16, L/14, L/14@336 and
//! H/14, and RN50.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Architecture;
use super::fields::{self, refuse};
use super::hugging_face::chinese_clip_tokenizer;
use super::image_side::ProjectionConfig;
use super::image_side::{ImageSide, ImageTowerConfig};
use super::text_side::{TextSide, TextTowerConfig, TokenPooling};
use crate::image_preprocessing::{ImageSize, PreprocessConfig, ResizeMode};
use crate::ops::Activation;
use crate::towers::bert::BertConfig;
use crate::towers::modified_resnet::ModifiedResNetConfig;
use crate::towers::vision_transformer::{ImagePooling, VisionTransformerConfig, VisionTransformerNames};
use crate::weights::{TensorShapes, Weights};
use crate::{ModelError, Result};

/// Width of a head, which no tensor shows.
const HEAD_WIDTH: usize = 64;
/// The width of the one tower, H/14's, whose heads are wider.
const HUGE_WIDTH: usize = 1280;
const HUGE_HEAD_WIDTH: usize = 80;
/// By how much a modified ResNet makes a picture smaller, and its last stage is wider than its first.
const RESNET_FACTOR: usize = 32;

/// The file that a converted checkpoint is written to.
pub(super) const CONVERTED_FILE: &str = "clip_cn.safetensors";

/// The only `.pt` of a directory, if there is exactly one, or [`CONVERTED_FILE`].
pub(super) fn checkpoint(directory: &Path) -> Option<PathBuf> {
    let converted = directory.join(CONVERTED_FILE);
    if converted.is_file() {
        return Some(converted);
    }
    let entries = fs_err::read_dir(directory).ok()?;
    let mut found = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "pt") && path.is_file());
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Reads the shapes of a checkpoint.
pub(super) fn read(path: &Path) -> Result<Architecture> {
    // The shapes of a pickle are in its header: its numbers need not be read to know the towers.
    let is_pickle = path.extension().is_some_and(|suffix| suffix == "pt");
    let shapes = if is_pickle { Weights::shapes_of_pickle(path)? } else { Weights::open(path)?.shapes() };
    let tensors = Tensors { path, shapes };
    let [_, embed_dim] = tensors.shape("text_projection")?;
    fields::size(path, "text_projection", embed_dim, fields::MAX_WIDTH)?;
    let image = if tensors.has("visual.class_embedding") {
        vision_transformer(&tensors)?
    } else {
        modified_resnet(&tensors, embed_dim)?
    };
    let side = u32::try_from(image.tower.image_size()).unwrap_or(u32::MAX);
    let preprocess = PreprocessConfig {
        size: ImageSize::square(side),
        resize_mode: ResizeMode::Squash,
        ..PreprocessConfig::default()
    };
    Ok(Architecture { embed_dim, image, text: text_side(&tensors)?, preprocess, files: Vec::new() })
}

/// The tensors of a checkpoint, without their values.
struct Tensors<'a> {
    path: &'a Path,
    shapes: TensorShapes,
}

impl Tensors<'_> {
    fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    fn shape<const RANK: usize>(&self, name: &str) -> Result<[usize; RANK]> {
        let found = self.shapes.get(name);
        found.and_then(|shape| shape.as_slice().try_into().ok()).ok_or_else(|| ModelError::Config {
            path: self.path.to_owned(),
            reason: format!(
                "expected a checkpoint of Chinese-CLIP, whose `{name}` has {RANK} dimensions, found {}",
                found.map_or_else(|| "no such tensor".to_owned(), |shape| format!("{shape:?}"))
            ),
        })
    }

    /// How many layers there are, by a tensor that each has.
    fn layers(&self, name: impl Fn(usize) -> String) -> Result<usize> {
        let count = (0..=fields::MAX_LAYERS).take_while(|&layer| self.has(&name(layer))).count();
        fields::size(self.path, &name(0), count, fields::MAX_LAYERS)?;
        Ok(count)
    }

    /// Rows and columns of the grid that has this many places beside one for the whole picture.
    fn grid(&self, name: &str) -> Result<(usize, usize)> {
        let [places, width] = self.shape(name)?;
        let grid = places.saturating_sub(1).isqrt();
        if grid == 0 || grid.checked_mul(grid) != places.checked_sub(1) {
            return Err(refuse(self.path, name, "one place more than a square has", &places.to_string()));
        }
        fields::size(self.path, name, width, fields::MAX_WIDTH)?;
        fields::size(self.path, name, grid, fields::MAX_IMAGE_SIZE)?;
        Ok((grid, width))
    }
}

fn vision_transformer(tensors: &Tensors<'_>) -> Result<ImageSide> {
    let path = tensors.path;
    let (grid, width) = tensors.grid("visual.positional_embedding")?;
    let [_, _, patch_size, _] = tensors.shape("visual.conv1.weight")?;
    fields::size(path, "visual.conv1.weight", patch_size, fields::MAX_IMAGE_SIZE)?;
    let image_size = grid.saturating_mul(patch_size);
    fields::size(path, "visual.positional_embedding", image_size, fields::MAX_IMAGE_SIZE)?;
    let [feed_forward_width, _] = tensors.shape("visual.transformer.resblocks.0.mlp.c_fc.weight")?;
    fields::size(path, "visual.transformer.resblocks.0.mlp.c_fc", feed_forward_width, fields::MAX_WIDTH)?;
    let head_width = if width == HUGE_WIDTH { HUGE_HEAD_WIDTH } else { HEAD_WIDTH };
    let heads = width / head_width;
    fields::heads(path, "visual.positional_embedding", heads, width)?;
    let tower = VisionTransformerConfig {
        image_size,
        patch_size,
        width,
        layers: tensors.layers(|layer| format!("visual.transformer.resblocks.{layer}.ln_1.weight"))?,
        heads,
        feed_forward_width,
        activation: Activation::QuickGelu,
        eps: 1e-5,
        class_token: true,
        patch_bias: false,
        norm_before: true,
        layer_scale: false,
        pooling: ImagePooling::ClassToken,
        names: &VisionTransformerNames::OPEN_CLIP,
    };
    Ok(ImageSide {
        place: "visual".into(),
        tower: ImageTowerConfig::VisionTransformer(tower),
        projection: ProjectionConfig::Matrix("visual.proj".into()),
    })
}

fn modified_resnet(tensors: &Tensors<'_>, embed_dim: usize) -> Result<ImageSide> {
    let path = tensors.path;
    let [width, _, _, _] = tensors.shape("visual.layer1.0.conv1.weight")?;
    let (grid, outputs) = tensors.grid("visual.attnpool.positional_embedding")?;
    if width == 0 || !width.is_multiple_of(2) || width.checked_mul(RESNET_FACTOR) != Some(outputs) {
        let expected = format!("an even width, {RESNET_FACTOR} times which is {outputs}");
        return Err(refuse(path, "visual.layer1.0.conv1.weight", &expected, &width.to_string()));
    }
    let image_size = grid.saturating_mul(RESNET_FACTOR);
    fields::size(path, "visual.attnpool.positional_embedding", image_size, fields::MAX_IMAGE_SIZE)?;
    let heads = outputs / HEAD_WIDTH;
    fields::heads(path, "visual.attnpool.positional_embedding", heads, outputs)?;
    let mut layers = [0; 4];
    for (stage, count) in (1..).zip(&mut layers) {
        *count = tensors.layers(|block| format!("visual.layer{stage}.{block}.conv1.weight"))?;
    }
    let tower = ModifiedResNetConfig { image_size, width, layers, heads, outputs: embed_dim };
    Ok(ImageSide {
        place: "visual".into(),
        tower: ImageTowerConfig::ModifiedResNet(tower),
        projection: ProjectionConfig::Identity,
    })
}

fn text_side(tensors: &Tensors<'_>) -> Result<TextSide> {
    let path = tensors.path;
    let [vocabulary_size, width] = tensors.shape("bert.embeddings.word_embeddings.weight")?;
    let [positions, _] = tensors.shape("bert.embeddings.position_embeddings.weight")?;
    let [types, _] = tensors.shape("bert.embeddings.token_type_embeddings.weight")?;
    let [feed_forward_width, _] = tensors.shape("bert.encoder.layer.0.intermediate.dense.weight")?;
    let layers = tensors.layers(|layer| format!("bert.encoder.layer.{layer}.output.dense.weight"))?;
    let config = json!({
        "vocab_size": vocabulary_size, "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": width / HEAD_WIDTH, "intermediate_size": feed_forward_width, "hidden_act": "gelu",
        "max_position_embeddings": positions, "type_vocab_size": types, "layer_norm_eps": 1e-12,
    });
    let bert = BertConfig::from_json(&config.to_string(), path)?;
    Ok(TextSide {
        place: "bert".into(),
        tokenizer: chinese_clip_tokenizer(positions),
        tower: TextTowerConfig::Bert(bert, TokenPooling::First),
        projection: ProjectionConfig::Matrix("text_projection".into()),
    })
}
