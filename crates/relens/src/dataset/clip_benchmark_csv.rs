//! clip_benchmark's and open_clip's CSV: a header with `filepath` and `title`, tab- or comma-separated, a caption a line.
//! MSR-VTT's `video_id` and `sentence` are read, too.

use std::path::Path;

use csv::ByteRecord;
use relens_models::regular_file;

use super::caption_groups::{CaptionGroups, cleaned_caption};
use super::{Dataset, Split, name_from_path};
use crate::error::{Error, Result};
use crate::pictures::image_files::has_image_extension;
use crate::pictures::video;

/// The columns' names in the files that people have; the first is clip_benchmark's.
const IMAGE_COLUMNS: [&str; 5] = ["filepath", "image", "image_path", "file_name", VIDEO_COLUMN];
const CAPTION_COLUMNS: [&str; 5] = ["title", "caption", "text", "comment", "sentence"];
/// MSR-VTT's: the name of a video without its ending.
const VIDEO_COLUMN: &str = "video_id";

/// Where to find what in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns {
    delimiter: u8,
    image: usize,
    caption: usize,
    count: usize,
}

/// The columns that a header line names, or `None` if it is no such header.
pub(super) fn parse_header(line: &str) -> Option<Columns> {
    [b'\t', b','].into_iter().find_map(|delimiter| {
        let names: Vec<String> = line
            .trim_start_matches('\u{feff}')
            .split(char::from(delimiter))
            .map(|name| name.trim().trim_matches('"').to_ascii_lowercase())
            .collect();
        let position = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let (image, caption) = (position(&IMAGE_COLUMNS)?, position(&CAPTION_COLUMNS)?);
        Some(Columns { delimiter, image, caption, count: names.len() })
    })
}

/// Reads the file.
pub(super) fn read(annotations: &Path, images_directory: &Path) -> Result<Dataset> {
    let first = super::format::first_line(annotations)?;
    let columns = parse_header(&first).ok_or_else(|| {
        let expected = "a header with the columns filepath and title, separated by tabs or commas";
        broken(annotations, 1, expected, &super::text_lines::excerpt(&first))
    })?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(columns.delimiter)
        .flexible(true)
        .from_reader(regular_file::open(annotations)?);
    let mut groups = CaptionGroups::default();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| csv_error(annotations, error))? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != columns.count {
            record = mended(&record, &columns).ok_or_else(|| {
                let expected = format!("{} columns (a caption with a comma in it in quotes)", columns.count);
                broken(annotations, line, &expected, &record.len().to_string())
            })?;
        }
        let image = field(annotations, &record, columns.image, "a file path")?.trim();
        if image.is_empty() {
            return Err(broken(annotations, line, "the path of a picture", "an empty field"));
        }
        let caption = field(annotations, &record, columns.caption, "a caption")?;
        groups.add(image, cleaned_caption(caption, annotations, || format!("line {line}")));
    }
    let mut images = groups.into_images(images_directory, |_| Split::Unassigned);
    for image in images.iter_mut().filter(|image| image.path.extension().is_none()) {
        if let Some(path) = video::with_extension(&image.path) {
            image.path = path;
        }
    }
    Ok(Dataset { name: name_from_path(annotations), images_directory: images_directory.to_owned(), images })
}

/// A record of `path,caption` whose caption has commas in it without quotes, as clip_benchmark's own writer leaves them:
/// what follows the picture's ending is the caption.
fn mended(record: &ByteRecord, columns: &Columns) -> Option<ByteRecord> {
    if record.len() < columns.count || columns.count != 2 || columns.image != 0 {
        return None;
    }
    let joined = |fields: std::ops::Range<usize>| {
        let fields: Vec<&[u8]> = fields.filter_map(|field| record.get(field)).collect();
        fields.join(&[columns.delimiter][..])
    };
    let ends_path = |end: &usize| {
        let path = String::from_utf8_lossy(&joined(0..*end)).trim().to_owned();
        has_image_extension(Path::new(&path)) || video::is_container(Path::new(&path))
    };
    let end = (1..record.len()).find(ends_path)?;
    let mut mended = ByteRecord::from(vec![joined(0..end), joined(end..record.len())]);
    mended.set_position(record.position().cloned());
    Some(mended)
}

fn field<'r>(annotations: &Path, record: &'r ByteRecord, column: usize, expected: &str) -> Result<&'r str> {
    let line = record.position().map_or(0, csv::Position::line);
    let bytes = record.get(column).ok_or_else(|| {
        let expected = format!("{expected} in column {}", column + 1);
        broken(annotations, line, &expected, &format!("{} columns", record.len()))
    })?;
    std::str::from_utf8(bytes).map_err(|_| broken(annotations, line, "UTF-8 text", "other bytes"))
}

fn broken(annotations: &Path, line: u64, expected: &str, found: &str) -> Error {
    Error::Dataset {
        path: annotations.to_owned(),
        location: format!("line {line}"),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

fn csv_error(annotations: &Path, error: csv::Error) -> Error {
    let line = error.position().map_or(0, csv::Position::line);
    let message = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Io(error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            broken(annotations, line, &format!("{expected_len} columns"), &len.to_string())
        }
        _ => broken(annotations, line, "a CSV record", &message),
    }
}
