//! From a directory in Hugging Face's layout, or a GGUF file, to the model that it holds.

use std::path::Path;

use serde::Deserialize;

use super::LanguageModel;
use crate::dual_encoder::architecture::open_weights;
use crate::language_model::bert_t5::{BertT5Config, BertT5Model};
use crate::language_model::llama::{LlamaConfig, LlamaModel};
use crate::language_model::t5::{T5Config, T5Model};
use crate::parameters::{LinearStorage, Parameters};
use crate::regular_file::{self, FileKind};
use crate::tokenizer::Tokenizer;
use crate::{ModelError, Result};

/// The file that says what a model is.
const CONFIG_FILE: &str = "config.json";

/// The longest texts that a tokenizer is asked for; contexts can be longer than anybody's prompt.
const LONGEST_TEXT: usize = 1 << 17;

#[derive(Deserialize)]
struct LanguageModelType {
    model_type: String,
}

/// Opens a frozen model and its tokenizer: a directory, or a `.gguf` file.
///
/// # Errors
/// When a file is missing or malformed, or `model_type` is none that relens has.
pub fn open(path: impl AsRef<Path>) -> Result<(Box<dyn LanguageModel>, Tokenizer)> {
    open_with_storage(path, LinearStorage::AsStored)
}

/// As [`open`], with the weights of linear maps kept in another form: fewer bits make decoding faster.
///
/// # Errors
/// As [`open`].
pub fn open_with_storage(
    path: impl AsRef<Path>,
    storage: LinearStorage,
) -> Result<(Box<dyn LanguageModel>, Tokenizer)> {
    let path = path.as_ref();
    if path.is_file() {
        let (model, tokenizer) = LlamaModel::open(path, storage)?;
        return Ok((Box::new(model), tokenizer));
    }
    let parameters = Parameters::frozen(open_weights(path)?).with_storage(storage);
    let model = load(path, &parameters)?;
    let tokenizer = Tokenizer::open(path, model.context_length().min(LONGEST_TEXT))?;
    Ok((model, tokenizer))
}

/// Builds the model that the directory's `config.json` describes from parameters at hand, frozen or trainable.
///
/// # Errors
/// As [`open`]; also when a tensor is missing, of another shape or type, or not finite.
pub fn load(directory: impl AsRef<Path>, parameters: &Parameters) -> Result<Box<dyn LanguageModel>> {
    let path = directory.as_ref().join(CONFIG_FILE);
    let json = regular_file::read_to_string(&path, FileKind::Settings)?;
    let refuse = |reason: String| ModelError::Config { path: path.clone(), reason };
    let LanguageModelType { model_type } =
        serde_json::from_str(&json).map_err(|error| refuse(error.to_string()))?;
    match model_type.as_str() {
        "t5" | "mt5" => Ok(Box::new(T5Model::load(parameters, &T5Config::from_json(&json, &path)?)?)),
        BertT5Config::MODEL_TYPE => {
            Ok(Box::new(BertT5Model::load(parameters, &BertT5Config::from_json(&json, &path)?)?))
        }
        known if LlamaConfig::is_model_type(known) => {
            let config = LlamaModel::directory_config(directory.as_ref())?;
            Ok(Box::new(LlamaModel::load(parameters, &config)?))
        }
        other => {
            let known = LlamaConfig::MODEL_TYPES.join(", ");
            Err(refuse(format!("`model_type` is `{other}`, expected one of t5, mt5, bert-t5, {known}")))
        }
    }
}
