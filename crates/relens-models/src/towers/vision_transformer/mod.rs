//! The vision transformer (Dosovitskiy et al., 2021) in the forms that image-text models give it.
//!
//! One network serves CLIP (class token, norm before the blocks), CoCa (attentional pooling), SigLIP (no class token,
//! attention-pooling head) and Chinese-CLIP, in the layouts of open_clip, timm and Hugging Face: a
//! [`VisionTransformerConfig`] holds the sizes, [`VisionTransformerNames`] what a checkpoint calls the tensors, and
//! [`ImagePooling`] how the tokens of a picture become one vector.

mod config;

use candle_core::Tensor;

use crate::layers::{CrossAttention, FeedForward, LayerNorm, Linear, PatchEmbedding, PreNormBlock};
use crate::parameters::{LinearStorage, Parameters};
use crate::{ModelError, Result, ops};

pub use config::{
    AttentionPoolNames, ImagePooling, PoolProjectionNames, VisionTransformerConfig, VisionTransformerNames,
};

/// A vision transformer with its pooling, without the projection to the shared space.
#[derive(Debug, Clone)]
pub struct VisionTransformer {
    image_size: usize,
    patches: PatchEmbedding,
    class_token: Option<Tensor>,
    positions: Tensor,
    norm_before: Option<LayerNorm>,
    blocks: Vec<PreNormBlock>,
    pooling: Pooling,
    width: usize,
}

impl VisionTransformer {
    /// Takes the tensors that `config.names` lists.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &VisionTransformerConfig) -> Result<Self> {
        let (width, names) = (config.width, config.names);
        let table = |name: &str, shape: &[usize], leading: usize| -> Result<Tensor> {
            let leading = if names.leading_ones { leading } else { 0 };
            // timm stores tables as batches of one.
            let stored: Vec<usize> = [&vec![1; leading], shape].concat();
            Ok(parameters.tensor(name, &stored)?.reshape(shape)?)
        };
        let place = parameters.pp(names.patch_embedding);
        let norm_before =
            config.norm_before.then(|| LayerNorm::load(&parameters.pp(names.norm_before), width, config.eps));
        let blocks = parameters.pp(names.blocks);
        Ok(Self {
            image_size: config.image_size,
            patches: PatchEmbedding::load(&place, width, config.patch_size, config.patch_bias)?,
            class_token: config.class_token.then(|| table(names.class_token, &[width], 2)).transpose()?,
            positions: table(names.positions, &[config.tokens(), width], 1)?,
            norm_before: norm_before.transpose()?,
            blocks: (0..config.layers)
                .map(|layer| PreNormBlock::load(&blocks.pp(layer), &config.block()))
                .collect::<Result<_>>()?,
            pooling: Pooling::load(parameters, config)?,
            width: config.pooled_width(),
        })
    }

    /// How many features a picture has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pooled features.
    ///
    /// # Shapes
    /// - `images`: `[images, image_size, image_size, 3]`
    /// - output: `[images, width()]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let side = self.image_size;
        let &[count, height, width, 3] = images.dims() else {
            return Err(wrong_images(side, images));
        };
        if (height, width) != (side, side) {
            return Err(wrong_images(side, images));
        }
        let embedded = self.embed(images, count)?;
        let (_, tokens, width) = embedded.dims3()?;
        let offsets = even_offsets(count, tokens);
        let mut hidden = embedded.reshape((count * tokens, width))?;
        for block in &self.blocks {
            hidden = block.forward(&hidden, &offsets)?;
        }
        self.pooling.forward(&hidden.reshape((count, tokens, width))?)
    }

    /// Patches with their class token and positions: `[images, tokens, width]`.
    fn embed(&self, images: &Tensor, count: usize) -> Result<Tensor> {
        let mut tokens = self.patches.forward(images)?;
        if let Some(class_token) = &self.class_token {
            let width = class_token.dim(0)?;
            let repeated = class_token.reshape((1, 1, width))?.broadcast_as((count, 1, width))?;
            tokens = Tensor::cat(&[&repeated.contiguous()?, &tokens], 1)?;
        }
        let placed = tokens.broadcast_add(&self.positions)?;
        self.norm_before.as_ref().map_or(Ok(placed.clone()), |norm| norm.forward(&placed))
    }
}

fn wrong_images(side: usize, images: &Tensor) -> ModelError {
    ModelError::Argument {
        operation: "VisionTransformer",
        expected: format!("pictures of shape [images, {side}, {side}, 3]"),
        found: format!("{:?}", images.dims()),
    }
}

/// What [`ImagePooling`] names, with its tensors.
#[derive(Debug, Clone)]
enum Pooling {
    ClassToken { norm: LayerNorm },
    AveragePatches { norm: LayerNorm, norm_first: bool },
    AttentionHead { norm: LayerNorm, head: Box<AttentionHead> },
    Queries { pooler: Box<QueryPooler>, norm: LayerNorm },
}

impl Pooling {
    fn load(parameters: &Parameters, config: &VisionTransformerConfig) -> Result<Self> {
        // A small part of the work, and the last to round.
        let parameters = &parameters.clone().with_storage(LinearStorage::AsStored);
        let norm = |width| LayerNorm::load(&parameters.pp(config.names.norm_after), width, config.eps);
        Ok(match config.pooling {
            ImagePooling::ClassToken => Self::ClassToken { norm: norm(config.width)? },
            ImagePooling::AveragePatches { norm_first } => {
                Self::AveragePatches { norm: norm(config.width)?, norm_first }
            }
            ImagePooling::AttentionHead => Self::AttentionHead {
                norm: norm(config.width)?,
                head: Box::new(AttentionHead::load(parameters, config)?),
            },
            ImagePooling::Queries { heads, queries, width } => {
                let pooler = QueryPooler::load(&parameters.pp("attn_pool"), config, (heads, queries, width))?;
                Self::Queries { pooler: Box::new(pooler), norm: norm(width)? }
            }
        })
    }

    /// `[images, tokens, width]` to `[images, pooled width]`; the class token, if there is one, comes first.
    fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        let (images, tokens, width) = hidden.dims3()?;
        match self {
            // Only the class token is needed, and the norm works row by row: it comes second, to norm one row.
            Self::ClassToken { norm } => norm.forward(&hidden.narrow(1, 0, 1)?.squeeze(1)?),
            Self::AveragePatches { norm, norm_first } => {
                let patches = |hidden: &Tensor| -> Result<Tensor> {
                    // Without the class token, which open_clip has even where it is not pooled.
                    Ok(hidden.narrow(1, 1, tokens.saturating_sub(1))?.mean(1)?)
                };
                if *norm_first {
                    return patches(&norm.forward(hidden)?);
                }
                norm.forward(&patches(hidden)?)
            }
            Self::AttentionHead { norm, head } => {
                let rows = norm.forward(hidden)?.reshape((images * tokens, width))?;
                head.forward(&rows, &even_offsets(images, tokens))
            }
            Self::Queries { pooler, norm } => {
                let rows = hidden.reshape((images * tokens, width))?;
                norm.forward(&pooler.forward(&rows, &even_offsets(images, tokens))?)
            }
        }
    }
}

/// Where sequences of one length begin.
fn even_offsets(sequences: usize, length: usize) -> Vec<usize> {
    (0..=sequences).map(|sequence| sequence * length).collect()
}

/// A learned query that attends to all patches, then a feed-forward part (Zhai et al., 2022; SigLIP).
#[derive(Debug, Clone)]
struct AttentionHead {
    probe: Tensor,
    attention: CrossAttention,
    norm: LayerNorm,
    feed_forward: FeedForward,
}

impl AttentionHead {
    fn load(parameters: &Parameters, config: &VisionTransformerConfig) -> Result<Self> {
        let names: &AttentionPoolNames = &config.names.attention_pool;
        let width = config.width;
        let (query, key_value) = match names.query_key_value {
            PoolProjectionNames::Packed(weight, bias) => {
                let packed = Linear::load_named(parameters, (weight, bias), width, 3 * width)?;
                (packed.narrow(0, width)?, packed.narrow(width, 2 * width)?)
            }
            PoolProjectionNames::QueryAndKeyValue(query, key_value) => (
                Linear::load(&parameters.pp(query), width, width)?,
                Linear::load(&parameters.pp(key_value), width, 2 * width)?,
            ),
        };
        let (key, value) = (key_value.narrow(0, width)?, key_value.narrow(width, width)?);
        let output = Linear::load(&parameters.pp(names.output), width, width)?;
        let sizes = (width, config.feed_forward_width);
        Ok(Self {
            probe: parameters.tensor(names.probe, &[1, 1, width])?.reshape((1, width))?,
            attention: CrossAttention::new(query, key, value, output, config.heads)?,
            norm: LayerNorm::load(&parameters.pp(names.norm), width, config.eps)?,
            feed_forward: FeedForward::load(parameters, names.feed_forward, sizes, config.activation)?,
        })
    }

    fn forward(&self, tokens: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        let images = offsets.len().saturating_sub(1);
        let probes = ops::embedding(&self.probe, &vec![0; images])?;
        let pooled = self.attention.forward(&probes, tokens, offsets)?;
        Ok((&pooled + self.feed_forward.forward(&self.norm.forward(&pooled)?)?)?)
    }
}

/// CoCa's attentional pooler (Yu et al., 2022), as far as the contrastive embedding needs it: its first query. The
/// others feed the caption decoder, and no query looks at another.
#[derive(Debug, Clone)]
struct QueryPooler {
    queries: Tensor,
    query_norm: LayerNorm,
    token_norm: LayerNorm,
    attention: CrossAttention,
}

impl QueryPooler {
    fn load(
        parameters: &Parameters,
        config: &VisionTransformerConfig,
        (heads, queries, width): (usize, usize, usize),
    ) -> Result<Self> {
        let place = parameters.pp("attn");
        let bias = place.tensor("in_proj_bias", &[3 * width])?;
        // PyTorch packs the three matrices when the widths agree.
        let weight = |index: usize, name: &str, inputs: usize| -> Result<Tensor> {
            if config.width == width {
                let packed = place.linear_weight("in_proj_weight", width, 3 * width)?;
                return Ok(packed.narrow(1, index * width, width)?.contiguous()?);
            }
            place.linear_weight(name, inputs, width)
        };
        let part = |index: usize, name: &str, inputs: usize| -> Result<Linear> {
            Ok(Linear::new(weight(index, name, inputs)?, Some(bias.narrow(0, index * width, width)?)))
        };
        let attention = CrossAttention::new(
            part(0, "q_proj_weight", width)?,
            part(1, "k_proj_weight", config.width)?,
            part(2, "v_proj_weight", config.width)?,
            Linear::load(&place.pp("out_proj"), width, width)?,
            heads,
        )?;
        Ok(Self {
            queries: parameters.tensor("query", &[queries, width])?,
            query_norm: LayerNorm::load(&parameters.pp("ln_q"), width, config.eps)?,
            token_norm: LayerNorm::load(&parameters.pp("ln_k"), config.width, config.eps)?,
            attention,
        })
    }

    fn forward(&self, tokens: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        let images = offsets.len().saturating_sub(1);
        let first = self.query_norm.forward(&self.queries.narrow(0, 0, 1)?.contiguous()?)?;
        let queries = ops::embedding(&first, &vec![0; images])?;
        self.attention.forward(&queries, &self.token_norm.forward(tokens)?, offsets)
    }
}
