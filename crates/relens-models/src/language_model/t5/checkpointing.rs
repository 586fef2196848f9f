//! Gradient checkpointing of encoder and decoder.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::T5Model;
use crate::Result;
use crate::language_model::{CheckpointedPass, PromptTargetBatch, WayBack, missing_gradient};
use crate::layers::DropoutGenerator;

const NAME: &str = "T5Pass::backward";

/// What goes into a layer, and the state that its dropout is drawn from.
struct KeptLayer {
    input: Tensor,
    dropout: Option<DropoutGenerator>,
}

/// What was kept of a stack, from its beginning on.
#[derive(Default)]
struct KeptStack {
    layers: Vec<KeptLayer>,
}

impl KeptStack {
    /// Keeps `input` and returns what `layer` makes of it, without a way back.
    fn keep(
        &mut self,
        input: Tensor,
        dropout: &mut Option<DropoutGenerator>,
        layer: impl FnOnce(&Tensor, Option<&mut DropoutGenerator>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let before = dropout.clone();
        let output = layer(&input, dropout.as_mut())?.detach();
        self.layers.push(KeptLayer { input, dropout: before });
        Ok(output)
    }
}

/// What a pass has kept.
pub(super) struct T5Pass<'a> {
    model: &'a T5Model,
    ids: Vec<u32>,
    prompt_offsets: Vec<usize>,
    target_offsets: Vec<usize>,
    /// The state that the adapter's dropout was drawn from.
    adapter_dropout: Option<DropoutGenerator>,
    /// The encoder's ends: embedded prompts with dropout first, the last norm last.
    encoder: KeptStack,
    decoder: KeptStack,
    memory: Tensor,
    /// What goes into the decoder's last norm.
    last: Var,
    hidden: Tensor,
}

impl<'a> T5Pass<'a> {
    pub(super) fn run(
        model: &'a T5Model,
        batch: &PromptTargetBatch,
        mut dropout: Option<DropoutGenerator>,
    ) -> Result<Self> {
        let adapter_dropout = dropout.clone();
        let _dropping = model.adapter().map(|adapter| adapter.training_dropout(dropout.as_mut()));
        let (prompts, targets) = (&batch.prompts, &batch.targets);
        let ids = [prompts.ids.as_slice(), &model.writer().inputs(targets)].concat();
        let embedded = model.embed(&ids)?.detach();
        let (stack, parts) = (model.encoder(), prompts.ids.len());
        let mut encoder = KeptStack::default();
        let mut state = encoder.keep(embedded.narrow(0, 0, parts)?, &mut dropout, |input, dropout| {
            stack.begin(input, dropout)
        })?;
        for layer in 0..stack.layer_count() {
            state = encoder.keep(state, &mut dropout, |input, dropout| {
                stack.layer(layer, input, &prompts.offsets, dropout)
            })?;
        }
        let memory = encoder.keep(state, &mut dropout, |input, dropout| stack.end(input, dropout))?;
        let (stack, both) = (model.decoder_stack(), (targets.offsets.as_slice(), prompts.offsets.as_slice()));
        let mut decoder = KeptStack::default();
        let written = embedded.narrow(0, parts, targets.ids.len())?;
        let mut state = decoder.keep(written, &mut dropout, |input, dropout| stack.begin(input, dropout))?;
        for layer in 0..stack.layers.len() {
            state = decoder.keep(state, &mut dropout, |input, dropout| {
                stack.layer(layer, input, &memory, both, dropout)
            })?;
        }
        let last = Var::from_tensor(&state)?;
        let hidden = stack.end(last.as_tensor(), dropout.as_mut())?;
        let (prompt_offsets, target_offsets) = (prompts.offsets.clone(), targets.offsets.clone());
        Ok(Self {
            model,
            ids,
            prompt_offsets,
            target_offsets,
            adapter_dropout,
            encoder,
            decoder,
            memory,
            last,
            hidden,
        })
    }

    /// Takes the gradient through the decoder; returns those of the embedded targets and of the encoder's states.
    fn back_through_decoder(&self, back: &mut WayBack<'_>, mut gradient: Tensor) -> Result<(Tensor, Tensor)> {
        let stack = self.model.decoder_stack();
        let both = (self.target_offsets.as_slice(), self.prompt_offsets.as_slice());
        let mut memory = self.memory.zeros_like()?;
        for (layer, kept) in self.decoder.layers.iter().enumerate().skip(1).rev() {
            let mut dropout = kept.dropout.clone();
            let found = back.through([&kept.input, &self.memory], &gradient, |[input, memory]| {
                stack.layer(layer - 1, input, memory, both, dropout.as_mut())
            })?;
            let [of_input, of_memory] = <[Tensor; 2]>::try_from(found).map_err(|_| missing_gradient(NAME))?;
            // Every decoder layer reads the encoder's states, so the gradients of all of them go into the encoder
            // together.
            memory = (memory + of_memory)?;
            gradient = of_input;
        }
        let gradient =
            one(self.decoder.layers.first(), back, &gradient, |input, dropout| stack.begin(input, dropout))?;
        Ok((gradient, memory))
    }

    /// The same for the encoder; returns the gradient of the embedded prompts.
    fn back_through_encoder(&self, back: &mut WayBack<'_>, mut gradient: Tensor) -> Result<Tensor> {
        let (stack, offsets) = (self.model.encoder(), self.prompt_offsets.as_slice());
        let ends = self.encoder.layers.len().saturating_sub(1);
        for (place, kept) in self.encoder.layers.iter().enumerate().rev() {
            gradient = one(Some(kept), back, &gradient, |input, dropout| match place {
                0 => stack.begin(input, dropout),
                place if place == ends => stack.end(input, dropout),
                place => stack.layer(place - 1, input, offsets, dropout),
            })?;
        }
        Ok(gradient)
    }
}

/// Takes the gradient through one layer.
fn one(
    kept: Option<&KeptLayer>,
    back: &mut WayBack<'_>,
    gradient: &Tensor,
    layer: impl FnOnce(&Tensor, Option<&mut DropoutGenerator>) -> Result<Tensor>,
) -> Result<Tensor> {
    let kept = kept.ok_or_else(|| missing_gradient(NAME))?;
    let mut dropout = kept.dropout.clone();
    let found = back.through([&kept.input], gradient, |[input]| layer(input, dropout.as_mut()))?;
    found.into_iter().next().ok_or_else(|| missing_gradient(NAME))
}

impl CheckpointedPass for T5Pass<'_> {
    fn hidden(&self) -> &Tensor {
        &self.hidden
    }

    fn backward(&self, store: &mut GradStore, variables: &[Var]) -> Result<()> {
        let mut generator = self.adapter_dropout.clone();
        let adapter = self.model.adapter();
        let _dropping = adapter.map(|adapter| adapter.training_dropout(generator.as_mut()));
        let gradient = store.remove(&self.last).ok_or_else(|| missing_gradient(NAME))?;
        let mut back = WayBack { store, variables };
        let (of_targets, of_memory) = self.back_through_decoder(&mut back, gradient)?;
        let of_prompts = self.back_through_encoder(&mut back, of_memory)?;
        // Prompts and targets were one look-up, so that the table gets one gradient.
        let gradient = Tensor::cat(&[of_prompts, of_targets], 0)?;
        back.through([], &gradient, |[]| self.model.embed(&self.ids)).map(drop)
    }
}
