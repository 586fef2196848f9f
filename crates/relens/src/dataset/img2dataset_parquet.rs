//! Parquet files with the pictures inside, as img2dataset writes them with `--output_format parquet`.
//!
//! One file, or all files of a folder. A sample whose download failed is left out.

use std::path::Path;

use super::caption_groups::cleaned_caption;
use super::shards::{has_shards, shards};
use super::{Dataset, DatasetImage, Split, name_from_path};
use crate::error::Result;
use crate::pictures::parquet_archive;

/// Whether `path` is a Parquet file, or a folder with some in it and no archives of another kind.
pub(super) fn is_parquet(path: &Path) -> bool {
    has_shards(path, parquet_archive::is_archive)
}

/// Reads the file, or all files of the folder.
pub(super) fn read(path: &Path) -> Result<Dataset> {
    let mut images = Vec::new();
    for shard in shards(path, parquet_archive::is_archive)? {
        for (name, caption) in &parquet_archive::directory(&shard)?.samples {
            let caption = caption.as_deref().and_then(|text| cleaned_caption(text, &shard, || name.clone()));
            images.push(DatasetImage {
                id: images.len() as u64,
                path: shard.join(name),
                split: Split::Unassigned,
                captions: caption.into_iter().collect(),
            });
        }
    }
    Ok(Dataset { name: name_from_path(path), images_directory: path.to_owned(), images })
}
