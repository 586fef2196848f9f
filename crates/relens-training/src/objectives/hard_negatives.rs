//! Terms that look harder at the negatives which are almost right.

use candle_core::{D, Tensor};

use crate::{Result, TrainingError};

/// Added to the logit of the excluded entries of a maximum.
const EXCLUDED: f64 = -1e9;

/// Max-of-hinges triplet loss of VSE++ (Faghri et al. 2018, equation 6), for any number of texts per image.
///
/// For each text: `[margin + max_{i ≠ image(t)} s(i, t) − s(image(t), t)]₊`, averaged over texts; for each image and
/// each of its texts: `[margin + max_{t' not of i} s(i, t') − s(i, t)]₊`, averaged over pairs; the sum of both.
/// Images without a text in the batch take part as negatives only.
///
/// # Shapes
/// - similarities: `[images, texts]`, cosines
/// - positives: `[images, texts]`, 1 where the text belongs to the image
/// - output: `[]`
///
/// # Errors
/// The shapes differ, or there are fewer than two images.
pub fn max_hinge_triplet(similarities: &Tensor, positives: &Tensor, margin: f64) -> Result<Tensor> {
    if similarities.dims() != positives.dims() || similarities.rank() != 2 || similarities.dim(0)? < 2 {
        return Err(TrainingError::argument(
            "max_hinge_triplet",
            "similarities and positives of one shape [images, texts], at least two images",
            format!("{:?} and {:?}", similarities.dims(), positives.dims()),
        ));
    }
    let negatives_only = (similarities + (positives.detach() * EXCLUDED)?)?;
    let pairs = positives.detach().sum_all()?.maximum(1f64)?;
    let hardest_text = hardest(&negatives_only)?;
    let hardest_image = hardest(&negatives_only.t()?.contiguous()?)?.t()?;
    let hinge = |hardest: &Tensor| -> Result<Tensor> {
        let violation = (hardest.broadcast_sub(similarities)? + margin)?.relu()?;
        Ok((violation * positives.detach())?.sum_all()?.div(&pairs)?)
    };
    Ok((hinge(&hardest_text)? + hinge(&hardest_image)?)?)
}

/// Largest entry of each row, `[rows, 1]`, by gathering at the arg max, so that the gradient goes to one entry.
fn hardest(rows: &Tensor) -> Result<Tensor> {
    let position = rows.detach().argmax_keepdim(D::Minus1)?;
    Ok(rows.gather(&position, D::Minus1)?)
}

/// Log-weights that make hard negatives count more in InfoNCE (Robinson et al. 2021, equation 4, with τ⁺ = 0).
///
/// A negative of similarity s has weight `exp(β·s) / mean of exp(β·s) over the row's negatives`, so that the weights
/// of a row average 1; positives keep weight 1. Added to the logits. Constants: no gradient flows through them.
///
/// # Shapes
/// - similarities, positives, output: `[rows, classes]`
///
/// # Errors
/// The shapes differ.
pub fn hard_negative_log_weights(similarities: &Tensor, positives: &Tensor, beta: f64) -> Result<Tensor> {
    let similarities = similarities.detach();
    let positives = positives.detach();
    let negatives = positives.affine(-1.0, 1.0)?;
    let count = negatives.sum_keepdim(D::Minus1)?.maximum(1f64)?;
    let scaled = (&similarities * beta)?;
    let masked = (&scaled + (&positives * EXCLUDED)?)?;
    let maximum = masked.max_keepdim(D::Minus1)?;
    let sum = masked.broadcast_sub(&maximum)?.exp()?.mul(&negatives)?.sum_keepdim(D::Minus1)?;
    let log_mean = (sum.div(&count)?.maximum(1e-30f64)?.log()? + maximum)?;
    Ok(scaled.broadcast_sub(&log_mean)?.mul(&negatives)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn weights_of_a_row_average_one_and_grow_with_similarity() {
        let similarities = Tensor::new(&[[0.9f32, 0.5, -0.2, 0.4]], &Device::Cpu).unwrap();
        let positives = Tensor::new(&[[1f32, 0.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let weights = hard_negative_log_weights(&similarities, &positives, 3.0).unwrap().exp().unwrap();
        let weights = weights.to_vec2::<f32>().unwrap().remove(0);
        assert_eq!(weights[0], 1.0);
        assert!(((weights[1] + weights[2] + weights[3]) / 3.0 - 1.0).abs() < 1e-5, "{weights:?}");
        assert!(weights[1] > weights[3] && weights[3] > weights[2], "{weights:?}");
    }

    #[test]
    fn a_separated_batch_has_no_triplet_loss() {
        let similarities = Tensor::new(&[[0.9f32, 0.1], [0.0, 0.8]], &Device::Cpu).unwrap();
        let positives = Tensor::new(&[[1f32, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        let loss = max_hinge_triplet(&similarities, &positives, 0.2).unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(loss, 0.0);
        let loss = max_hinge_triplet(&similarities, &positives, 0.9).unwrap().to_scalar::<f32>().unwrap();
        // Texts: 0.9 + 0 − 0.9 and 0.9 + 0.1 − 0.8; images: 0.9 + 0.1 − 0.9 and 0.9 + 0 − 0.8.
        assert!((loss - (0.0 + 0.2 + 0.1 + 0.1) / 2.0).abs() < 1e-6, "{loss}");
    }
}
