//! Training a retriever: two pretrained towers, heads into one space, a contrastive loss over captions.
//!
//! The method is LiT's and LP-FT's: the image trunk stays frozen and its features are cached, heads are trained
//! first, then the text tower with a small learning rate. At some ten thousand captions the limit is over-fitting, so
//! most settings are about that: views, feature dropout and noise, joint positives, soft targets, weight averages.
//!
//! Departures from CLIP: several captions of a picture are positives together; features are standardised, which is
//! folded into the exported weights; what is measured and exported are averaged weights.
//!
//! ```no_run
//! use relens::progress::Silent;
//! use relens_training::stages::retriever::{self, RetrieverConfig};
//!
//! let config = RetrieverConfig::read("configs/retriever.toml".as_ref())?;
//! let summary = retriever::run(&config, &mut Silent)?;
//! println!("{} has {:?}", summary.model.display(), summary.metrics);
//! # Ok::<(), relens_training::TrainingError>(())
//! ```

mod assembly;
pub(super) mod batches;
pub mod config;
pub(super) mod corpus;
mod feature_cache;
mod feature_maps;
mod features;
mod network;
mod run;
mod standardization;
mod step;
mod teacher;
#[cfg(test)]
mod tests;
mod training_data;
pub(super) mod validation;
mod views;

pub use config::RetrieverConfig;
pub use run::run;

pub use crate::run::finished_model::{MODEL_DIRECTORY, RunSummary};
