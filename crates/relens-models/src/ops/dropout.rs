//! Dropout (Srivastava et al., 2014) whose mask is computed, not stored.

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};
use rand_chacha::ChaCha8Rng;

use super::arguments::{Elements, contiguous_f32, elements, refuse, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 6;

/// Where training draws its masks from; its state can be saved with a checkpoint.
pub type DropoutGenerator = ChaCha8Rng;

/// Which elements are set to zero: a pure function of the seed and the element's place.
///
/// The backward pass computes the same mask again, and a run that resumes with the same seeds draws the same masks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutMask {
    /// The chance of an element to be set to zero, at least 0 and below 1.
    pub probability: f32,
    /// Draw a new one for every use.
    pub seed: u64,
}

impl DropoutMask {
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        if (0.0..1.0).contains(&self.probability) {
            return Ok(());
        }
        Err(refuse(operation, "a dropout probability in 0..1", format!("{}", self.probability)))
    }

    /// An independent mask for part `index` of a whole.
    pub(crate) fn fork(self, index: u64) -> Self {
        // SplitMix64: neighbouring indices give unrelated seeds.
        let mut z = self.seed.wrapping_add((index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self { seed: z ^ (z >> 31), ..self }
    }
}

vectorized! {
    /// Drops elements, the first of which is at place `first`, and scales up the rest so that the mean stays.
    pub(crate) fn drop_elements(mask: DropoutMask, first: u32, xs: &mut [f32]) {
        let threshold = (f64::from(mask.probability) * f64::from(u32::MAX)) as u32;
        let keep = 1.0 / (1.0 - mask.probability);
        let (low, high) = (mask.seed as u32, (mask.seed >> 32) as u32);
        for (i, x) in (0u32..).zip(xs) {
            // The 32-bit finaliser of MurmurHash3, with half of the seed before and half between its rounds.
            let mut h = first.wrapping_add(i) ^ low;
            h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
            h = (h ^ (h >> 13)).wrapping_add(high).wrapping_mul(0xC2B2_AE35);
            h ^= h >> 16;
            *x *= if h < threshold { 0.0 } else { keep };
        }
    }
}

struct DropoutOp(DropoutMask);

impl DropoutOp {
    fn masked(&self, input: &[f32]) -> Vec<f32> {
        let mut output = input.to_vec();
        for_row_blocks(&mut output, 1, COST, |first, block| drop_elements(self.0, first as u32, block));
        output
    }
}

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.masked(elements(storage, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad_res = grad_res.contiguous()?;
        let upstream = Elements::of(&grad_res);
        Ok(Some(tensor_from(self.masked(upstream.get()?), arg)?))
    }
}

/// Sets elements to zero by the mask, and divides the others by 1 − probability.
///
/// # Shapes
/// - `x`, output: any
///
/// # Errors
/// When `x` is not f32, or the probability is not in 0..1.
pub fn dropout(x: &Tensor, mask: DropoutMask) -> Result<Tensor> {
    const NAME: &str = "dropout";
    mask.check(NAME)?;
    Ok(contiguous_f32(NAME, x)?.apply_op1(DropoutOp(mask))?)
}
