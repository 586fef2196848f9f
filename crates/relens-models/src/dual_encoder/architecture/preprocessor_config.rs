//! Hugging Face's `preprocessor_config.json`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::fields::{self, refuse};
use crate::Result;
use crate::image_preprocessing::{ImageSize, Interpolation, PreprocessConfig, ResizeMode};

/// The file's name inside a model directory.
pub(super) const FILE: &str = "preprocessor_config.json";

/// Reads the file beside `config`, for a tower of `image_size` pixels.
///
/// The sizes in the file must lead to the tower's: a fitted shorter side and a centre crop (CLIP), or both sides
/// stretched (SigLIP).
pub(super) fn read(config: &Path, image_size: usize) -> Result<PreprocessConfig> {
    let path = config.with_file_name(FILE);
    let object = fields::read_object(&path)?;
    for step in ["do_resize", "do_normalize", "do_rescale"] {
        if object.get(step).is_some_and(|value| value == &Value::Bool(false)) {
            return Err(refuse(&path, step, "true", "false"));
        }
    }
    let (resize_mode, side) = resize_mode(&path, &object)?;
    if side != image_size as u64 {
        let expected = format!("{image_size}, the `image_size` of {}", config.display());
        return Err(refuse(&path, "size", &expected, &side.to_string()));
    }
    let channels = |field: &str, default: Value| -> Result<[f32; 3]> {
        fields::parse(&path, field, object.get(field).cloned().unwrap_or(default))
    };
    Ok(PreprocessConfig {
        size: ImageSize::square(u32::try_from(side).unwrap_or(u32::MAX)),
        mean: channels("image_mean", json!([0.481_454_66, 0.457_827_5, 0.408_210_73]))?,
        std: channels("image_std", json!([0.268_629_54, 0.261_302_58, 0.275_777_11]))?,
        interpolation: interpolation(&path, object.get("resample"))?,
        resize_mode,
        ..PreprocessConfig::default()
    })
}

/// How the picture is fitted, and the side of the result.
fn resize_mode(path: &Path, object: &Map<String, Value>) -> Result<(ResizeMode, u64)> {
    let size = object.get("size");
    let side = |value: Option<&Value>, field: &str| -> Option<u64> {
        value.and_then(|value| value.as_u64().or_else(|| value.get(field)?.as_u64()))
    };
    if let (Some(height), Some(width)) = (side(size, "height"), side(size, "width"))
        && size.is_some_and(Value::is_object)
    {
        if height != width {
            return Err(refuse(path, "size", "a square", &format!("{height} × {width}")));
        }
        return Ok((ResizeMode::Squash, height));
    }
    let Some(shortest) = side(size, "shortest_edge") else {
        let found = size.map_or_else(|| "none".to_owned(), Value::to_string);
        return Err(refuse(path, "size", "`shortest_edge`, or `height` and `width`", &found));
    };
    if object.get("do_center_crop") == Some(&Value::Bool(false)) {
        return Err(refuse(path, "do_center_crop", "true where `size` is a `shortest_edge`", "false"));
    }
    let crop = side(object.get("crop_size"), "height").unwrap_or(shortest);
    if crop != shortest {
        return Err(refuse(path, "crop_size", &shortest.to_string(), &crop.to_string()));
    }
    Ok((ResizeMode::Shortest, crop))
}

/// PIL's numbers of its filters.
fn interpolation(path: &Path, resample: Option<&Value>) -> Result<Interpolation> {
    match resample.map(Value::as_u64) {
        None | Some(Some(3)) => Ok(Interpolation::Bicubic),
        Some(Some(2)) => Ok(Interpolation::Bilinear),
        _ => {
            let found = resample.map_or_else(|| "none".to_owned(), Value::to_string);
            Err(refuse(path, "resample", "3 (bicubic) or 2 (bilinear)", &found))
        }
    }
}
