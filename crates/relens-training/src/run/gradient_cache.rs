//! Contrastive batches larger than memory: the gradient cache of GradCache (Gao et al. 2021, arXiv 2101.06983).
//!
//! A contrastive loss is not a mean over examples, so accumulating gradients of small batches is not the same as a
//! large batch. But it depends on the encoder through the embeddings alone: embed all chunks without keeping their
//! graphs, differentiate the loss with respect to the embeddings, then embed each chunk again and push the cached
//! gradient through it. Memory is that of one chunk; the price is one more forward pass.

use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::optimizer::{Gradients, NamedParameter};
use crate::{Result, TrainingError};

/// One encoder's share of a batch.
pub struct ChunkedEncoder<'a> {
    /// Number of chunks.
    pub chunks: usize,
    /// Embeds a chunk, `[rows, width]`. Called twice for each chunk, and must give the same result both times:
    /// dropout and the like draw from a stream of the chunk's own.
    pub embed: Box<dyn FnMut(usize) -> Result<Tensor> + 'a>,
}

/// Sums gradients that arrive in parts, by parameter.
struct GradientSum<'a> {
    parameters: &'a [NamedParameter],
    sums: Vec<Option<Tensor>>,
}

impl GradientSum<'_> {
    fn add(&mut self, store: &mut GradStore) -> Result<()> {
        for (parameter, sum) in self.parameters.iter().zip(&mut self.sums) {
            if let Some(gradient) = store.remove(&parameter.var) {
                let gradient = gradient.contiguous()?.detach();
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(())
    }

    fn finish(self, step: u64) -> Result<Gradients> {
        let mut tensors = Vec::with_capacity(self.sums.len());
        for (sum, parameter) in self.sums.into_iter().zip(self.parameters) {
            tensors.push(
                sum.ok_or_else(|| TrainingError::MissingGradient {
                    step,
                    parameter: parameter.name.clone(),
                })?,
            );
        }
        Ok(Gradients::from_tensors(tensors))
    }
}

/// The loss of the whole batch and its gradients, as if it had been computed in one piece.
///
/// `loss` receives one tensor of embeddings per encoder (the chunks in order) and may reach parameters of its own,
/// such as `logit_scale`. An encoder of one chunk is differentiated directly, without the second forward pass.
///
/// # Errors
/// An encoder or `loss` fails, or the loss or a gradient is not finite.
pub fn cached_gradients(
    encoders: &mut [ChunkedEncoder<'_>],
    loss: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    parameters: &[NamedParameter],
    step: u64,
) -> Result<(f32, Gradients)> {
    let mut embeddings = Vec::with_capacity(encoders.len());
    let mut cached = Vec::with_capacity(encoders.len());
    for encoder in encoders.iter_mut() {
        if encoder.chunks == 1 {
            embeddings.push((encoder.embed)(0)?);
            cached.push(None);
            continue;
        }
        let mut chunks = Vec::with_capacity(encoder.chunks);
        for chunk in 0..encoder.chunks {
            // Detached at once, so that the chunk's graph is freed before the next one is built.
            chunks.push((encoder.embed)(chunk)?.detach());
        }
        let rows = chunks.iter().map(|chunk| Ok(chunk.dim(0)?)).collect::<Result<Vec<_>>>()?;
        // A variable of its own, so that the loss below has a gradient with respect to it and nothing before it.
        let whole = Var::from_tensor(&Tensor::cat(&chunks, 0)?)?;
        embeddings.push(whole.as_tensor().clone());
        cached.push(Some((whole, rows)));
    }
    let loss = loss(&embeddings)?;
    let value = loss.to_scalar::<f32>()?;
    if !value.is_finite() {
        return Err(TrainingError::NonFiniteLoss { step, loss: value });
    }
    let mut store = loss.backward()?;
    // The graph of the loss holds the embeddings of all chunks: gone before the first chunk's own graph is built.
    drop((loss, embeddings));
    let mut sum = GradientSum { parameters, sums: vec![None; parameters.len()] };
    sum.add(&mut store)?;
    for (encoder, cached) in encoders.iter_mut().zip(cached) {
        let Some((whole, rows)) = cached else { continue };
        let Some(gradient) = store.remove(&whole) else { continue };
        let mut start = 0;
        for (chunk, rows) in rows.into_iter().enumerate() {
            let gradient = gradient.narrow(0, start, rows)?.contiguous()?.detach();
            // The gradient of Σ embedding · (∂loss/∂embedding) is the chain rule's product, without a way to hand a
            // gradient into the middle of a graph.
            let surrogate = ((encoder.embed)(chunk)? * gradient)?.sum_all()?;
            sum.add(&mut surrogate.backward()?)?;
            start += rows;
        }
    }
    Ok((value, sum.finish(step)?))
}

/// `0..total` in parts of `chunk`; in one part if `chunk` is 0.
pub(crate) fn chunks(total: usize, chunk: usize) -> Vec<Range<usize>> {
    let chunk = if chunk == 0 { total.max(1) } else { chunk };
    (0..total).step_by(chunk).map(|start| start..(start + chunk).min(total)).collect()
}
