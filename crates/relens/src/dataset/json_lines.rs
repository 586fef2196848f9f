//! JSON Lines: `{"image": PATH, "captions": [TEXT, …], "split": NAME?}` a line.

use std::path::Path;

use serde::Deserialize;

use super::caption_groups::cleaned_caption;
use super::text_lines::{broken_line, for_each_line};
use super::{Dataset, DatasetImage, Split, name_from_path};
use crate::error::Result;

const EXPECTED: &str = "{\"image\": PATH, \"captions\": [TEXT, …], \"split\": NAME (optional)}";

/// One line.
#[derive(Deserialize)]
pub(super) struct CaptionLine {
    image: String,
    #[serde(default)]
    captions: Vec<String>,
    /// Some writers have one caption a line.
    caption: Option<String>,
    split: Option<String>,
}

/// Reads the file.
pub(super) fn read(annotations: &Path, images_directory: &Path) -> Result<Dataset> {
    let mut images = Vec::new();
    for_each_line(annotations, |number, line| {
        let line: CaptionLine = serde_json::from_str(line)
            .map_err(|error| broken_line(annotations, number, EXPECTED, &error.to_string()))?;
        if line.image.trim().is_empty() {
            return Err(broken_line(
                annotations,
                number,
                "the path of a picture in `image`",
                "an empty text",
            ));
        }
        let captions = line.captions.iter().chain(&line.caption);
        images.push(DatasetImage {
            id: images.len() as u64,
            path: images_directory.join(&line.image),
            split: line.split.as_deref().map_or(Split::Unassigned, Split::from_name),
            captions: captions
                .filter_map(|caption| cleaned_caption(caption, annotations, || format!("line {number}")))
                .collect(),
        });
        Ok(())
    })?;
    Ok(Dataset { name: name_from_path(annotations), images_directory: images_directory.to_owned(), images })
}
