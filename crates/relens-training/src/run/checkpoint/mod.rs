//! Checkpoints that survive a kill at any moment, and from which a run continues with the same bytes.
//!
//! ```text
//! checkpoints/
//!   step-400/
//!     weights.safetensors     what is trained, in the checkpoint's layout
//!     optimizer.safetensors   AdamW's moments
//!     average.safetensors     moving average of the weights (empty without one)
//!     state.json              step, schedule and data position, random state, the stage's own numbers
//!     manifest.json           length and SHA-256 of the files above
//!   best                      the name of the best checkpoint: "step-400"
//! ```
//!
//! A checkpoint is written under a temporary name, synced, and renamed: it is there whole or not at all. One that was
//! damaged later is noticed by its manifest, and the one before it is used.

mod manifest;
mod store;

pub use store::{CheckpointStore, Snapshot};
