//! JSON Lines: `{"image": PATH, "captions": [TEXT, …], "split": NAME?}` a line; lines of one picture are put together.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::caption_groups::{CaptionGroups, cleaned_caption};
use super::text_lines::{broken_line, for_each_line};
use super::{Dataset, Split, name_from_path};
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
    let mut groups = CaptionGroups::default();
    let mut splits: HashMap<String, Split> = HashMap::new();
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
        let split = line.split.as_deref().map_or(Split::Unassigned, Split::from_name);
        let known = splits.entry(line.image.clone()).or_insert_with(|| split.clone());
        if *known != split {
            let expected = format!("split {known} for {}, as in a line before", line.image);
            return Err(broken_line(annotations, number, &expected, &format!("split {split}")));
        }
        let captions = line.captions.iter().chain(&line.caption);
        let location = || format!("line {number}");
        groups.add(&line.image, captions.filter_map(|text| cleaned_caption(text, annotations, location)));
        Ok(())
    })?;
    let split_of = |image: &str| splits.get(image).cloned().unwrap_or(Split::Unassigned);
    Ok(Dataset {
        name: name_from_path(annotations),
        images_directory: images_directory.to_owned(),
        images: groups.into_images(images_directory, split_of),
    })
}
