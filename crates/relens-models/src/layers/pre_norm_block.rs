//! The block that most transformers repeat: attention, then feed-forward, each on a normalised copy of its input.

use candle_core::Tensor;

use super::{ConcatenatedLinear, Dropout, LayerNorm, Linear, SelfAttention};
use crate::Result;
use crate::ops::{self, Activation, AttentionConfig, AttentionMask};
use crate::parameters::Parameters;

/// The sizes and names of a [`PreNormBlock`].
#[derive(Debug, Clone, Copy)]
pub struct PreNormBlockConfig {
    /// Width of the hidden states.
    pub width: usize,
    /// Attention heads; a divisor of `width`.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub feed_forward_width: usize,
    /// The feed-forward part's activation.
    pub activation: Activation,
    /// Which keys a query may look at.
    pub mask: AttentionMask,
    /// Added to the variance by the norms.
    pub eps: f64,
    /// Whether each part's output is multiplied by a learned vector (Touvron et al., 2021).
    pub layer_scale: bool,
    /// What the checkpoint calls the tensors.
    pub names: &'static BlockNames,
}

/// What a checkpoint calls the parts of a block.
#[derive(Debug, PartialEq, Eq)]
pub struct BlockNames {
    /// The norm before the attention.
    pub attention_norm: &'static str,
    /// The projections to queries, keys and values.
    pub query_key_value: QueryKeyValueNames,
    /// The projection after the attention.
    pub attention_output: &'static str,
    /// The scale of the attention's output.
    pub attention_scale: &'static str,
    /// The norm before the feed-forward part.
    pub feed_forward_norm: &'static str,
    /// The widening map of the feed-forward part.
    pub expand: &'static str,
    /// The narrowing map of the feed-forward part.
    pub contract: &'static str,
    /// The scale of the feed-forward part's output.
    pub feed_forward_scale: &'static str,
}

/// How a checkpoint stores the projections to queries, keys and values.
#[derive(Debug, PartialEq, Eq)]
pub enum QueryKeyValueNames {
    /// One map: the names of its weight and bias.
    Packed(&'static str, &'static str),
    /// Three maps, queries first.
    Separate([&'static str; 3]),
}

impl BlockNames {
    /// open_clip's own towers, and OpenAI's before it.
    pub const OPEN_CLIP: Self = Self {
        attention_norm: "ln_1",
        query_key_value: QueryKeyValueNames::Packed("attn.in_proj_weight", "attn.in_proj_bias"),
        attention_output: "attn.out_proj",
        attention_scale: "ls_1.gamma",
        feed_forward_norm: "ln_2",
        expand: "mlp.c_fc",
        contract: "mlp.c_proj",
        feed_forward_scale: "ls_2.gamma",
    };
    /// The CLIP family in Hugging Face transformers.
    pub const HUGGING_FACE: Self = Self {
        attention_norm: "layer_norm1",
        query_key_value: QueryKeyValueNames::Separate([
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
        ]),
        attention_output: "self_attn.out_proj",
        attention_scale: "layer_scale1.lambda1",
        feed_forward_norm: "layer_norm2",
        expand: "mlp.fc1",
        contract: "mlp.fc2",
        feed_forward_scale: "layer_scale2.lambda1",
    };
    /// timm's vision transformers.
    pub const TIMM: Self = Self {
        attention_norm: "norm1",
        query_key_value: QueryKeyValueNames::Packed("attn.qkv.weight", "attn.qkv.bias"),
        attention_output: "attn.proj",
        attention_scale: "ls1.gamma",
        feed_forward_norm: "norm2",
        expand: "mlp.fc1",
        contract: "mlp.fc2",
        feed_forward_scale: "ls2.gamma",
    };
}

/// x + scale·attention(norm(x)), then x + scale·feed_forward(norm(x)).
#[derive(Debug, Clone)]
pub struct PreNormBlock {
    attention_norm: LayerNorm,
    attention: SelfAttention,
    attention_scale: Option<Tensor>,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
    feed_forward_scale: Option<Tensor>,
}

impl PreNormBlock {
    /// Takes the tensors that `config.names` lists.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &PreNormBlockConfig) -> Result<Self> {
        let (width, names) = (config.width, config.names);
        let norm = |name| LayerNorm::load(&parameters.pp(name), width, config.eps);
        let scale = |name| config.layer_scale.then(|| parameters.tensor(name, &[width])).transpose();
        let projections = match names.query_key_value {
            QueryKeyValueNames::Packed(weight, bias) => {
                vec![Linear::load_named(parameters, (weight, bias), width, 3 * width)?]
            }
            QueryKeyValueNames::Separate(names) => names
                .into_iter()
                .map(|name| Linear::load(&parameters.pp(name), width, width))
                .collect::<Result<_>>()?,
        };
        Ok(Self {
            attention_norm: norm(names.attention_norm)?,
            attention: SelfAttention::new(
                ConcatenatedLinear::new(projections)?,
                Linear::load(&parameters.pp(names.attention_output), width, width)?,
                AttentionConfig::new(config.heads, config.mask),
                Dropout::new(0.0),
            ),
            attention_scale: scale(names.attention_scale)?,
            feed_forward_norm: norm(names.feed_forward_norm)?,
            feed_forward: FeedForward::load(
                parameters,
                (names.expand, names.contract),
                (width, config.feed_forward_width),
                config.activation,
            )?,
            feed_forward_scale: scale(names.feed_forward_scale)?,
        })
    }

    /// Attends within every sequence.
    ///
    /// # Shapes
    /// - `hidden`, output: `[total_tokens, width]`
    /// - `offsets`: `batch + 1` many, ascending from 0 to `total_tokens`
    ///
    /// # Errors
    /// When the shapes or the offsets do not fit.
    pub fn forward(&self, hidden: &Tensor, offsets: &[usize]) -> Result<Tensor> {
        self.forward_mixed_by(hidden, |projected, config| ops::attention(projected, offsets, config))
    }

    /// As [`PreNormBlock::forward`], with `mix` in the place of the attention: see [`SelfAttention::gather`].
    ///
    /// # Errors
    /// When the shapes do not fit, or `mix` fails.
    pub fn forward_mixed_by(
        &self,
        hidden: &Tensor,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let gathered = self.attention.gather(&self.attention_norm.forward(hidden)?, mix)?;
        let hidden = match &self.attention_scale {
            // Without a scale between them, map and residual are fused; with one they cannot be.
            None => self.attention.output().forward_onto(hidden, &gathered)?,
            Some(scale) => add_scaled(hidden, &self.attention.output().forward(&gathered)?, scale)?,
        };
        let normalised = self.feed_forward_norm.forward(&hidden)?;
        match &self.feed_forward_scale {
            None => self.feed_forward.forward_onto(&hidden, &normalised),
            Some(scale) => add_scaled(&hidden, &self.feed_forward.forward(&normalised)?, scale),
        }
    }
}

/// hidden + scale·update
fn add_scaled(hidden: &Tensor, update: &Tensor, scale: &Tensor) -> Result<Tensor> {
    Ok((hidden + update.broadcast_mul(scale)?)?)
}

/// Two affine maps with an activation between them.
#[derive(Debug, Clone)]
pub struct FeedForward {
    expand: Linear,
    contract: Linear,
    activation: Activation,
}

impl FeedForward {
    /// Takes the two maps under their names.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(
        parameters: &Parameters,
        (expand, contract): (&str, &str),
        (width, inner): (usize, usize),
        activation: Activation,
    ) -> Result<Self> {
        Ok(Self {
            expand: Linear::load(&parameters.pp(expand), width, inner)?,
            contract: Linear::load(&parameters.pp(contract), inner, width)?,
            activation,
        })
    }

    /// contract(activation(expand(x)))
    ///
    /// # Shapes
    /// - `x`, output: `[.., width]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.contract.forward(&self.expand.forward_activated(x, self.activation)?)
    }

    /// residual + contract(activation(expand(x)))
    ///
    /// # Shapes
    /// - `residual`, `x`, output: `[.., width]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        self.contract.forward_onto(residual, &self.expand.forward_activated(x, self.activation)?)
    }
}
