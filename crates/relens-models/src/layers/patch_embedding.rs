//! A picture cut into square patches, each mapped to a vector (Dosovitskiy et al., 2021).

use candle_core::Tensor;

use crate::ops;
use crate::parameters::Parameters;
use crate::{ModelError, Result};

/// A convolution whose stride is its kernel, computed as one product over all patches.
#[derive(Debug, Clone)]
pub struct PatchEmbedding {
    kernel: Tensor,
    /// The kernel as a matrix; made at every use where training moves the kernel.
    matrix: Option<Tensor>,
    bias: Option<Tensor>,
    patch_size: usize,
}

impl PatchEmbedding {
    /// Takes `weight`, stored `[width, 3, patch_size, patch_size]`, and if `has_bias`, `bias`.
    ///
    /// # Errors
    /// When a tensor is missing, of another shape or type, or not finite.
    pub fn load(parameters: &Parameters, width: usize, patch_size: usize, has_bias: bool) -> Result<Self> {
        let kernel = parameters.tensor("weight", &[width, 3, patch_size, patch_size])?;
        let bias = has_bias.then(|| parameters.tensor("bias", &[width])).transpose()?;
        let matrix = if kernel.track_op() { None } else { Some(as_matrix(&kernel)?) };
        Ok(Self { kernel, matrix, bias, patch_size })
    }

    /// One vector for every patch, row by row of the picture.
    ///
    /// # Shapes
    /// - `images`: `[images, height, width, 3]`; what exceeds a multiple of the patch size is left out
    /// - output: `[images, patches, width]`
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let &[count, height, width, 3] = images.dims() else {
            return Err(ModelError::Argument {
                operation: "PatchEmbedding",
                expected: "pictures of shape [images, height, width, 3]".into(),
                found: format!("{:?}", images.dims()),
            });
        };
        let side = self.patch_size;
        let (rows, columns) = (height / side, width / side);
        let whole = images.narrow(1, 0, rows * side)?.narrow(2, 0, columns * side)?.contiguous()?;
        // A convolution whose patches do not overlap is a product: pixels of a patch are moved together, and one
        // product over all patches replaces it.
        let patches = whole
            .reshape((count, rows, side, columns, side * 3))?
            .permute((0, 1, 3, 2, 4))?
            .reshape((count, rows * columns, side * side * 3))?;
        match &self.matrix {
            Some(matrix) => ops::linear(&patches, matrix, self.bias.as_ref()),
            None => ops::linear(&patches, &as_matrix(&self.kernel)?, self.bias.as_ref()),
        }
    }
}

/// `[width, 3, side, side]` to `[side · side · 3, width]`, the order in which a patch's pixels lie in memory.
fn as_matrix(kernel: &Tensor) -> Result<Tensor> {
    let (width, channels, height, columns) = kernel.dims4()?;
    Ok(kernel.permute((2, 3, 1, 0))?.reshape((height * columns * channels, width))?)
}
