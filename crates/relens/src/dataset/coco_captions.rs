//! COCO captions JSON: `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::caption_groups::cleaned_caption;
use super::{Dataset, DatasetImage, Split, json, name_from_path};
use crate::error::{Error, Result};

const EXPECTED: &str =
    "COCO captions JSON, images[] with id and file_name, annotations[] with image_id and caption";

#[derive(Deserialize)]
struct CocoFile {
    images: Vec<CocoImage>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct CocoImage {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: String,
}

/// Reads the file.
pub(super) fn read(annotations: &Path, images_directory: &Path) -> Result<Dataset> {
    let file: CocoFile = json::read(annotations, EXPECTED)?;
    let mut positions = HashMap::with_capacity(file.images.len());
    let mut images = Vec::with_capacity(file.images.len());
    for (position, image) in file.images.into_iter().enumerate() {
        if positions.insert(image.id, position).is_some() {
            return Err(Error::Dataset {
                path: annotations.to_owned(),
                location: format!("field `images[{position}].id`"),
                expected: "a number that no other image has".to_owned(),
                found: image.id.to_string(),
            });
        }
        images.push(DatasetImage {
            id: image.id,
            path: images_directory.join(&image.file_name),
            split: Split::Unassigned,
            captions: Vec::new(),
        });
    }
    for (number, annotation) in file.annotations.iter().enumerate() {
        let image = positions.get(&annotation.image_id).and_then(|&position| images.get_mut(position));
        let image = image.ok_or_else(|| Error::Dataset {
            path: annotations.to_owned(),
            location: format!("field `annotations[{number}].image_id`"),
            expected: "the id of one of images[]".to_owned(),
            found: annotation.image_id.to_string(),
        })?;
        let location = || format!("field `annotations[{number}].caption`");
        image.captions.extend(cleaned_caption(&annotation.caption, annotations, location));
    }
    Ok(Dataset { name: name_from_path(annotations), images_directory: images_directory.to_owned(), images })
}
