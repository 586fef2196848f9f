//! BERT (Devlin et al., 2019), the text encoder behind MiniLM and other sentence encoders.
//!
//! Tensor names and the configuration are those of Hugging Face. Sequences are packed, so a batch computes nothing
//! for padding; [`crate::ops::mean_pool`] turns the result into one vector for each text.

mod config;
mod model;

pub use config::BertConfig;
pub use model::BertModel;
