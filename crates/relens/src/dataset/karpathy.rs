//! Karpathy's JSON: `{"dataset", "images": [{"filename", "filepath"?, "split", "sentences": [{"raw"}]}]}`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::caption_groups::cleaned_caption;
use super::{Dataset, DatasetImage, Split, json, name_from_path};
use crate::error::Result;

const EXPECTED: &str = "Karpathy JSON, images[] with filename, split and sentences[].raw";

#[derive(Deserialize)]
struct KarpathyFile {
    dataset: Option<String>,
    images: Vec<KarpathyImage>,
}

#[derive(Deserialize)]
struct KarpathyImage {
    filename: String,
    /// The COCO file names a directory for each picture (`val2014`).
    filepath: Option<String>,
    split: String,
    imgid: Option<u64>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: String,
}

/// Reads the file.
pub(super) fn read(annotations: &Path, images_directory: &Path) -> Result<Dataset> {
    let file: KarpathyFile = json::read(annotations, EXPECTED)?;
    let mut directories = HashMap::new();
    let mut images = Vec::with_capacity(file.images.len());
    for (image, position) in file.images.into_iter().zip(0u64..) {
        let directory = match image.filepath {
            Some(filepath) => directories
                .entry(filepath)
                .or_insert_with_key(|filepath| subdirectory(images_directory, filepath))
                .as_path(),
            None => images_directory,
        };
        let mut captions = Vec::with_capacity(image.sentences.len());
        for (number, sentence) in image.sentences.iter().enumerate() {
            let location = || format!("field `images[{position}].sentences[{number}].raw`");
            captions.extend(cleaned_caption(&sentence.raw, annotations, location));
        }
        images.push(DatasetImage {
            id: image.imgid.unwrap_or(position),
            path: directory.join(&image.filename),
            split: Split::from_name(&image.split),
            captions,
        });
    }
    let name = file.dataset.unwrap_or_else(|| name_from_path(annotations));
    Ok(Dataset { name, images_directory: images_directory.to_owned(), images })
}

/// Many people keep all COCO pictures in one directory, so the file's own is used only where it exists.
fn subdirectory(images_directory: &Path, filepath: &str) -> PathBuf {
    let joined = images_directory.join(filepath);
    if joined.is_dir() { joined } else { images_directory.to_owned() }
}
