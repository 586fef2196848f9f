//! Reading, selecting and writing the numbers of a model.
//!
//! [`Weights`] is the content of one or several safetensors files, memory-mapped and checked, or of PyTorch's pickles. [`Parameters`] is
//! what a module is built from: a place in that content, which hands out frozen tensors or trainable variables.

mod gguf;
mod parameters;
mod pickle;
mod reading;
mod stored;
mod writing;

pub(crate) use gguf::{GgufTensor, MappedFile};
pub use parameters::{
    LinearStorage, LinearWeight, Parameters, StoredLayout, TrainableParameter, TrainableParameters,
};
pub(crate) use reading::TensorShapes;
pub use reading::Weights;
pub use stored::{ElementType, StoredTensor};
pub use writing::{save_tensors, tensors_to_bytes};

#[cfg(test)]
mod tests;
