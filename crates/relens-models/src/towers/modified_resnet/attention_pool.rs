//! The attention at the end of a modified ResNet.

use candle_core::Tensor;

use super::{ModifiedResNetConfig, final_side};
use crate::Result;
use crate::layers::{CrossAttention, Linear};
use crate::parameters::{LinearStorage, Parameters};

/// The mean of all places attends to the places and to itself; positions are learned.
#[derive(Debug, Clone)]
pub(super) struct AttentionPool {
    positions: Tensor,
    attention: CrossAttention,
}

impl AttentionPool {
    pub(super) fn load(parameters: &Parameters, config: &ModifiedResNetConfig, width: usize) -> Result<Self> {
        let places = final_side(config.image_size).pow(2) + 1;
        // The convolutions before it are not rounded either.
        let parameters = &parameters.clone().with_storage(LinearStorage::AsStored);
        let linear = |name: &str, outputs: usize| Linear::load(&parameters.pp(name), width, outputs);
        Ok(Self {
            positions: parameters.tensor("positional_embedding", &[places, width])?,
            attention: CrossAttention::new(
                linear("q_proj", width)?,
                linear("k_proj", width)?,
                linear("v_proj", width)?,
                linear("c_proj", config.outputs)?,
                config.heads,
            )?,
        })
    }

    /// `[images, height, width, channels]` to `[images, outputs]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (images, height, columns, width) = x.dims4()?;
        let places = x.reshape((images, height * columns, width))?;
        let tokens = Tensor::cat(&[&places.mean_keepdim(1)?, &places], 1)?.broadcast_add(&self.positions)?;
        // Only the mean asks: CLIP throws the other outputs of this attention away.
        let means = tokens.narrow(1, 0, 1)?.squeeze(1)?;
        let count = height * columns + 1;
        let offsets: Vec<usize> = (0..=images).map(|image| image * count).collect();
        self.attention.forward(&means, &tokens.reshape((images * count, width))?, &offsets)
    }
}
