//! The encoder: layers of self-attention and feed-forward over the prompt.

use candle_core::Tensor;

use super::T5Config;
use super::attention::{RelativePositionBias, T5SelfAttention};
use super::feed_forward::T5FeedForward;
use crate::Result;
use crate::layers::{Dropout, DropoutGenerator, RmsNorm};
use crate::ops::AttentionMask;
use crate::parameters::Parameters;

/// What encoder and decoder are built of: layers with one bias for all of them, dropout before, a norm after.
#[derive(Debug, Clone)]
pub(super) struct T5Stack<L> {
    pub(super) bias: RelativePositionBias,
    pub(super) layers: Vec<L>,
    pub(super) norm: RmsNorm,
    dropout: Dropout,
}

impl<L> T5Stack<L> {
    /// Takes `final_layer_norm` and the first layer's table of biases; `layer` gets `block.N.layer` of so many layers.
    pub(super) fn load_layers(
        parameters: &Parameters,
        config: &T5Config,
        bidirectional: bool,
        layers: usize,
        layer: impl Fn(&Parameters) -> Result<L>,
    ) -> Result<Self> {
        let bias = parameters.pp("block.0.layer.0.SelfAttention.relative_attention_bias");
        let norm = parameters.pp("final_layer_norm");
        Ok(Self {
            bias: RelativePositionBias::load(&bias, config, bidirectional)?,
            layers: (0..layers)
                .map(|number| layer(&parameters.pp("block").pp(number).pp("layer")))
                .collect::<Result<_>>()?,
            norm: RmsNorm::load(&norm, config.d_model, config.layer_norm_epsilon)?,
            dropout: Dropout::new(config.dropout_rate),
        })
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached_layers(&self, layer: impl Fn(&L) -> Result<L>) -> Result<Self> {
        Ok(Self {
            bias: self.bias.detached(),
            layers: self.layers.iter().map(layer).collect::<Result<_>>()?,
            norm: self.norm.detached(),
            dropout: self.dropout,
        })
    }

    /// What comes before the first layer.
    pub(super) fn begin(
        &self,
        embedded: &Tensor,
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        self.dropout.forward(embedded, generator)
    }

    /// What comes after the last layer.
    pub(super) fn end(&self, hidden: &Tensor, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        self.dropout.forward(&self.norm.forward(hidden)?, generator)
    }
}

/// The encoder.
pub(super) type EncoderStack = T5Stack<EncoderLayer>;

#[derive(Debug, Clone)]
pub(super) struct EncoderLayer {
    attention: T5SelfAttention,
    feed_forward: T5FeedForward,
}

impl EncoderStack {
    /// Takes `block.N.layer.*` and `final_layer_norm`.
    pub(super) fn load(parameters: &Parameters, config: &T5Config) -> Result<Self> {
        Self::load_layers(parameters, config, true, config.num_layers, |parts| {
            Ok(EncoderLayer {
                attention: T5SelfAttention::load(&parts.pp(0), config, AttentionMask::None)?,
                feed_forward: T5FeedForward::load(&parts.pp(1), config)?,
            })
        })
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Result<Self> {
        self.detached_layers(|layer| {
            let feed_forward = layer.feed_forward.detached();
            Ok(EncoderLayer { attention: layer.attention.detached()?, feed_forward })
        })
    }

    /// `[total_tokens, d_model]` of embedded tokens to what the decoder attends to.
    pub(super) fn forward(
        &self,
        embedded: &Tensor,
        offsets: &[usize],
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let bias = self.bias.by_distance(longest(offsets))?;
        let mut hidden = self.begin(embedded, generator.as_deref_mut())?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &bias, offsets, generator.as_deref_mut())?;
        }
        self.end(&hidden, generator)
    }

    /// The number of layers.
    pub(super) fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// One layer by itself.
    pub(super) fn layer(
        &self,
        layer: usize,
        hidden: &Tensor,
        offsets: &[usize],
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        self.layers[layer].forward(hidden, &self.bias.by_distance(longest(offsets))?, offsets, generator)
    }
}

impl EncoderLayer {
    fn forward(
        &self,
        hidden: &Tensor,
        bias: &Tensor,
        offsets: &[usize],
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let hidden = self.attention.forward(hidden, bias, offsets, generator.as_deref_mut())?;
        self.feed_forward.forward(&hidden, generator)
    }
}

/// The longest sequence of a packed batch.
pub(super) fn longest(offsets: &[usize]) -> usize {
    offsets.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0)
}
