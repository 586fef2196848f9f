//! What can go wrong while a model is read or run.

use std::path::PathBuf;

/// The result of loading or running a model.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

/// An error of this crate. Every variant names the file, tensor or field, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file could not be opened, read or mapped; the message of `fs-err` names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// A weights file is not valid safetensors.
    #[error("{path}: not a valid safetensors file: {reason}")]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A weights file is not valid GGUF, or holds what cannot be used.
    #[error("{path}: GGUF: {reason}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// The field or tensor, what was expected and what was found.
        reason: String,
    },

    /// A checkpoint of PyTorch cannot be read.
    #[error("{path}: not a readable PyTorch checkpoint: {reason}")]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A tensor that the architecture needs is not in the file.
    #[error("{path}: tensor `{name}` is missing (expected shape {expected:?})")]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's full name.
        name: String,
        /// The shape that the architecture needs.
        expected: Vec<usize>,
    },

    /// A tensor has another shape than the configuration says.
    #[error("{path}: tensor `{name}` has shape {found:?}, expected {expected:?}")]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// The tensor's full name.
        name: String,
        /// The shape that the architecture needs.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },

    /// A tensor has an element type that cannot be used here.
    #[error("{path}: tensor `{name}` is stored as {found}, expected F32, F16 or BF16")]
    TensorType {
        /// The file.
        path: PathBuf,
        /// The tensor's full name.
        name: String,
        /// The type in the file.
        found: String,
    },

    /// A tensor holds NaN or an infinity.
    #[error("{path}: tensor `{name}` holds {found} at element {position}, expected finite numbers")]
    NonFiniteTensor {
        /// The file.
        path: PathBuf,
        /// The tensor's full name.
        name: String,
        /// Which element, in row-major order.
        position: usize,
        /// The value found.
        found: f32,
    },

    /// A configuration file is malformed, or asks for something that is not there.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        reason: String,
    },

    /// A tokenizer could not be loaded or refused its input.
    #[error("{path}: tokenizer: {reason}")]
    Tokenizer {
        /// The tokenizer's file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },

    /// A picture has more pixels than the limits allow.
    #[error(
        "{source_name}: expected at most {max_pixels} pixels, found {width} × {height}; the limit is a setting, \
         max_megapixels"
    )]
    ImageTooLarge {
        /// The picture's path, or a description of where the bytes came from.
        source_name: String,
        /// The limit on width × height.
        max_pixels: u64,
        /// In pixels.
        width: u64,
        /// In pixels.
        height: u64,
    },

    /// A picture could not be decoded, or its file is larger than the limits allow.
    #[error("{source_name}: {reason}")]
    Image {
        /// The picture's path, or a description of where the bytes came from.
        source_name: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A function was called with arguments that do not fit each other.
    #[error("{operation}: expected {expected}, found {found}")]
    Argument {
        /// The function.
        operation: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },

    /// One sample of a batch cannot be used; the others may.
    #[error("sample {sample}: expected {expected}, found {found}")]
    Sample {
        /// Its place in the batch, from 0.
        sample: usize,
        /// What the model takes.
        expected: String,
        /// What it was given.
        found: String,
    },

    /// The tensor library failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
