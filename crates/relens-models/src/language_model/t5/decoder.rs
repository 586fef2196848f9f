//! The decoder: layers of causal self-attention, attention to the encoder's states, and feed-forward.

use candle_core::Tensor;

use super::T5Config;
use super::attention::{RelativePositionBias, T5CrossAttention, T5SelfAttention};
use super::encoder::longest;
use super::feed_forward::T5FeedForward;
use crate::Result;
use crate::layers::{Dropout, DropoutGenerator, RmsNorm};
use crate::ops::AttentionMask;
use crate::parameters::Parameters;

#[derive(Debug, Clone)]
pub(super) struct DecoderStack {
    pub(super) bias: RelativePositionBias,
    pub(super) layers: Vec<DecoderLayer>,
    pub(super) norm: RmsNorm,
    dropout: Dropout,
}

#[derive(Debug, Clone)]
pub(super) struct DecoderLayer {
    pub(super) self_attention: T5SelfAttention,
    pub(super) cross_attention: T5CrossAttention,
    pub(super) feed_forward: T5FeedForward,
}

impl DecoderStack {
    /// Takes `block.N.layer.*` and `final_layer_norm`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        let layer = |i: usize| {
            let parts = parameters.pp("block").pp(i).pp("layer");
            Ok(DecoderLayer {
                self_attention: T5SelfAttention::load(&parts.pp(0), config, AttentionMask::Causal)?,
                cross_attention: T5CrossAttention::load(&parts.pp(1), config)?,
                feed_forward: T5FeedForward::load(&parts.pp(2), config)?,
            })
        };
        let bias = parameters.pp("block.0.layer.0.SelfAttention.relative_attention_bias");
        Ok(Self {
            bias: RelativePositionBias::load(&bias, config, false)?,
            layers: (0..config.decoder_layers()).map(layer).collect::<Result<_>>()?,
            norm: RmsNorm::load(
                &parameters.pp("final_layer_norm"),
                config.d_model,
                config.layer_norm_epsilon,
            )?,
            dropout: Dropout::new(config.dropout_rate),
        })
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        let layer = |layer: &DecoderLayer| {
            Ok(DecoderLayer {
                self_attention: layer.self_attention.detached()?,
                cross_attention: layer.cross_attention.detached(),
                feed_forward: layer.feed_forward.detached(),
            })
        };
        Ok(Self {
            bias: self.bias.detached(),
            layers: self.layers.iter().map(layer).collect::<Result<_>>()?,
            norm: self.norm.detached(),
            dropout: self.dropout,
        })
    }

    /// What the last layer's attention to the encoder makes its queries from, `[total_tokens, d_model]`, without
    /// dropout.
    pub(super) fn last_query_inputs(
        &self,
        embedded: &Tensor,
        memory: &Tensor,
        (offsets, memory_offsets): (&[usize], &[usize]),
    ) -> Result<Tensor> {
        let bias = self.bias.by_distance(longest(offsets))?;
        let mut hidden = embedded.clone();
        let mut read = embedded.clone();
        for layer in &self.layers {
            hidden = layer.self_attention.forward(&hidden, &bias, offsets, None)?;
            read = layer.cross_attention.query_inputs(&hidden)?;
            hidden = layer.cross_attention.forward(&hidden, memory, (offsets, memory_offsets), None)?;
            hidden = layer.feed_forward.forward(&hidden, None)?;
        }
        Ok(read)
    }

    /// `[total_tokens, d_model]` of embedded tokens to the states that predict the next ones.
    pub(super) fn forward(
        &self,
        embedded: &Tensor,
        memory: &Tensor,
        (offsets, memory_offsets): (&[usize], &[usize]),
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let bias = self.bias.by_distance(longest(offsets))?;
        let mut hidden = self.begin(embedded, generator.as_deref_mut())?;
        for layer in &self.layers {
            let both = (offsets, memory_offsets);
            hidden = layer.forward(&hidden, &bias, memory, both, generator.as_deref_mut())?;
        }
        self.end(&hidden, generator)
    }

    /// What comes before the first layer.
    pub(super) fn begin(
        &self,
        embedded: &Tensor,
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        self.dropout.forward(embedded, generator)
    }

    /// One layer by itself; `offsets` are those of the targets and of the encoder's states.
    pub(super) fn layer(
        &self,
        layer: usize,
        hidden: &Tensor,
        memory: &Tensor,
        offsets: (&[usize], &[usize]),
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let bias = self.bias.by_distance(longest(offsets.0))?;
        self.layers[layer].forward(hidden, &bias, memory, offsets, generator)
    }

    /// What comes after the last layer.
    pub(super) fn end(&self, hidden: &Tensor, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        self.dropout.forward(&self.norm.forward(hidden)?, generator)
    }
}

impl DecoderLayer {
    fn forward(
        &self,
        hidden: &Tensor,
        bias: &Tensor,
        memory: &Tensor,
        (offsets, memory_offsets): (&[usize], &[usize]),
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let hidden = self.self_attention.forward(hidden, bias, offsets, generator.as_deref_mut())?;
        let both = (offsets, memory_offsets);
        let hidden = self.cross_attention.forward(&hidden, memory, both, generator.as_deref_mut())?;
        self.feed_forward.forward(&hidden, generator)
    }
}
