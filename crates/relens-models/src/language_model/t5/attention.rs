//! The attention parts of a layer: to the sequence itself, and from the decoder to what the encoder made; and the
//! learned bias on scores for every bucket of distances, by which positions enter.

use candle_core::Tensor;

use super::T5Config;
use crate::Result;
use crate::layers::{ConcatenatedLinear, Dropout, DropoutGenerator, Linear, RmsNorm};
use crate::ops::{self, AttentionConfig, AttentionMask};
use crate::parameters::Parameters;

/// What both kinds of attention have around the mixing of heads: hidden + o(mix(norm(hidden))).
#[derive(Debug, Clone)]
struct AttentionFrame {
    norm: RmsNorm,
    output: Linear,
    config: AttentionConfig,
    dropout: Dropout,
}

impl AttentionFrame {
    /// Takes `layer_norm`, and `o` of the attention's own `projections`.
    fn load(
        parameters: &Parameters,
        projections: &Parameters,
        config: &T5Config,
        mask: AttentionMask,
    ) -> Result<Self> {
        let (width, inner) = (config.d_model, config.inner_width());
        Ok(Self {
            norm: RmsNorm::load(&parameters.pp("layer_norm"), width, config.layer_norm_epsilon)?,
            output: Linear::load_without_bias(&projections.pp("o"), inner, width)?,
            // T5 does not scale its scores; the initialisation of the queries does it.
            config: AttentionConfig { scale: Some(1.0), ..AttentionConfig::new(config.num_heads, mask) },
            dropout: Dropout::new(config.dropout_rate),
        })
    }

    fn detached(&self) -> Self {
        Self { norm: self.norm.detached(), output: self.output.detached(), ..*self }
    }

    /// `mix` turns the normalised states into what the heads gather.
    fn around(
        &self,
        hidden: &Tensor,
        mut generator: Option<&mut DropoutGenerator>,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let config = AttentionConfig { dropout: self.dropout.mask(generator.as_deref_mut()), ..self.config };
        let mixed = mix(&self.norm.forward(hidden)?, &config)?;
        Ok((hidden + self.dropout.forward(&self.output.forward(&mixed)?, generator)?)?)
    }
}

/// hidden + o(attention(norm(hidden))) within every sequence.
#[derive(Debug, Clone)]
pub(super) struct T5SelfAttention {
    frame: AttentionFrame,
    projections: ConcatenatedLinear,
}

impl T5SelfAttention {
    /// Takes `layer_norm` and `SelfAttention.*`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config, mask: AttentionMask) -> Result<Self> {
        let attention = parameters.pp("SelfAttention");
        let projection =
            |name| Linear::load_without_bias(&attention.pp(name), config.d_model, config.inner_width());
        let projections = ["q", "k", "v"].map(projection).into_iter().collect::<Result<Vec<_>>>()?;
        Ok(Self {
            frame: AttentionFrame::load(parameters, &attention, config, mask)?,
            projections: ConcatenatedLinear::new(projections)?,
        })
    }

    pub(super) fn detached(&self) -> Result<Self> {
        Ok(Self { frame: self.frame.detached(), projections: self.projections.detached()? })
    }

    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        bias: &Tensor,
        offsets: &[usize],
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        self.forward_mixed_by(hidden, generator, |qkv, config| {
            ops::attention_with_bias(qkv, bias, offsets, config)
        })
    }

    /// As [`T5SelfAttention::forward`], with `mix` in the place of the attention.
    pub(super) fn forward_mixed_by(
        &self,
        hidden: &Tensor,
        generator: Option<&mut DropoutGenerator>,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.frame.around(hidden, generator, |normed, config| mix(&self.projections.forward(normed)?, config))
    }
}

/// hidden + o(attention(norm(hidden), memory)): queries from the decoder, keys and values from the encoder.
#[derive(Debug, Clone)]
pub(super) struct T5CrossAttention {
    frame: AttentionFrame,
    query: Linear,
    key: Linear,
    value: Linear,
}

impl T5CrossAttention {
    /// Takes `layer_norm` and `EncDecAttention.*`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        let attention = parameters.pp("EncDecAttention");
        let projection =
            |name| Linear::load_without_bias(&attention.pp(name), config.d_model, config.inner_width());
        Ok(Self {
            frame: AttentionFrame::load(parameters, &attention, config, AttentionMask::None)?,
            query: projection("q")?,
            key: projection("k")?,
            value: projection("v")?,
        })
    }

    pub(super) fn detached(&self) -> Self {
        Self {
            frame: self.frame.detached(),
            query: self.query.detached(),
            key: self.key.detached(),
            value: self.value.detached(),
        }
    }

    /// What the queries are made from: the normalised states of the decoder.
    pub(super) fn query_inputs(&self, hidden: &Tensor) -> Result<Tensor> {
        self.frame.norm.forward(hidden)
    }

    /// The keys and the values of what the encoder made.
    pub(super) fn keys_and_values(&self, memory: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.key.forward(memory)?, self.value.forward(memory)?))
    }

    pub(super) fn forward(
        &self,
        hidden: &Tensor,
        memory: &Tensor,
        (offsets, memory_offsets): (&[usize], &[usize]),
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let (key, value) = self.keys_and_values(memory)?;
        self.forward_mixed_by(hidden, generator, |query, config| {
            ops::attention_separate(query, &key, &value, offsets, memory_offsets, config)
        })
    }

    /// As [`T5CrossAttention::forward`], with `mix` in the place of the attention: it gets the queries.
    pub(super) fn forward_mixed_by(
        &self,
        hidden: &Tensor,
        generator: Option<&mut DropoutGenerator>,
        mix: impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.frame.around(hidden, generator, |normed, config| mix(&self.query.forward(normed)?, config))
    }
}

/// A table of biases by bucket and head.
#[derive(Debug, Clone)]
pub(super) struct RelativePositionBias {
    table: Tensor,
    buckets: usize,
    max_distance: usize,
    bidirectional: bool,
}

impl RelativePositionBias {
    pub(super) fn load(parameters: &Parameters, config: &T5Config, bidirectional: bool) -> Result<Self> {
        let buckets = config.relative_attention_num_buckets;
        Ok(Self {
            table: parameters.tensor("weight", &[buckets, config.num_heads])?,
            buckets,
            max_distance: config.relative_attention_max_distance,
            bidirectional,
        })
    }

    pub(super) fn detached(&self) -> Self {
        Self { table: self.table.detach(), ..*self }
    }

    /// The biases of all distances from 1 − reach to reach − 1.
    ///
    /// # Shapes
    /// - output: `[heads, 2·reach − 1]`
    pub(super) fn by_distance(&self, reach: usize) -> Result<Tensor> {
        let reach = reach.max(1);
        let before = (1..reach).rev().map(|distance| self.bucket(distance, false));
        let after = (0..reach).map(|distance| self.bucket(distance, true));
        let ids: Vec<u32> = before.chain(after).collect();
        // By head, since a kernel works on one head at a time.
        Ok(ops::embedding(&self.table, &ids)?.t()?.contiguous()?)
    }

    /// The bucket of a key `distance` tokens after (or else before) the query: one bucket for every small distance,
    /// then ever wider ones up to the largest. A decoder never looks ahead: there, all that is after is one bucket.
    fn bucket(&self, distance: usize, after: bool) -> u32 {
        let (buckets, first, distance) = match (self.bidirectional, after && distance > 0) {
            (true, false) => (self.buckets / 2, 0, distance),
            (true, true) => (self.buckets / 2, self.buckets / 2, distance),
            (false, false) => (self.buckets, 0, distance),
            (false, true) => (self.buckets, 0, 0),
        };
        let exact = buckets / 2;
        if distance < exact {
            return (first + distance) as u32;
        }
        // In single precision as the reference implementation does it, so that the borders fall alike.
        let octaves = (distance as f32 / exact as f32).ln();
        let range = (self.max_distance as f64 / exact as f64).ln() as f32;
        let step = (octaves / range * (buckets - exact) as f32) as usize;
        (first + (exact + step).min(buckets - 1)) as u32
    }
}
