//! Reading, selecting and writing the numbers of a model.
//!
//! [`Weights`] is the content of one or several safetensors files, memory-mapped and checked. [`Parameters`] is
//! what a module is built from: a place in that content, which hands out frozen tensors or trainable variables.

mod parameters;
mod reading;
mod writing;

pub use parameters::{Parameters, StoredLayout, TrainableParameter, TrainableParameters};
pub use reading::{ElementType, StoredTensor, Weights};
pub use writing::{save_tensors, tensors_to_bytes};

#[cfg(test)]
mod tests;
