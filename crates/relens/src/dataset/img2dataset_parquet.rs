//! Parquet files with the pictures inside, as img2dataset writes them with `--output_format parquet`.
//!
//! One file, or all files of a folder. A sample without a caption, or whose download failed, is left out.

use std::path::{Path, PathBuf};

use super::caption_groups::cleaned_caption;
use super::{Dataset, DatasetImage, Split, name_from_path};
use crate::error::Result;
use crate::parquet_archive;

/// Whether `path` is a Parquet file, or a folder with some in it and no archives of another kind.
pub(super) fn is_parquet(path: &Path) -> bool {
    if path.is_dir() {
        shards(path).is_ok_and(|shards| !shards.is_empty())
    } else {
        parquet_archive::is_archive(path)
    }
}

/// The files of a folder by name, or the one file.
fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut shards = Vec::new();
    for entry in fs_err::read_dir(path)? {
        let path = entry?.path();
        if parquet_archive::is_archive(&path) {
            shards.push(path);
        }
    }
    shards.sort();
    Ok(shards)
}

/// Reads the file, or all files of the folder.
pub(super) fn read(path: &Path) -> Result<Dataset> {
    let mut images = Vec::new();
    for shard in shards(path)? {
        for (name, caption) in &parquet_archive::directory(&shard)?.samples {
            let caption = caption.as_deref().and_then(|text| cleaned_caption(text, &shard, || name.clone()));
            let Some(caption) = caption else { continue };
            images.push(DatasetImage {
                id: images.len() as u64,
                path: shard.join(name),
                split: Split::Unassigned,
                captions: vec![caption],
            });
        }
    }
    Ok(Dataset { name: name_from_path(path), images_directory: path.to_owned(), images })
}
