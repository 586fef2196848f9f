//! Reading, selecting and writing the numbers of a model.
//!
//! [`Weights`] is the content of one or several safetensors files, memory-mapped and checked, or of PyTorch's pickles.
//! [`TrainableParameters`] are the variables that take the place of some of its tensors.

mod gguf;
mod pickle;
mod reading;
mod stored;
mod trainable;

pub(crate) use gguf::{GgufTensor, MappedFile};
pub(crate) use reading::TensorShapes;
pub use reading::Weights;
pub use stored::{ElementType, StoredTensor};
pub use trainable::{StoredLayout, TrainableParameter, TrainableParameters};
pub use trainable::{save_tensors, tensors_to_bytes};

#[cfg(test)]
mod tests;
