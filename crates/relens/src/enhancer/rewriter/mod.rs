//! A language model that was trained on this retriever's feedback writes the query anew.
//!
//! Its directory has the Hugging Face layout and [`settings::SETTINGS_FILE`] beside it.

pub mod prompt;
pub mod settings;

pub use prompt::PromptBuilder;
pub use settings::{DecodingMethod, DecodingSettings, PromptSettings, RewriterSettings};
