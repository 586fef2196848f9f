//! Symmetric InfoNCE between images and texts, with the variants that a small data set needs.

use candle_core::{D, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::cross_entropy::cross_entropy_with_targets;
use super::hard_negatives::{hard_negative_log_weights, max_hinge_triplet};
use super::targets::ContrastiveTargets;
use crate::{Result, TrainingError};

/// How several positives of one image enter its cross-entropy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PositiveReduction {
    /// Mean of the positives' log-probabilities (SupCon's L_out, Khosla et al. 2020): every caption must rank high.
    #[default]
    Mean,
    /// Log of the positives' summed probability (SupCon's L_in, MIL-NCE): any caption may carry the image.
    LogSumExp,
}

/// Settings of [`contrastive`]; the default is CLIP's loss.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ContrastiveObjective {
    /// ε of label smoothing, in `[0, 1)`.
    pub label_smoothing: f64,
    /// How several captions of one image are joined.
    pub positive_reduction: PositiveReduction,
    /// β of the hard-negative weights; 0 weighs all negatives alike.
    pub hard_negative_beta: f64,
    /// Weight of the max-of-hinges triplet term; 0 leaves it out.
    pub triplet_weight: f64,
    /// Margin of the triplet term, in cosine.
    pub triplet_margin: f64,
}

/// The loss and what it is made of.
#[derive(Debug, Clone)]
pub struct ContrastiveLoss {
    /// What to differentiate: `[]`.
    pub loss: Tensor,
    /// Cross-entropy of finding the text given the image: `[]`.
    pub image_to_text: Tensor,
    /// Cross-entropy of finding the image given the text: `[]`.
    pub text_to_image: Tensor,
}

/// Symmetric InfoNCE (Radford et al. 2021, figure 3): `½·(CE(image → text) + CE(text → image))` of the logits
/// `exp(logit_scale)·images·textsᵀ`, against the distributions in `targets`.
///
/// Departures from CLIP, all off by default: several texts per image, smoothed or soft targets, hard-negative
/// weights, a triplet term.
///
/// # Shapes
/// - images: `[images, width]`, L2-normalised
/// - texts: `[texts, width]`, L2-normalised
/// - logit_scale: `[]` or `[1]`
///
/// # Errors
/// The embeddings have two widths, or the targets are for other numbers of images and texts.
pub fn contrastive(
    images: &Tensor,
    texts: &Tensor,
    logit_scale: &Tensor,
    targets: &ContrastiveTargets,
    objective: &ContrastiveObjective,
) -> Result<ContrastiveLoss> {
    let expected = (images.dim(0)?, texts.dim(0)?);
    if targets.positives.dims2()? != expected || images.dim(1)? != texts.dim(1)? {
        return Err(TrainingError::argument(
            "contrastive",
            format!("embeddings of one width, targets of shape {expected:?}"),
            format!("{:?}, {:?}, targets {:?}", images.dims(), texts.dims(), targets.positives.dims()),
        ));
    }
    let similarities = images.matmul(&texts.t()?.contiguous()?)?;
    let logits = similarities.broadcast_mul(&scale(logit_scale)?)?;
    let transposed = logits.t()?.contiguous()?;
    let positives = &targets.positives;
    let smoothed = targets.smoothed(objective.label_smoothing)?;

    let image_logits = weighted(&logits, &similarities, positives, objective.hard_negative_beta)?;
    let text_logits = weighted(
        &transposed,
        &similarities.t()?.contiguous()?,
        &positives.t()?.contiguous()?,
        objective.hard_negative_beta,
    )?;
    let image_to_text = match objective.positive_reduction {
        PositiveReduction::Mean => cross_entropy_with_targets(&image_logits, &smoothed.image_to_text)?,
        PositiveReduction::LogSumExp => summed_positives(&image_logits, positives)?,
    };
    let text_to_image = cross_entropy_with_targets(&text_logits, &smoothed.text_to_image)?;
    let mut loss = ((&image_to_text + &text_to_image)? * 0.5)?;
    if objective.triplet_weight > 0.0 {
        let triplet = max_hinge_triplet(&similarities, positives, objective.triplet_margin)?;
        loss = (loss + (triplet * objective.triplet_weight)?)?;
    }
    Ok(ContrastiveLoss { loss, image_to_text, text_to_image })
}

fn weighted(logits: &Tensor, similarities: &Tensor, positives: &Tensor, beta: f64) -> Result<Tensor> {
    if beta == 0.0 {
        return Ok(logits.clone());
    }
    Ok((logits + hard_negative_log_weights(similarities, positives, beta)?)?)
}

/// Mean over images of `logsumexp(all) − logsumexp(positives)`; images without positives are passed over.
fn summed_positives(logits: &Tensor, positives: &Tensor) -> Result<Tensor> {
    let images = logits.dim(0)? as f64;
    let has_positive = positives.max_keepdim(D::Minus1)?;
    let maximum = logits.detach().max_keepdim(D::Minus1)?;
    let shifted = logits.broadcast_sub(&maximum)?;
    let all = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    // The positives' own maximum keeps the logarithm away from zero when every positive is far below the row's best.
    let own = shifted.detach().add(&positives.affine(1e9, -1e9)?)?.max_keepdim(D::Minus1)?;
    let own = own.mul(&has_positive)?;
    // Masked before and after the exponential: other texts may lie far above, and infinity times zero is NaN.
    let positive = shifted.broadcast_sub(&own)?.mul(positives)?.exp()?.mul(positives)?;
    let positive = positive.sum_keepdim(D::Minus1)?.maximum(1e-30f64)?.log()?.add(&own)?;
    Ok(((all - positive)?.mul(&has_positive)?.sum_all()? / images)?)
}

/// CLIP's starting value, log(1/0.07).
pub const INITIAL_LOGIT_SCALE: f64 = 2.659_260_036_932_778;

/// CLIP's largest value, log(100).
pub const MAX_LOGIT_SCALE: f64 = 4.605_170_185_988_092;

/// The factor on cosine similarities, `exp(logit_scale)`.
///
/// # Shapes
/// - logit_scale: `[]` or `[1]`
/// - output: `[]`
///
/// # Errors
/// The tensor library failed.
pub fn scale(logit_scale: &Tensor) -> Result<Tensor> {
    if logit_scale.elem_count() != 1 {
        return Err(TrainingError::argument(
            "scale",
            "one number",
            format!("shape {:?}", logit_scale.dims()),
        ));
    }
    Ok(logit_scale.reshape(())?.exp()?)
}

/// Puts the parameter back into `[0, max_logit_scale]`; to be called after every optimizer step.
///
/// # Errors
/// The parameter is not one number.
pub fn clamp_logit_scale(logit_scale: &Var, max_logit_scale: f64) -> Result<()> {
    let clamped = logit_scale.as_detached_tensor().clamp(0f64, max_logit_scale)?;
    Ok(logit_scale.set(&clamped)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_parameter_is_clamped_and_keeps_its_gradient() {
        let var = Var::new(7f32, &Device::Cpu).unwrap();
        clamp_logit_scale(&var, MAX_LOGIT_SCALE).unwrap();
        assert!((var.to_scalar::<f32>().unwrap() - 100f32.ln()).abs() < 1e-6);
        let gradient = scale(&var).unwrap().backward().unwrap();
        let gradient = gradient.get(&var).unwrap().to_scalar::<f32>().unwrap();
        assert!((gradient - 100.0).abs() < 1e-3, "d exp(s)/ds = exp(s), found {gradient}");
    }
}
