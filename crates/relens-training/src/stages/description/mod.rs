//! What there is to learn about descriptions with the retriever frozen: CLIP-GPT's adapter, LaBo's values.
//!
//! Both learn from the same question: which picture do the descriptions of a caption's entities show, without the
//! caption itself? The retriever has seen the captions of its training split and knows their pictures nearly by heart;
//! next to it a description could only harm. Alone, descriptions have to be good for pictures in general.
//!
//! Texts are "{entity}, which has {description}", so that some ten thousand different ones cover a dataset. They and
//! the pictures are embedded once; an epoch over the cache takes seconds.
//!
//! Departures: CLIP-GPT and LaBo classify, with a fixed set of classes; here the descriptions of up to three entities of
//! a caption together retrieve its picture among those of the batch (symmetric InfoNCE, Radford et al. 2021).

mod adapter;
pub mod config;
mod described_data;
mod run;
mod selection;
#[cfg(test)]
mod tests;

pub use config::{AdapterTrainingConfig, SelectionTrainingConfig};
pub use run::DescriptionSummary;

use crate::Result;
use relens::progress::Progress;

/// What the adapter stage writes into its run directory.
pub const ADAPTER_FILE: &str = "adapter.safetensors";
/// What the selection stage writes into its run directory.
pub const VALUES_FILE: &str = "values.json";

/// Trains CLIP-GPT's adapter, or goes on with a run that was interrupted, and writes the best weights.
///
/// # Errors
/// Data, pictures, model or knowledge base that cannot be read; settings outside their range; a run directory that is in
/// use or of other settings; [`TrainingError::Interrupted`](crate::TrainingError::Interrupted).
pub fn train_adapter(
    config: &AdapterTrainingConfig,
    progress: &mut dyn Progress,
) -> Result<DescriptionSummary> {
    run::run::<adapter::AdapterNetwork>(config, progress)
}

/// Learns LaBo's values, or goes on with a run that was interrupted, and writes the best.
///
/// # Errors
/// As [`train_adapter`].
pub fn train_selection(
    config: &SelectionTrainingConfig,
    progress: &mut dyn Progress,
) -> Result<DescriptionSummary> {
    run::run::<selection::SelectionNetwork>(config, progress)
}
