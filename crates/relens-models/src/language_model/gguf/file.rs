//! The file: its metadata, where its tensors lie, and what Hugging Face calls them.

use std::collections::HashMap;
use std::io::Cursor;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};

use crate::weights::{GgufTensor, MappedFile, Weights};
use crate::{ModelError, Result};

/// Architectures whose files this library reads: their names begin the fields of the metadata.
const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// A mapped GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: HashMap<String, Value>,
    architecture: String,
    weights: Weights,
}

impl Gguf {
    /// Maps a file and checks that every tensor lies inside of it.
    ///
    /// # Errors
    /// When the file cannot be read, is no GGUF, is truncated, or of an architecture that is not known here.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = MappedFile::open(path)?;
        let refuse = |reason: String| ModelError::Gguf { path: path.to_owned(), reason };
        let length = file.bytes().len();
        let content = Content::read(&mut Cursor::new(file.bytes()))
            .map_err(|error| refuse(format!("{error} (the file has {length} bytes; is it truncated?)")))?;
        let architecture = match content.metadata.get("general.architecture") {
            Some(Value::String(name)) if ARCHITECTURES.contains(&name.as_str()) => name.clone(),
            found => {
                let expected = ARCHITECTURES.join(", ");
                return Err(refuse(format!(
                    "`general.architecture` is {}, expected one of {expected}",
                    shown(found)
                )));
            }
        };
        // The number of heads, which the tensors' order depends on, is read through the half-made value.
        let none = Weights::from_gguf(path, &file, Vec::new())?;
        let mut gguf =
            Self { path: path.to_owned(), metadata: content.metadata, architecture, weights: none };
        let heads = [
            gguf.size("attention.head_count")?,
            gguf.optional_size("attention.head_count_kv")?.unwrap_or(gguf.size("attention.head_count")?),
        ];
        let tensors = content
            .tensor_infos
            .iter()
            .map(|(name, info)| gguf.tensor(name, info, content.tensor_data_offset, heads));
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        gguf.weights = Weights::from_gguf(path, &file, tensors)?;
        Ok(gguf)
    }

    /// Where a tensor lies, under its name in Hugging Face checkpoints.
    fn tensor(
        &self,
        name: &str,
        info: &TensorInfo,
        data_start: u64,
        [heads, key_value_heads]: [usize; 2],
    ) -> Result<GgufTensor> {
        // llama.cpp stores the queries and keys of its `llama` models in the order of interleaved rotation.
        let part = name.rsplit('.').nth(1).unwrap_or_default();
        let interleaved_heads = match (self.architecture.as_str(), part) {
            ("llama", "attn_q") => Some(heads),
            ("llama", "attn_k") => Some(key_value_heads),
            _ => None,
        };
        let start = data_start.checked_add(info.offset).and_then(|start| usize::try_from(start).ok());
        let Some(start) = start else {
            return Err(self.refuse(format!("tensor `{name}` lies outside the file")));
        };
        Ok(GgufTensor {
            name: hugging_face_name(name).unwrap_or_else(|| name.to_owned()),
            dtype: info.ggml_dtype,
            shape: info.shape.dims().to_vec(),
            start,
            interleaved_heads: interleaved_heads
                .and_then(|heads| NonZeroU32::new(u32::try_from(heads).ok()?)),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors, by the names of Hugging Face checkpoints.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    pub(super) fn architecture(&self) -> &str {
        &self.architecture
    }

    pub(super) fn refuse(&self, reason: String) -> ModelError {
        ModelError::Gguf { path: self.path.clone(), reason }
    }

    /// A field of the architecture.
    fn field(&self, name: &str) -> (String, Option<&Value>) {
        let name = format!("{}.{name}", self.architecture);
        let value = self.metadata.get(&name);
        (name, value)
    }

    pub(super) fn any_field(&self, name: &str) -> Option<&Value> {
        self.metadata.get(name)
    }

    /// A field of the architecture that is a size.
    pub(super) fn size(&self, name: &str) -> Result<usize> {
        self.optional_size(name)?
            .ok_or_else(|| self.refuse(format!("missing field `{}`", self.field(name).0)))
    }

    pub(super) fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        let (name, value) = self.field(name);
        let Some(value) = value else { return Ok(None) };
        match integer(value).and_then(|value| usize::try_from(value).ok()) {
            Some(size) => Ok(Some(size)),
            None => Err(self.refuse(format!("`{name}` is {}, expected a size", shown(Some(value))))),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>> {
        let (name, value) = self.field(name);
        match value {
            None => Ok(None),
            Some(Value::F32(value)) => Ok(Some(f64::from(*value))),
            Some(Value::F64(value)) => Ok(Some(*value)),
            other => Err(self.refuse(format!("`{name}` is {}, expected a number", shown(other)))),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.metadata.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn token_id(&self, name: &str) -> Option<u32> {
        integer(self.metadata.get(name)?).and_then(|id| u32::try_from(id).ok())
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.metadata.get(name) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }
}

/// An integer of any width.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match *value {
        Value::U8(value) => Some(i64::from(value)),
        Value::I8(value) => Some(i64::from(value)),
        Value::U16(value) => Some(i64::from(value)),
        Value::I16(value) => Some(i64::from(value)),
        Value::U32(value) => Some(i64::from(value)),
        Value::I32(value) => Some(i64::from(value)),
        Value::U64(value) => i64::try_from(value).ok(),
        Value::I64(value) => Some(value),
        _ => None,
    }
}

/// A value as an error shows it; a long one is cut.
pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "missing".into(),
        Some(Value::String(text)) => format!("`{}`", text.chars().take(40).collect::<String>()),
        Some(Value::Array(values)) => format!("a list of {}", values.len()),
        Some(other) => format!("{other:?}"),
    }
}

/// The name of a tensor in Hugging Face checkpoints; none for one that they do not have.
fn hugging_face_name(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let outside = match module {
        "token_embd" => Some("model.embed_tokens"),
        "output_norm" => Some("model.norm"),
        "output" => Some("lm_head"),
        _ => None,
    };
    if let Some(outside) = outside {
        return Some(format!("{outside}.{kind}"));
    }
    let (block, part) = module.strip_prefix("blk.")?.split_once('.')?;
    let part = match part {
        "attn_norm" => "input_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_norm" => "post_attention_layernorm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{block}.{part}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::hugging_face_name as name;

    #[test]
    fn names_are_translated() {
        assert_eq!(name("blk.12.attn_q.bias").unwrap(), "model.layers.12.self_attn.q_proj.bias");
        assert_eq!(name("token_embd.weight").unwrap(), "model.embed_tokens.weight");
        assert_eq!(name("rope_freqs.weight"), None);
        assert_eq!(name("blk.weight"), None);
    }
}
