//! From hidden states to logits.

use candle_core::Tensor;

use super::config::LlamaConfig;
use crate::Result;
use crate::layers::Linear;
use crate::ops;
use crate::parameters::Parameters;

/// One row of a matrix for every token, multiplied with the hidden state.
#[derive(Debug, Clone)]
pub(super) enum Head {
    /// The matrix as a linear map; rows that should be normalised are.
    Frozen(Linear),
    /// A variable, `[vocabulary, width]` as the token table has it, so that both can be one.
    Trained { table: Tensor, normalized: bool },
}

impl Head {
    /// Takes `weight`, of shape `[vocabulary, width]`.
    pub(super) fn load(parameters: &Parameters, config: &LlamaConfig, normalized: bool) -> Result<Self> {
        let (rows, width) = (config.vocabulary_size, config.width);
        if parameters.is_trainable("weight") {
            return Ok(Self::Trained { table: parameters.tensor("weight", &[rows, width])?, normalized });
        }
        if !normalized {
            return Ok(Self::Frozen(Linear::load_without_bias(parameters, width, rows)?));
        }
        // Frozen rows are normalised once; while they are trained, at every use.
        let rows = ops::l2_normalize(&parameters.tensor("weight", &[rows, width])?)?;
        Ok(Self::Frozen(Linear::new(rows.t()?.contiguous()?, None)))
    }

    /// The same without gradients, as it is at this moment.
    pub(super) fn detached(&self) -> Self {
        match self {
            Self::Frozen(linear) => Self::Frozen(linear.detached()),
            Self::Trained { table, normalized } => {
                Self::Trained { table: table.detach(), normalized: *normalized }
            }
        }
    }

    pub(super) fn forward(&self, hidden: &Tensor) -> Result<Tensor> {
        match self {
            Self::Frozen(linear) => linear.forward(hidden),
            Self::Trained { table, normalized: false } => ops::linear_transposed(hidden, table),
            Self::Trained { table, normalized: true } => {
                ops::linear_transposed(hidden, &ops::l2_normalize(table)?)
            }
        }
    }
}
