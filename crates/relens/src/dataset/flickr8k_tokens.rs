//! `Flickr8k.token.txt` (and Flickr30k's `results.token`): `NAME.jpg#0<TAB>caption` a line.
//!
//! Lists of names beside it (`Flickr_8k.trainImages.txt`, `…devImages.txt`, `…testImages.txt`) give the splits.

use std::collections::HashMap;
use std::path::Path;

use super::caption_groups::{CaptionGroups, cleaned_caption};
use super::text_lines::{broken_line, excerpt, for_each_line};
use super::{Dataset, Split, name_from_path};
use crate::error::Result;

/// The picture's name and the caption of a line, or `None` if it is no such line.
pub(super) fn parse_line(line: &str) -> Option<(&str, &str)> {
    let (token, caption) = line.split_once('\t')?;
    let (image, number) = token.rsplit_once('#')?;
    let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    (numbered && !image.is_empty()).then_some((image, caption))
}

/// Reads the file, and the split lists that lie beside it.
pub(super) fn read(annotations: &Path, images_directory: &Path) -> Result<Dataset> {
    let mut groups = CaptionGroups::default();
    for_each_line(annotations, |number, line| {
        let (image, caption) = parse_line(line).ok_or_else(|| {
            broken_line(annotations, number, "NAME#NUMBER, a tab, a caption", &excerpt(line))
        })?;
        groups.add(image, cleaned_caption(caption, annotations, || format!("line {number}")));
        Ok(())
    })?;
    let splits = split_lists(annotations)?;
    let split_of = |image: &str| splits.get(image).cloned().unwrap_or(Split::Unassigned);
    Ok(Dataset {
        name: name_from_path(annotations),
        images_directory: images_directory.to_owned(),
        images: groups.into_images(images_directory, split_of),
    })
}

/// The split of every picture named in the lists beside the annotations.
fn split_lists(annotations: &Path) -> Result<HashMap<String, Split>> {
    let mut splits = HashMap::new();
    let directory = annotations.parent().filter(|parent| !parent.as_os_str().is_empty());
    for entry in fs_err::read_dir(directory.unwrap_or(Path::new(".")))? {
        let path = entry?.path();
        let Some(split) = split_of_list(&path) else { continue };
        for_each_line(&path, |number, line| match splits.insert(line.trim().to_owned(), split.clone()) {
            Some(other) if other != split => Err(broken_line(
                &path,
                number,
                &format!("names of split {split} only"),
                &format!("{}, which is also in split {other}", line.trim()),
            )),
            _ => Ok(()),
        })?;
    }
    Ok(splits)
}

fn split_of_list(path: &Path) -> Option<Split> {
    let name = path.file_name()?.to_str()?.strip_suffix("Images.txt")?;
    [("train", Split::Train), ("dev", Split::Val), ("val", Split::Val), ("test", Split::Test)]
        .into_iter()
        .find_map(|(suffix, split)| name.ends_with(suffix).then_some(split))
}
