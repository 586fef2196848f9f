//! The soft rewriter: a small residual network on the query's embedding, distilled from rewrites that the retriever
//! likes better than the query, and from the retriever's feedback itself.
//!
//! Texts and pictures are embedded once; an epoch over the embeddings takes seconds. The best epoch is chosen by mean
//! reciprocal rank on the validation split, and epoch 0, the identity, competes: a network that only harms is exported
//! as one that does nothing, and the summary says so.

mod config;
mod materials;
mod network;
mod run;
#[cfg(test)]
mod tests;

pub use config::{NetworkSettings, ObjectiveSettings, SoftConfig, TrainingSettings};
pub use run::SoftSummary;

use crate::Result;
use relens::progress::Progress;

/// Trains a soft rewriter, or goes on with a run that was interrupted, and writes the best epoch's network.
///
/// # Errors
/// Data, pictures or models that cannot be read; settings outside their range; a run directory that is in use or of
/// other settings; a loss that is not finite, with its step;
/// [`TrainingError::Interrupted`](crate::TrainingError::Interrupted).
pub fn train_soft(config: &SoftConfig, progress: &mut dyn Progress) -> Result<SoftSummary> {
    run::run(config, progress)
}
