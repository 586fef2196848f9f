//! Checking the fields of a configuration file.

use std::path::Path;

use serde_json::{Map, Value};

use crate::ops::Activation;
use crate::regular_file::{self, FileKind};
use crate::{ModelError, Result};

/// The widest layer that a configuration may ask for.
pub(in crate::dual_encoder) const MAX_WIDTH: usize = 1 << 16;
/// The most layers that a configuration may ask for.
pub(in crate::dual_encoder) const MAX_LAYERS: usize = 1024;
/// The largest picture side that a configuration may ask for.
pub(in crate::dual_encoder) const MAX_IMAGE_SIZE: usize = 4096;
/// The longest text that a configuration may ask for.
pub(in crate::dual_encoder) const MAX_CONTEXT_LENGTH: usize = 1 << 15;
/// The largest vocabulary that a configuration may ask for.
pub(in crate::dual_encoder) const MAX_VOCABULARY: usize = 1 << 22;

/// Refuses a field of a configuration file.
pub(in crate::dual_encoder) fn refuse(path: &Path, field: &str, expected: &str, found: &str) -> ModelError {
    let reason = format!("`{field}`: expected {expected}, found {found}");
    ModelError::Config { path: path.to_owned(), reason }
}

/// Lets a size pass that is neither zero nor absurd, so that sums and products of sizes cannot overflow.
pub(in crate::dual_encoder) fn size(path: &Path, field: &str, value: usize, largest: usize) -> Result<()> {
    if (1..=largest).contains(&value) {
        return Ok(());
    }
    Err(refuse(path, field, &format!("a number from 1 to {largest}"), &value.to_string()))
}

/// Lets a number of heads pass that divides the width.
pub(in crate::dual_encoder) fn heads(path: &Path, field: &str, heads: usize, width: usize) -> Result<()> {
    if heads > 0 && width.is_multiple_of(heads) {
        return Ok(());
    }
    Err(refuse(path, field, &format!("a divisor of the width {width}"), &heads.to_string()))
}

/// Lets the norms' epsilon pass if it is a small positive number.
pub(in crate::dual_encoder) fn epsilon(path: &Path, field: &str, eps: f64) -> Result<()> {
    if eps > 0.0 && eps < 1.0 {
        return Ok(());
    }
    Err(refuse(path, field, "a number between 0 and 1", &eps.to_string()))
}

/// Width of a feed-forward part; rounded down, as Python's `int(width * ratio)`.
pub(in crate::dual_encoder) fn feed_forward_width(
    path: &Path,
    field: &str,
    width: usize,
    ratio: f64,
) -> Result<usize> {
    let inner = width as f64 * ratio;
    if inner >= 1.0 && inner <= MAX_WIDTH as f64 {
        return Ok(inner as usize);
    }
    Err(refuse(path, field, "a ratio that gives a width of at least 1", &ratio.to_string()))
}

/// The activation of a Hugging Face name.
pub(in crate::dual_encoder) fn activation(path: &Path, field: &str, name: &str) -> Result<Activation> {
    Activation::from_name(name).ok_or_else(|| {
        refuse(
            path,
            field,
            "gelu, gelu_pytorch_tanh, gelu_new, quick_gelu, relu or silu",
            &format!("{name:?}"),
        )
    })
}

/// Reads a JSON object.
pub(in crate::dual_encoder) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let text = regular_file::read_to_string(path, FileKind::Settings)?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::Config { path: path.to_owned(), reason: error.to_string() })
}

/// Reads a value as `T`; `field` says where it stands in the file.
pub(in crate::dual_encoder) fn parse<T: serde::de::DeserializeOwned>(
    path: &Path,
    field: &str,
    value: Value,
) -> Result<T> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| ModelError::Config { path: path.to_owned(), reason: format!("`{field}`: {error}") })
}

/// `defaults` with the entries of `given` in their place.
pub(in crate::dual_encoder) fn merged(mut defaults: Value, given: Option<&Value>) -> Value {
    if let (Some(defaults), Some(given)) = (defaults.as_object_mut(), given.and_then(Value::as_object)) {
        for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            defaults.insert(key.clone(), value.clone());
        }
    }
    defaults
}
