//! The network.

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

use super::BertT5Config;
use crate::Result;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::t5::{Memory, T5Decoder, Writer};
use crate::language_model::{CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch, check_prompts};
use crate::layers::{Dropout, DropoutGenerator, Linear, RmsNorm};
use crate::parameters::Parameters;
use crate::tokenizer::TokenBatch;
use crate::towers::bert::BertModel;

/// What the memory is made of: the last state, the word, the word before.
const PARTS: usize = 3;

/// A BERT that reads and a T5 that writes.
#[derive(Debug, Clone)]
pub struct BertT5Model {
    config: BertT5Config,
    encoder: BertModel,
    memory: Linear,
    memory_norm: RmsNorm,
    writer: Writer,
    dropout: Dropout,
    trainable: bool,
}

impl BertT5Model {
    /// Takes `encoder.*` under the names of a BERT; `memory` and `memory_norm`; `shared`, `decoder.*` and `lm_head` under
    /// those of a T5; and `copying.*`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, config: &BertT5Config) -> Result<Self> {
        let (read, width) = (config.encoder.hidden_size, config.decoder.d_model);
        Ok(Self {
            config: config.clone(),
            encoder: BertModel::load(&parameters.pp("encoder"), &config.encoder)?,
            memory: Linear::load_without_bias(&parameters.pp("memory"), PARTS * read, width)?,
            memory_norm: RmsNorm::load(
                &parameters.pp("memory_norm"),
                width,
                config.decoder.layer_norm_epsilon,
            )?,
            writer: Writer::load(parameters, &config.decoder, true)?,
            dropout: Dropout::new(config.decoder.dropout_rate),
            trainable: parameters.hands_out_variables(),
        })
    }

    /// Reads a frozen model from a directory: `config.json` and weights.
    ///
    /// # Errors
    /// When a file is missing or malformed, or they do not fit each other.
    pub fn open(directory: &Path) -> Result<Self> {
        let config = BertT5Config::open(directory.join("config.json"))?;
        Self::load(&Parameters::frozen(open_weights(directory)?), &config)
    }

    /// The sizes.
    pub fn config(&self) -> &BertT5Config {
        &self.config
    }

    /// What the decoder attends to, and what it copies.
    fn read(&self, prompts: &TokenBatch, mut generator: Option<&mut DropoutGenerator>) -> Result<Memory> {
        let last = match generator.as_deref_mut() {
            Some(generator) => self.encoder.forward_training(prompts, generator)?,
            None => self.encoder.forward(prompts)?,
        };
        let words = self.encoder.word_embeddings(&prompts.ids)?;
        let (before, has_one) = words_before(prompts);
        let before = scaled(&self.encoder.word_embeddings(&before)?, has_one)?;
        let memory = self.memory.forward(&Tensor::cat(&[last, words, before], 1)?)?;
        let states = self.dropout.forward(&self.memory_norm.forward(&memory)?, generator)?;
        Ok(Memory { states, written: Some(self.writable(&prompts.ids)?) })
    }

    /// The embeddings in the decoder's table, zero for what it has none for and for what would start or end a text.
    fn writable(&self, ids: &[u32]) -> Result<Tensor> {
        let decoder = &self.config.decoder;
        let silent = |id: u32| {
            id as usize >= decoder.vocab_size
                || id == decoder.decoder_start()
                || decoder.eos_token_id.as_slice().contains(&id)
        };
        let mask: Vec<f32> = ids.iter().map(|&id| if silent(id) { 0.0 } else { 1.0 }).collect();
        let known: Vec<u32> =
            ids.iter().map(|&id| if silent(id) { decoder.decoder_start() } else { id }).collect();
        scaled(&self.writer.embed(&known)?, mask)
    }
}

/// For every token the one before it in its text; and 0 for the first ones, which have none, 1 for the others.
fn words_before(prompts: &TokenBatch) -> (Vec<u32>, Vec<f32>) {
    let mut before = Vec::with_capacity(prompts.ids.len());
    let mut has_one = vec![1.0; prompts.ids.len()];
    for text in (0..prompts.len()).filter_map(|i| prompts.sequence(i)) {
        if let (Some(mask), Some((_, others))) = (has_one.get_mut(before.len()), text.split_last()) {
            *mask = 0.0;
            before.extend(text.first());
            before.extend_from_slice(others);
        }
    }
    (before, has_one)
}

/// Rows times a number each.
fn scaled(rows: &Tensor, factors: Vec<f32>) -> Result<Tensor> {
    let count = factors.len();
    Ok(rows.broadcast_mul(&Tensor::from_vec(factors, (count, 1), &Device::Cpu)?)?)
}

/// A pass that keeps everything: the decoder is small, and what a frozen encoder does is not kept anyway.
struct WholePass {
    hidden: Tensor,
}

impl CheckpointedPass for WholePass {
    fn hidden(&self) -> &Tensor {
        &self.hidden
    }

    fn backward(&self, _store: &mut GradStore, _variables: &[Var]) -> Result<()> {
        Ok(())
    }
}

impl LanguageModel for BertT5Model {
    fn width(&self) -> usize {
        self.config.decoder.d_model
    }

    fn vocabulary_size(&self) -> usize {
        self.config.decoder.vocab_size
    }

    fn context_length(&self) -> usize {
        self.config.context_length()
    }

    fn most_target_tokens(&self, _prompt_length: usize) -> usize {
        self.config.decoder.n_positions
    }

    fn end_of_sequence(&self) -> &[u32] {
        self.config.decoder.eos_token_id.as_slice()
    }

    fn target_hidden(
        &self,
        batch: &PromptTargetBatch,
        mut dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (prompts, targets) = (&batch.prompts, &batch.targets);
        let memory = self.read(prompts, dropout.as_deref_mut())?;
        let written = self.writer.embed(&self.writer.inputs(targets))?;
        self.writer.hidden(&written, &memory, (&targets.offsets, &prompts.offsets), dropout)
    }

    fn checkpointed_target_hidden<'a>(
        &'a self,
        batch: &PromptTargetBatch,
        mut dropout: Option<DropoutGenerator>,
    ) -> Result<Box<dyn CheckpointedPass + 'a>> {
        Ok(Box::new(WholePass { hidden: self.target_hidden(batch, dropout.as_mut())? }))
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.writer.logits(hidden)
    }

    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>> {
        check_prompts(prompts, self.context_length())?;
        let Memory { states, written } = self.read(prompts, None)?;
        let memory = Memory { states: states.detach(), written: written.map(|written| written.detach()) };
        Ok(Box::new(T5Decoder::new(&self.writer, self.trainable, &memory, prompts)?))
    }
}
