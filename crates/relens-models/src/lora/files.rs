//! The PEFT library's files: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::adapter::LoraAdapter;
use super::config::LoraConfig;
use crate::atomic_file::write_atomically;
use crate::regular_file::{self, FileKind};
use crate::weights::{ElementType, Weights, save_tensors};
use crate::{ModelError, Result};

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// The fields of PEFT's `LoraConfig` that change what is computed.
#[derive(Debug, Deserialize)]
struct PeftConfigFile {
    peft_type: String,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f32,
    target_modules: Value,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    fan_in_fan_out: bool,
    bias: Option<String>,
    modules_to_save: Option<Vec<String>>,
    rank_pattern: Option<serde_json::Map<String, Value>>,
    alpha_pattern: Option<serde_json::Map<String, Value>>,
    layers_to_transform: Option<Value>,
}

impl LoraAdapter {
    /// Reads an adapter directory that this library or PEFT wrote.
    ///
    /// # Errors
    /// When a file cannot be read or is malformed, or the adapter is of a kind that is not known here.
    pub fn open(directory: impl AsRef<Path>) -> Result<Arc<Self>> {
        let directory = directory.as_ref();
        let path = directory.join(CONFIG_FILE);
        let refuse = |reason: String| ModelError::Config { path: path.clone(), reason };
        let text = regular_file::read_to_string(&path, FileKind::Settings)?;
        let mut reader = serde_json::Deserializer::from_str(&text);
        let file: PeftConfigFile =
            serde_path_to_error::deserialize(&mut reader).map_err(|error| refuse(error.to_string()))?;
        let config = file.config().map_err(refuse)?;
        config.check().map_err(|error| refuse(error.to_string()))?;
        Self::from_trained(config, Weights::open(directory.join(WEIGHTS_FILE))?)
    }

    /// Writes an adapter directory that PEFT reads, too. `base_model` names the network that it belongs to, and
    /// `task_type` is PEFT's word for its kind: `CAUSAL_LM` or `SEQ_2_SEQ_LM`.
    ///
    /// # Errors
    /// When a file cannot be written, or a tensor is not finite.
    pub fn save(&self, directory: impl AsRef<Path>, base_model: &str, task_type: &str) -> Result<()> {
        let directory = directory.as_ref();
        fs_err::create_dir_all(directory)?;
        let config = self.config();
        let file = json!({
            "alpha_pattern": {},
            "base_model_name_or_path": base_model,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": config.alpha,
            "lora_dropout": config.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": config.rank,
            "rank_pattern": {},
            "target_modules": config.targets,
            "task_type": task_type,
            "use_dora": false,
            "use_rslora": config.rank_stabilized,
        });
        save_tensors(&directory.join(WEIGHTS_FILE), &self.export()?, ElementType::F32)?;
        Ok(write_atomically(&directory.join(CONFIG_FILE), format!("{file:#}\n").as_bytes())?)
    }
}

impl PeftConfigFile {
    fn config(self) -> Result<LoraConfig, String> {
        let unknown = |field: &str, found: &dyn std::fmt::Debug, expected: &str| {
            Err(format!("`{field}` is {found:?}, expected {expected}"))
        };
        if self.peft_type != "LORA" {
            return unknown("peft_type", &self.peft_type, "\"LORA\"");
        }
        if self.use_dora {
            return unknown("use_dora", &true, "false");
        }
        if self.fan_in_fan_out {
            return unknown("fan_in_fan_out", &true, "false");
        }
        if let Some(bias) = self.bias.filter(|bias| bias != "none") {
            return unknown("bias", &bias, "\"none\"");
        }
        if let Some(modules) = self.modules_to_save.filter(|modules| !modules.is_empty()) {
            return unknown("modules_to_save", &modules, "none");
        }
        for (field, pattern) in [("rank_pattern", self.rank_pattern), ("alpha_pattern", self.alpha_pattern)] {
            if let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) {
                return unknown(field, &pattern, "one rank and alpha for all maps");
            }
        }
        if let Some(layers) = self.layers_to_transform.filter(|layers| !layers.is_null()) {
            return unknown("layers_to_transform", &layers, "null");
        }
        let targets = serde_json::from_value::<Vec<String>>(self.target_modules.clone())
            .map_err(|_| format!("`target_modules` is {}, expected a list of names", self.target_modules))?;
        Ok(LoraConfig {
            rank: self.r,
            alpha: self.lora_alpha,
            dropout: self.lora_dropout,
            targets,
            rank_stabilized: self.use_rslora,
        })
    }
}
