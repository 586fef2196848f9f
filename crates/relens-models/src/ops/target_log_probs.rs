//! The log-probability of one target in every row of logits: what cross-entropy, PRO and PPO are made of.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, refuse, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use super::vector_math::{exp, max, sum};
use crate::Result;

/// Rough cost of one logit, in multiply-adds.
const COST: usize = 12;

/// Exponentials that are summed at once.
const BLOCK: usize = 256;

/// log Σ exp(row)
#[inline(always)]
fn row_log_sum_exp(row: &[f32]) -> f32 {
    let largest = max(row);
    let mut total = 0.0f32;
    // Block by block on the stack: a vocabulary of 150,000 would not fit into the fastest cache.
    let mut exponentials = [0.0f32; BLOCK];
    for block in row.chunks(BLOCK) {
        let exponentials = &mut exponentials[..block.len()];
        for (e, &x) in exponentials.iter_mut().zip(block) {
            *e = exp(x - largest);
        }
        total += sum(exponentials);
    }
    largest + total.ln()
}

vectorized! {
    /// log Σ exp(row), −∞ for an empty row; NaN if the row holds one.
    pub(crate) fn log_sum_exp(row: &[f32]) -> f32 {
        row_log_sum_exp(row)
    }

    fn row_log_probs(logits: &[f32], classes: usize, targets: &[u32], output: &mut [f32]) {
        for ((o, row), &target) in output.iter_mut().zip(logits.chunks_exact(classes)).zip(targets) {
            *o = row[target as usize] - row_log_sum_exp(row);
        }
    }

    /// g·(1[j = target] − p_j), with p_j from the log-probability that the forward pass gave.
    fn row_gradients(logits: &[f32], classes: usize, of: Rows<'_>, gradients: &mut [f32]) {
        let rows = gradients.chunks_exact_mut(classes).zip(logits.chunks_exact(classes));
        for (i, (gradient, row)) in rows.enumerate() {
            let target = of.targets[i] as usize;
            // log p = logit − log Σ, so the normaliser follows from what the forward pass gave.
            let (g, log_normalizer) = (of.upstream[i], row[target] - of.log_probs[i]);
            // Tokens that a loss masks out get no exponentials.
            if g == 0.0 {
                gradient.fill(0.0);
                continue;
            }
            for (d, &x) in gradient.iter_mut().zip(row) {
                *d = -g * exp(x - log_normalizer);
            }
            gradient[target] += g;
        }
    }
}

/// What the backward pass knows about some rows.
#[derive(Clone, Copy)]
struct Rows<'a> {
    targets: &'a [u32],
    log_probs: &'a [f32],
    upstream: &'a [f32],
}

struct TargetLogProbs {
    targets: Arc<[u32]>,
}

impl CustomOp1 for TargetLogProbs {
    fn name(&self) -> &'static str {
        "target-log-probs"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, classes) = layout.shape().dims2()?;
        let logits = elements::<f32>(logits, layout)?;
        let mut output = vec![0.0f32; rows];
        for_row_blocks(&mut output, 1, COST * classes, |first, output| {
            let end = first + output.len();
            row_log_probs(
                &logits[first * classes..end * classes],
                classes,
                &self.targets[first..end],
                output,
            );
        });
        Ok((CpuStorage::F32(output), Shape::from(rows)))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        result: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let (_, classes) = logits.dims2()?;
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(logits), Elements::of(result), Elements::of(&grad_res));
        let (values, log_probs, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let mut gradient = vec![0.0f32; values.len()];
        for_row_blocks(&mut gradient, classes, COST, |first, block| {
            let end = first + block.len() / classes;
            let rows = Rows {
                targets: &self.targets[first..end],
                log_probs: &log_probs[first..end],
                upstream: &upstream[first..end],
            };
            row_gradients(&values[first * classes..end * classes], classes, rows, block);
        });
        Ok(Some(tensor_from(gradient, logits)?))
    }
}

/// `log softmax(logits)[i, targets[i]]` of every row `i`, without the other log-probabilities being kept.
///
/// # Shapes
/// - `logits`: `[rows, classes]`
/// - `targets`: `rows` many
/// - output: `[rows]`
///
/// # Errors
/// When there is another number of targets than of rows, a target is not below `classes`, or `logits` is not
/// two-dimensional f32.
pub fn target_log_probs(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    const NAME: &str = "target_log_probs";
    let &[rows, classes] = logits.dims() else {
        return Err(refuse(NAME, "logits of shape [rows, classes]", format!("{:?}", logits.dims())));
    };
    if targets.len() != rows {
        return Err(refuse(NAME, format!("{rows} targets"), format!("{}", targets.len())));
    }
    if let Some(target) = targets.iter().find(|&&target| target as usize >= classes) {
        return Err(refuse(NAME, format!("targets below {classes}"), format!("target {target}")));
    }
    Ok(contiguous_f32(NAME, logits)?.apply_op1(TargetLogProbs { targets: targets.into() })?)
}
