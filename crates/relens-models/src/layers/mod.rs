//! Layers built from [`Parameters`](crate::parameters::Parameters): frozen or trainable, always differentiable.
//!
//! A layer holds the tensors that it was given. Where these are variables, gradients reach them; where they are
//! frozen, the fused forms of [`crate::ops`] are used. Dropout happens only where a random generator is passed.

mod attention;
mod embedding;
mod linear;
mod norm;
mod pre_norm_block;

use candle_core::Tensor;
use rand::Rng;

pub use attention::{CrossAttention, SelfAttention};
pub use embedding::{Embedding, PatchEmbedding};
pub use linear::{ConcatenatedLinear, Linear};
pub use norm::{LayerNorm, RmsNorm};
pub use pre_norm_block::{BlockNames, FeedForward, PreNormBlock, PreNormBlockConfig, QueryKeyValueNames};

use crate::Result;
pub use crate::ops::DropoutGenerator;
use crate::ops::{self, DropoutMask};

/// Sets a share of the elements to zero while training.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    probability: f32,
}

impl Dropout {
    /// A layer that drops elements with this probability (0 ≤ probability < 1; the first use refuses any other).
    pub fn new(probability: f32) -> Self {
        Self { probability }
    }

    /// The mask for one use, or none when not training or when nothing is dropped.
    pub fn mask(&self, generator: Option<&mut DropoutGenerator>) -> Option<DropoutMask> {
        let generator = generator.filter(|_| self.probability != 0.0)?;
        Some(DropoutMask { probability: self.probability, seed: generator.next_u64() })
    }

    /// Drops elements of `x` if a generator is given, returns it unchanged otherwise.
    ///
    /// # Shapes
    /// - `x`, output: any
    ///
    /// # Errors
    /// When `x` is not f32, or the probability is not in 0..1.
    pub fn forward(&self, x: &Tensor, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        self.mask(generator).map_or_else(|| Ok(x.clone()), |mask| ops::dropout(x, mask))
    }
}
