//! Gradient checkpointing of the decoder.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::block::Angles;
use super::model::LlamaModel;
use crate::Result;
use crate::language_model::{CheckpointedPass, WayBack, missing_gradient};
use crate::layers::DropoutGenerator;
use crate::ops::{self, AttentionConfig};
use crate::tokenizer::TokenBatch;

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
