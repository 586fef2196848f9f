//! What becomes a vector: an id by a table, a patch of an image by a map (Dosovitskiy et al., 2021).

use candle_core::{Device, Tensor};

use crate::parameters::Parameters;
use crate::weights::StoredTensor;
use crate::{ModelError, Result, ops};

/// A table of vectors, one for each id.
///
/// A frozen table stays in its file, in the file's element type: only the rows that are asked for are read and
/// widened, so that a large vocabulary costs neither loading time nor memory.
#[derive(Debug, Clone)]
pub struct Embedding {
    table: Table,
    rows: usize,
    width: usize,
}

#[derive(Debug, Clone)]
enum Table {
    Stored(StoredTensor),
    Trained(Tensor),
}

impl Embedding {
    /// Takes `weight`, of shape `[rows, width]`.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape, or of an element type that is not floating point.
    pub fn load(parameters: &Parameters, rows: usize, width: usize) -> Result<Self> {
        let table = if parameters.is_trainable("weight") {
            Table::Trained(parameters.tensor("weight", &[rows, width])?)
        } else {
            Table::Stored(parameters.stored("weight", &[rows, width])?)
        };
        Ok(Self { table, rows, width })
    }

    /// The same table without gradients; it shares the numbers.
    #[must_use]
    pub fn detached(&self) -> Self {
        let table = match &self.table {
            Table::Stored(table) => Table::Stored(table.clone()),
            Table::Trained(table) => Table::Trained(table.detach()),
        };
        Self { table, ..*self }
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The vectors of the ids.
    ///
    /// # Shapes
    /// - `ids`: `tokens` many
    /// - output: `[tokens, width]`
    ///
    /// # Errors
    /// When an id is outside of the table, or its row in the file is not finite.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let table = match &self.table {
            Table::Trained(table) => return ops::embedding(table, ids),
            Table::Stored(table) => table,
        };
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.rows) {
            return Err(ModelError::Argument {
                operation: "embedding",
                expected: format!("ids below {}", self.rows),
                found: format!("id {id}"),
            });
        }
        // Row by row out of the mapped file: the operating system reads the pages that these ids lie on and no
        // others.
        let mut vectors = vec![0.0f32; ids.len() * self.width];
        for (&id, vector) in ids.iter().zip(vectors.chunks_exact_mut(self.width.max(1))) {
            table.read_row(id as usize, vector)?;
        }
        Ok(Tensor::from_vec(vectors, (ids.len(), self.width), &Device::Cpu)?)
    }
}

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
