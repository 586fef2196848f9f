//! A plain folder of pictures; `NAME.txt` beside `NAME.jpg` may hold captions, one a line.

use std::path::Path;

use ignore::WalkBuilder;

use super::caption_groups::cleaned_caption;
use super::text_lines::for_each_line;
use super::{Dataset, DatasetImage, Split};
use crate::error::{Error, Result};
use crate::pictures::image_files::has_image_extension;

/// Reads the folder and those below it, hidden ones left out, in the order of the paths.
pub(super) fn read(directory: &Path) -> Result<Dataset> {
    let mut images = Vec::new();
    let walk = WalkBuilder::new(directory)
        .standard_filters(false)
        .hidden(true)
        .sort_by_file_path(|left, right| left.cmp(right))
        .build();
    for entry in walk {
        let entry = entry.map_err(|error| Error::Dataset {
            path: directory.to_owned(),
            location: "the folder".to_owned(),
            expected: "directories that can be read".to_owned(),
            found: error.to_string(),
        })?;
        let path = entry.path();
        if !has_image_extension(path) || !path.is_file() {
            continue;
        }
        let mut captions = Vec::new();
        let sidecar = path.with_extension("txt");
        if sidecar.is_file() {
            for_each_line(&sidecar, |number, line| {
                captions.extend(cleaned_caption(line, &sidecar, || format!("line {number}")));
                Ok(())
            })?;
        }
        let id = images.len() as u64;
        images.push(DatasetImage { id, path: path.to_owned(), split: Split::Unassigned, captions });
    }
    let name = directory.file_name().unwrap_or(directory.as_os_str()).to_string_lossy().into_owned();
    Ok(Dataset { name, images_directory: directory.to_owned(), images })
}
