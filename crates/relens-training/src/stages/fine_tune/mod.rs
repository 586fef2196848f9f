//! Fine-tuning a whole retriever together with a frozen rewriter, as both papers do: any architecture that relens opens,
//! CLIP and its kin included, from its own weights.
//!
//! Symmetric InfoNCE over pairs of a picture and a caption; each caption is replaced by one of its rewrites with a
//! probability (EvdCLIP, "Retriever Fine-tuning"; MGQRe, section 4.1). The same run with probability 0 is the equally
//! trained baseline. Batches are larger than memory by the gradient cache. A frozen image side is embedded once.
//!
//! [`retriever`](super::retriever) is the stage for heads on frozen towers, which trains in minutes; this one moves the
//! towers themselves.
//!
//! ```no_run
//! use relens::embed::retriever::Retriever;
//! use relens::progress::Silent;
//! use relens_training::stages::fine_tune::{self, FineTuneConfig};
//!
//! let config = FineTuneConfig::read("configs/fine-tune.toml".as_ref())?;
//! let retriever = Retriever::load(&config.model.start_from)?;
//! let summary = fine_tune::run(&config, &retriever, &mut Silent)?;
//! println!("{} has {:?}", summary.model.display(), summary.metrics);
//! # Ok::<(), relens_training::TrainingError>(())
//! ```

mod config;
mod network;
mod plan;
mod run;
mod step;
#[cfg(test)]
mod tests;

pub use config::{FineTuneConfig, FineTuneOptimization, FineTunedModel, FineTunedPart};
pub use plan::plan;
pub use run::run;

pub use crate::run::finished_model::{MODEL_DIRECTORY, RunSummary};
