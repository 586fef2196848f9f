//! webdataset: tar archives in which entries of the same name, endings aside, are one sample.
//!
//! `KEY.jpg` (or another picture) with `KEY.txt`, or with the field `caption` of `KEY.json`: what img2dataset writes with
//! `--output_format webdataset`. A sample without a caption, or without a picture, is left out.

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
        match ending {
            // A plain text is the caption, whatever else is told beside it.
            "txt" => *caption = Some(name),
            "json" if caption.is_none() => *caption = Some(name),
            _ if has_image_extension(Path::new(name)) => *picture = Some(name),
            _ => {}
        }
    }
    for sample in samples {
        let (Some(picture), Some(caption)) = sample else { continue };
        if let Some(caption) = caption_of(shard, caption)? {
            images.push(DatasetImage {
                id: images.len() as u64,
                path: shard.join(picture),
                split: Split::Unassigned,
                captions: vec![caption],
            });
        }
    }
    Ok(())
}

/// A name up to the first dot of its last part, and what follows.
fn split_key(name: &str) -> Option<(&str, &str)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + name.get(start..)?.find('.')?;
    Some((name.get(..dot)?, name.get(dot + 1..)?))
}

fn caption_of(shard: &Path, entry: &str) -> Result<Option<String>> {
    let content = tar_archive::read(shard, entry)?;
    let broken = |expected: &str, found: String| Error::Dataset {
        path: shard.to_owned(),
        location: entry.to_owned(),
        expected: expected.to_owned(),
        found,
    };
    let text = String::from_utf8(content).map_err(|error| broken("UTF-8 text", error.to_string()))?;
    if !entry.ends_with("json") {
        return Ok(cleaned_caption(&text, shard, || entry.to_owned()));
    }
    let value: Value = serde_json::from_str(&text).map_err(|error| broken("JSON", error.to_string()))?;
    let caption = value.get("caption").and_then(Value::as_str);
    Ok(caption.and_then(|caption| cleaned_caption(caption, shard, || entry.to_owned())))
}
