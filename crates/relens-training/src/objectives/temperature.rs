//! The learned temperature of contrastive learning.
//!
//! CLIP (Radford et al. 2021, section 2.5) learns `logit_scale = log(1/τ)`, starts at log(1/0.07) and keeps
//! `exp(logit_scale)` below 100. As in `open_clip`, the *parameter* is clamped after each step, not the value
//! inside the loss: a clamp inside the loss has gradient zero above the limit, and the parameter would stay there.

use candle_core::{Tensor, Var};

use crate::{Result, TrainingError};

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
/// The parameter is not one number.
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
/// The tensor library failed.
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
