//! The encoder: embeddings, then layers of attention and feed-forward, each normalised after its residual.

use candle_core::Tensor;

use super::BertConfig;
use crate::layers::{
    ConcatenatedLinear, Dropout, DropoutGenerator, Embedding, LayerNorm, Linear, SelfAttention,
};
use crate::ops::{Activation, AttentionConfig, AttentionMask};
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// A BERT encoder without pooler: token ids in, hidden states out.
#[derive(Debug, Clone)]
pub struct BertModel {
    embeddings: BertEmbeddings,
    layers: Vec<BertLayer>,
}

impl BertModel {
    /// Takes `embeddings.*` and `encoder.layer.N.*`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite, or `hidden_act` is unknown.
    pub fn load(parameters: &Parameters, config: &BertConfig) -> Result<Self> {
        let encoder = parameters.pp("encoder.layer");
        Ok(Self {
            embeddings: BertEmbeddings::load(&parameters.pp("embeddings"), config)?,
            layers: (0..config.num_hidden_layers)
                .map(|i| BertLayer::load(&encoder.pp(i), config))
                .collect::<Result<_>>()?,
        })
    }

    /// Which tensors to train to fine-tune the last `layers` layers, and with `embeddings` the tables too.
    ///
    /// Names may carry any prefix before `encoder.layer.` and `embeddings.`.
    pub fn selects_last_layers(
        config: &BertConfig,
        layers: usize,
        embeddings: bool,
    ) -> impl Fn(&str) -> bool + Send + Sync + 'static {
        let first = config.num_hidden_layers.saturating_sub(layers);
        move |name| match name.split_once("encoder.layer.") {
            Some((_, rest)) => {
                let layer = rest.split('.').next().and_then(|number| number.parse::<usize>().ok());
                layer.is_some_and(|layer| layer >= first)
            }
            None => embeddings && name.contains("embeddings."),
        }
    }

    /// The last hidden states of all tokens, without dropout.
    ///
    /// # Shapes
    /// - output: `[total_tokens, hidden_size]`
    ///
    /// # Errors
    /// When a sequence is longer than the position table, or an id is outside of the vocabulary.
    pub fn forward(&self, batch: &TokenBatch) -> Result<Tensor> {
        self.encode(batch, None)
    }

    /// As [`BertModel::forward`], with the configuration's dropout drawn from the generator.
    ///
    /// # Errors
    /// As [`BertModel::forward`].
    pub fn forward_training(&self, batch: &TokenBatch, generator: &mut DropoutGenerator) -> Result<Tensor> {
        self.encode(batch, Some(generator))
    }

    /// What the words table has for the ids, without positions.
    ///
    /// # Shapes
    /// - output: `[ids, hidden_size]`
    ///
    /// # Errors
    /// When an id is outside of the vocabulary.
    pub fn word_embeddings(&self, ids: &[u32]) -> Result<Tensor> {
        self.embeddings.words.forward(ids)
    }

    fn encode(&self, batch: &TokenBatch, mut generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        let mut hidden = self.embeddings.forward(batch, generator.as_deref_mut())?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden, &batch.offsets, generator.as_deref_mut())?;
        }
        Ok(hidden)
    }
}

#[derive(Debug, Clone)]
struct BertEmbeddings {
    words: Embedding,
    positions: Embedding,
    segments: Embedding,
    norm: LayerNorm,
    dropout: Dropout,
}

impl BertEmbeddings {
    fn load(parameters: &Parameters, config: &BertConfig) -> Result<Self> {
        let width = config.hidden_size;
        let table = |name: &str, rows| Embedding::load(&parameters.pp(name), rows, width);
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            segments: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::load(&parameters.pp("LayerNorm"), width, config.layer_norm_eps)?,
            dropout: Dropout::new(config.hidden_dropout_prob),
        })
    }

    fn forward(&self, batch: &TokenBatch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        let mut positions = Vec::with_capacity(batch.ids.len());
        for pair in batch.offsets.windows(2) {
            let length = pair[1].saturating_sub(pair[0]);
            if length > self.positions.rows() {
                return Err(ModelError::Argument {
                    operation: "BertModel",
                    expected: format!("at most {} tokens per text", self.positions.rows()),
                    found: format!("{length} tokens"),
                });
            }
            positions.extend(0..length as u32);
        }
        let words = self.words.forward(&batch.ids)?;
        let placed = (words + self.positions.forward(&positions)?)?;
        // There is only one sentence, so every token is of segment 0; its vector was trained and has to be added.
        let segments = self.segments.forward(&vec![0; batch.ids.len()])?;
        self.dropout.forward(&self.norm.forward_residual(&placed, &segments)?, generator)
    }
}

#[derive(Debug, Clone)]
struct BertLayer {
    attention: SelfAttention,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    dropout: Dropout,
}

impl BertLayer {
    fn load(parameters: &Parameters, config: &BertConfig) -> Result<Self> {
        let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = parameters.pp("attention");
        let projections = ["query", "key", "value"]
            .map(|name| Linear::load(&attention.pp("self").pp(name), width, width))
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let activation = config.activation().map_err(|reason| ModelError::Config {
            path: parameters.weights().path().with_file_name("config.json"),
            reason,
        })?;
        Ok(Self {
            attention: SelfAttention::new(
                ConcatenatedLinear::new(projections)?,
                Linear::load(&attention.pp("output.dense"), width, width)?,
                AttentionConfig::new(config.num_attention_heads, AttentionMask::None),
                Dropout::new(config.attention_probs_dropout_prob),
            ),
            attention_norm: LayerNorm::load(&attention.pp("output.LayerNorm"), width, eps)?,
            intermediate: Linear::load(&parameters.pp("intermediate.dense"), width, inner)?,
            output: Linear::load(&parameters.pp("output.dense"), inner, width)?,
            output_norm: LayerNorm::load(&parameters.pp("output.LayerNorm"), width, eps)?,
            activation,
            dropout: Dropout::new(config.hidden_dropout_prob),
        })
    }

    fn forward(
        &self,
        hidden: &Tensor,
        offsets: &[usize],
        mut generator: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        let attended = self.attention.forward(hidden, offsets, generator.as_deref_mut())?;
        let attended = self.dropout.forward(&attended, generator.as_deref_mut())?;
        let hidden = self.attention_norm.forward_residual(&attended, hidden)?;
        let expanded = self.intermediate.forward_activated(&hidden, self.activation)?;
        let output = self.dropout.forward(&self.output.forward(&expanded)?, generator)?;
        self.output_norm.forward_residual(&output, &hidden)
    }
}
