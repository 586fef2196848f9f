//! webdataset: tar archives in which entries of the same name, endings aside, are one sample.
//!
//! `KEY.jpg` (or another picture) with `KEY.txt`, a caption a line, or with the field `caption` of `KEY.json`: what
//! img2dataset writes with `--output_format webdataset`. A sample without a picture is left out.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::caption_groups::cleaned_caption;
use super::shards::{has_shards, shards};
use super::{Dataset, DatasetImage, Split, name_from_path};
use crate::error::{Error, Result};
use crate::pictures::image_files::has_image_extension;
use crate::pictures::tar_archive;

/// Whether `path` is an archive, or a folder with archives in it.
pub(super) fn is_webdataset(path: &Path) -> bool {
    has_shards(path, tar_archive::is_archive)
}

/// Reads the archive, or all archives of the folder.
pub(super) fn read(path: &Path) -> Result<Dataset> {
    let mut images = Vec::new();
    for shard in shards(path, tar_archive::is_archive)? {
        read_shard(&shard, &mut images)?;
    }
    Ok(Dataset { name: name_from_path(path), images_directory: path.to_owned(), images })
}

fn read_shard(shard: &Path, images: &mut Vec<DatasetImage>) -> Result<()> {
    let directory = tar_archive::directory(shard)?;
    // Each sample's picture and the entry that holds its caption, in the archive's order.
    let mut samples: Vec<(Option<&str>, Option<&str>)> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    for name in &directory.names {
        let Some((key, ending)) = split_key(name) else { continue };
        let position = *positions.entry(key).or_insert_with(|| {
            samples.push((None, None));
            samples.len() - 1
        });
        let Some((picture, caption)) = samples.get_mut(position) else { continue };
        match ending.to_ascii_lowercase().as_str() {
            // A plain text is the caption, whatever else is told beside it.
            "txt" => *caption = Some(name),
            "json" if caption.is_none() => *caption = Some(name),
            _ if has_image_extension(Path::new(name)) => *picture = Some(name),
            _ => {}
        }
    }
    for sample in samples {
        let (Some(picture), text) = sample else { continue };
        images.push(DatasetImage {
            id: images.len() as u64,
            path: shard.join(picture),
            split: Split::Unassigned,
            captions: text.map_or_else(|| Ok(Vec::new()), |text| captions_of(shard, text))?,
        });
    }
    Ok(())
}

fn is_json(entry: &str) -> bool {
    Path::new(entry).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"))
}

/// A name up to the first dot of its last part, and what follows.
fn split_key(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name.get(start..)?.find('.')?;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

fn captions_of(shard: &Path, entry: &str) -> Result<Vec<String>> {
    let content = tar_archive::read(shard, entry)?;
    let broken = |expected: &str, found: String| Error::Dataset {
        path: shard.to_owned(),
        location: entry.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let text = String::from_utf8(content).map_err(|error| broken("UTF-8 text", error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let cleaned = |caption: &str| cleaned_caption(caption, shard, || entry.to_owned());
    if !is_json(entry) {
        // A line is a caption, as in the text beside a picture in a folder; blank lines are none.
        return Ok(text.lines().filter(|line| !line.trim().is_empty()).filter_map(cleaned).collect());
    }
    let value: Value = serde_json::from_str(text).map_err(|error| broken("JSON", error.to_string()))?;
    let caption = value.get("caption").and_then(Value::as_str);
    Ok(caption.and_then(cleaned).into_iter().collect())
}
