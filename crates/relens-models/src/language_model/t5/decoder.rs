//! The decoder: layers of causal self-attention, attention to the encoder's states, and feed-forward.

use candle_core::Tensor;

use super::T5Config;
use super::attention::{T5CrossAttention, T5SelfAttention};
use super::encoder::{T5Stack, longest};
use super::feed_forward::T5FeedForward;
use crate::Result;
use crate::layers::DropoutGenerator;
use crate::ops::AttentionMask;
use crate::parameters::Parameters;

/// The decoder.
pub(super) type DecoderStack = T5Stack<DecoderLayer>;

#[derive(Debug, Clone)]
pub(super) struct DecoderLayer {
    pub(super) self_attention: T5SelfAttention,
    pub(super) cross_attention: T5CrossAttention,
    pub(super) feed_forward: T5FeedForward,
}

impl DecoderStack {
    /// Takes `block.N.layer.*` and `final_layer_norm`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        Self::load_layers(parameters, config, false, config.decoder_layers(), |parts| {
            Ok(DecoderLayer {
                self_attention: T5SelfAttention::load(&parts.pp(0), config, AttentionMask::Causal)?,
                cross_attention: T5CrossAttention::load(&parts.pp(1), config)?,
                feed_forward: T5FeedForward::load(&parts.pp(2), config)?,
            })
        })
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        self.detached_layers(|layer| {
            Ok(DecoderLayer {
                self_attention: layer.self_attention.detached()?,
                cross_attention: layer.cross_attention.detached(),
                feed_forward: layer.feed_forward.detached(),
            })
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
