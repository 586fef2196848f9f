//! From a directory in Hugging Face's layout to the model that it holds.

use std::path::Path;

use serde::Deserialize;

use super::LanguageModel;
use crate::architecture::open_weights;
use crate::t5::{T5Config, T5Model};
use crate::tokenizer::Tokenizer;
use crate::weights::Parameters;
use crate::{ModelError, Result};

/// The file that says what a model is.
const CONFIG_FILE: &str = "config.json";

#[derive(Deserialize)]
struct ModelType {
    model_type: String,
}

/// Opens a frozen model and its tokenizer.
///
/// # Errors
/// When a file is missing or malformed, or `model_type` is none that relens has.
pub fn open(directory: impl AsRef<Path>) -> Result<(Box<dyn LanguageModel>, Tokenizer)> {
    let directory = directory.as_ref();
    let model = load(directory, &Parameters::frozen(open_weights(directory)?))?;
    let tokenizer = Tokenizer::open(directory, model.context_length())?;
    Ok((model, tokenizer))
}

/// Builds the model that the directory's `config.json` describes from parameters at hand, frozen or trainable.
///
/// # Errors
/// As [`open`]; also when a tensor is missing, of another shape or type, or not finite.
pub fn load(directory: impl AsRef<Path>, parameters: &Parameters) -> Result<Box<dyn LanguageModel>> {
    let path = directory.as_ref().join(CONFIG_FILE);
    let json = fs_err::read_to_string(&path)?;
    let refuse = |reason: String| ModelError::Config { path: path.clone(), reason };
    let ModelType { model_type } = serde_json::from_str(&json).map_err(|error| refuse(error.to_string()))?;
    match model_type.as_str() {
        "t5" | "mt5" => Ok(Box::new(T5Model::load(parameters, &T5Config::from_json(&json, &path)?)?)),
        other => Err(refuse(format!("`model_type` is `{other}`, expected t5 or mt5"))),
    }
}
