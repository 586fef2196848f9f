//! Cross-entropy of logits against a given distribution per row, fused: one pass forward, one backward.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};
use rayon::prelude::*;

use crate::{Result, TrainingError};

/// Mean over rows of `−Σ_j targets[i, j] · log softmax(logits)[i, j]`.
///
/// The targets are constants: no gradient flows to them. A row of zeros adds nothing to the loss and gets no
/// gradient (it still counts in the mean). Masked classes have logit `−∞`, and must have target 0.
///
/// # Shapes
/// - logits: `[rows, classes]`, f32
/// - targets: `[rows, classes]`, f32, every row summing to 1 (or to 0)
/// - output: `[]`
///
/// # Errors
/// The shapes differ.
pub fn cross_entropy_with_targets(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    if logits.rank() != 2 || logits.dims() != targets.dims() || logits.elem_count() == 0 {
        return Err(TrainingError::argument(
            "cross_entropy_with_targets",
            "logits and targets of one shape [rows, classes], not empty",
            format!("{:?} and {:?}", logits.dims(), targets.dims()),
        ));
    }
    let rows = logits.dim(0)?;
    let per_row = logits.contiguous()?.apply_op2(&targets.detach().contiguous()?, TargetCrossEntropy)?;
    Ok((per_row.sum_all()? / rows as f64)?)
}

/// The operation behind [`cross_entropy_with_targets`]: `[rows, classes]` × 2 → `[rows]`.
struct TargetCrossEntropy;

impl CustomOp2 for TargetCrossEntropy {
    fn name(&self) -> &'static str {
        "target-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (rows, classes) = logits_layout.shape().dims2()?;
        let logits = contiguous(logits, logits_layout)?;
        let targets = contiguous(targets, targets_layout)?;
        let losses: Vec<f32> = logits
            .par_chunks(classes)
            .zip(targets.par_chunks(classes))
            .map(|(logits, targets)| row_loss(logits, targets))
            .collect();
        Ok((CpuStorage::F32(losses), Shape::from(rows)))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let operation = TargetCrossEntropyBackward { row_gradients: gradient.to_vec1()? };
        let gradient = logits.contiguous()?.apply_op2_no_bwd(&targets.contiguous()?, &operation)?;
        Ok((Some(gradient), None))
    }
}

/// Gradient of the row losses with respect to the logits: `g_i · (Σ_j t_ij · softmax_i − t_i)`.
struct TargetCrossEntropyBackward {
    row_gradients: Vec<f32>,
}

impl CustomOp2 for TargetCrossEntropyBackward {
    fn name(&self) -> &'static str {
        "target-cross-entropy-backward"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        targets: &CpuStorage,
        targets_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, classes) = logits_layout.shape().dims2()?;
        let logits = contiguous(logits, logits_layout)?;
        let targets = contiguous(targets, targets_layout)?;
        let mut output = vec![0f32; logits.len()];
        output
            .par_chunks_mut(classes)
            .zip(logits.par_chunks(classes))
            .zip(targets.par_chunks(classes))
            .zip(self.row_gradients.par_iter())
            .for_each(|(((output, logits), targets), &gradient)| {
                row_gradient(output, logits, targets, gradient);
            });
        Ok((CpuStorage::F32(output), logits_layout.shape().clone()))
    }
}

fn row_loss(logits: &[f32], targets: &[f32]) -> f32 {
    let log_normalizer = log_sum_exp(logits);
    let mut loss = 0f64;
    for (&logit, &target) in logits.iter().zip(targets) {
        if target != 0.0 {
            loss += f64::from(target) * (log_normalizer - f64::from(logit));
        }
    }
    loss as f32
}

fn row_gradient(output: &mut [f32], logits: &[f32], targets: &[f32], gradient: f32) {
    let log_normalizer = log_sum_exp(logits) as f32;
    let mass: f32 = targets.iter().sum();
    for ((output, &logit), &target) in output.iter_mut().zip(logits).zip(targets) {
        *output = gradient * (mass * (logit - log_normalizer).exp() - target);
    }
}

/// `log Σ exp(row)`, with the maximum taken out first so that no exponential overflows.
fn log_sum_exp(row: &[f32]) -> f64 {
    let maximum = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if maximum == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let mut sum = 0f64;
    for &value in row {
        sum += f64::from((value - maximum).exp());
    }
    f64::from(maximum) + sum.ln()
}

/// The elements of a contiguous f32 tensor.
fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => candle_core::bail!("target-cross-entropy takes contiguous tensors"),
    }
}
