//! A decoder as the rest of the library sees it: opened with its tokenizer, and a language model whose prompt and
//! target are one sequence; with gradient checkpointing.

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde_json::Value;

use super::block::Angles;
use super::config::LlamaConfig;
use super::config_file::token_ids;
use super::incremental::LlamaDecoder;
use super::model::LlamaModel;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::gguf::Gguf;
use crate::language_model::{
    CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch, WayBack, check_prompts, missing_gradient,
};
use crate::layers::DropoutGenerator;
use crate::ops::AttentionConfig;
use crate::parameters::{LinearStorage, Parameters};
use crate::tokenizer::{TokenBatch, Tokenizer};
use crate::{ModelError, Result, ops};

/// The longest texts that a tokenizer is asked for.
const LONGEST_TEXT: usize = 1 << 17;

impl LlamaModel {
    /// Opens a Hugging Face directory, or a `.gguf` file, for inference: the frozen decoder and its tokenizer. A
    /// `tokenizer.json` beside a GGUF file goes before the tokenizer inside.
    ///
    /// # Errors
    /// When a file is missing, malformed or truncated, a tensor does not fit, or the model is of another family.
    pub fn open(path: impl AsRef<Path>, storage: LinearStorage) -> Result<(Self, Tokenizer)> {
        let path = path.as_ref();
        if path.is_dir() {
            let config = Self::directory_config(path)?;
            let parameters = Parameters::frozen(open_weights(path)?).with_storage(storage);
            let tokenizer = Tokenizer::open(path, config.context_length.min(LONGEST_TEXT))?;
            return Ok((Self::load(&parameters, &config)?, tokenizer));
        }
        let gguf = Gguf::open(path)?;
        let config = gguf.config()?;
        let parameters = Parameters::frozen(gguf.weights().clone()).with_storage(storage);
        let context_length = config.context_length.min(LONGEST_TEXT);
        let beside = path.with_file_name("tokenizer.json");
        let tokenizer = match beside.is_file() {
            true => Tokenizer::open(beside, context_length)?,
            false => gguf.tokenizer(context_length)?,
        };
        Ok((Self::load(&parameters, &config)?, tokenizer))
    }

    /// The configuration of a directory; the tokens that end an answer are those of `generation_config.json`, if it
    /// names any.
    ///
    /// # Errors
    /// When a file is missing, malformed, or of another family.
    pub fn directory_config(directory: &Path) -> Result<LlamaConfig> {
        let mut config = LlamaConfig::open(directory.join("config.json"))?;
        let path = directory.join("generation_config.json");
        if path.is_file() {
            let refuse = |reason: String| ModelError::Config { path: path.clone(), reason };
            let generation: Value = serde_json::from_str(&fs_err::read_to_string(&path)?)
                .map_err(|error| refuse(error.to_string()))?;
            let ids = token_ids("eos_token_id", generation.get("eos_token_id")).map_err(refuse)?;
            if !ids.is_empty() {
                config.end_of_sequence = ids;
                config.check().map_err(refuse)?;
            }
        }
        Ok(config)
    }
}

impl LanguageModel for LlamaModel {
    fn width(&self) -> usize {
        self.config().width
    }

    fn vocabulary_size(&self) -> usize {
        self.config().vocabulary_size
    }

    fn context_length(&self) -> usize {
        self.config().context_length
    }

    fn most_target_tokens(&self, prompt_length: usize) -> usize {
        self.config().context_length.saturating_sub(prompt_length)
    }

    fn end_of_sequence(&self) -> &[u32] {
        &self.config().end_of_sequence
    }

    /// The family itself has no dropout; a generator drives that of an adapter.
    fn target_hidden(
        &self,
        batch: &PromptTargetBatch,
        dropout: Option<&mut DropoutGenerator>,
    ) -> Result<Tensor> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (sequences, predicting) = as_sequences(batch);
        let _dropping = self.adapter().map(|adapter| adapter.training_dropout(dropout));
        ops::embedding(&self.hidden(&sequences)?, &predicting)
    }

    fn checkpointed_target_hidden<'a>(
        &'a self,
        batch: &PromptTargetBatch,
        dropout: Option<DropoutGenerator>,
    ) -> Result<Box<dyn CheckpointedPass + 'a>> {
        batch.check(self.context_length(), |prompt| self.most_target_tokens(prompt))?;
        let (sequences, predicting) = as_sequences(batch);
        Ok(Box::new(LlamaPass::run(self, sequences, &predicting, dropout)?))
    }

    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        self.scores(hidden)
    }

    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> Result<Box<dyn Decoder + 'a>> {
        check_prompts(prompts, self.context_length())?;
        Ok(Box::new(LlamaDecoder::new(self, prompts)?))
    }
}

/// Prompt and target as one sequence, and the rows of the tokens that predict the targets.
fn as_sequences(batch: &PromptTargetBatch) -> (TokenBatch, Vec<u32>) {
    let mut sequences = TokenBatch::empty();
    let mut predicting = Vec::with_capacity(batch.targets.ids.len());
    for sample in 0..batch.len() {
        let prompt = batch.prompts.sequence(sample).unwrap_or_default();
        let target = batch.targets.sequence(sample).unwrap_or_default();
        // The last token of the prompt predicts the first of the target, and so on.
        let first = (sequences.ids.len() + prompt.len()).saturating_sub(1) as u32;
        predicting.extend(first..first + target.len() as u32);
        // Nothing follows the last token of a target.
        let fed = target.split_last().map_or(&[][..], |(_, before)| before);
        sequences.push(&[prompt, fed].concat());
    }
    (sequences, predicting)
}

const NAME: &str = "LlamaPass::backward";

/// What a pass has kept.
pub(super) struct LlamaPass<'a> {
    model: &'a LlamaModel,
    sequences: TokenBatch,
    angles: Angles,
    bias: Option<Tensor>,
    /// What went into each block.
    inputs: Vec<Tensor>,
    /// What came out of the last one.
    last: Var,
    hidden: Tensor,
    /// The state that the adapter's dropout was drawn from.
    dropout: Option<DropoutGenerator>,
}

impl<'a> LlamaPass<'a> {
    /// Runs over whole sequences; `predicting` are the rows of tokens whose states are wanted.
    pub(super) fn run(
        model: &'a LlamaModel,
        sequences: TokenBatch,
        predicting: &[u32],
        mut dropout: Option<DropoutGenerator>,
    ) -> Result<Self> {
        // The state before the pass: on the way back the same masks have to be drawn again.
        let before = dropout.clone();
        let _dropping = model.adapter().map(|adapter| adapter.training_dropout(dropout.as_mut()));
        let positions = model.positions(&sequences.offsets, |_| 0)?;
        let angles = model.angles_of(&positions)?;
        let bias = model.distance_bias(sequences.lengths().max().unwrap_or(0))?;
        let mut inputs = Vec::with_capacity(model.blocks.len());
        let mut hidden = model.embedding.forward(&sequences.ids)?.detach();
        for block in &model.blocks {
            // Detached at once, so that nothing inside the block outlives it.
            let output = block.forward(&hidden, &angles, mixing(bias.as_ref(), &sequences.offsets))?.detach();
            inputs.push(std::mem::replace(&mut hidden, output));
        }
        let last = Var::from_tensor(&hidden)?;
        let hidden = ops::embedding(&model.norm.forward(last.as_tensor())?, predicting)?;
        Ok(Self { model, sequences, angles, bias, inputs, last, hidden, dropout: before })
    }
}

/// The attention within every sequence.
fn mixing<'a>(
    bias: Option<&'a Tensor>,
    offsets: &'a [usize],
) -> impl FnOnce(&Tensor, &AttentionConfig) -> Result<Tensor> + 'a {
    move |projected, config| match bias {
        None => ops::attention(projected, offsets, config),
        Some(bias) => ops::attention_with_bias(projected, bias, offsets, config),
    }
}

impl CheckpointedPass for LlamaPass<'_> {
    fn hidden(&self) -> &Tensor {
        &self.hidden
    }

    fn backward(&self, store: &mut GradStore, variables: &[Var]) -> Result<()> {
        let mut generator = self.dropout.clone();
        let adapter = self.model.adapter();
        let _dropping = adapter.map(|adapter| adapter.training_dropout(generator.as_mut()));
        let mut gradient = store.remove(&self.last).ok_or_else(|| missing_gradient(NAME))?;
        let mut back = WayBack { store, variables };
        for (block, input) in self.model.blocks.iter().zip(&self.inputs).rev() {
            let mix = mixing(self.bias.as_ref(), &self.sequences.offsets);
            let found =
                back.through([input], &gradient, |[input]| block.forward(input, &self.angles, mix))?;
            gradient = found.into_iter().next().ok_or_else(|| missing_gradient(NAME))?;
        }
        back.through([], &gradient, |[]| self.model.embedding.forward(&self.sequences.ids)).map(drop)
    }
}
