//! Which format a file is in, told from its content.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use relens_models::regular_file;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::text_lines::excerpt;
use super::{clip_benchmark_csv, flickr8k_tokens, img2dataset_parquet, json, webdataset};
use crate::error::{Error, Result};

/// How much of the first line is looked at; one line of JSON Lines with many captions fits.
const LONGEST_FIRST_LINE: u64 = 1 << 20;

/// The formats that [`Dataset::open`](super::Dataset::open) reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetFormat {
    /// Karpathy's JSON (Flickr8k, Flickr30k, COCO).
    Karpathy,
    /// `Flickr8k.token.txt`.
    Flickr8kTokens,
    /// COCO captions JSON.
    CocoCaptions,
    /// clip_benchmark's CSV.
    ClipBenchmarkCsv,
    /// JSON Lines with `image` and `captions`.
    JsonLines,
    /// A folder of pictures.
    Folder,
    /// Parquet with the pictures inside, or a folder of such files.
    Parquet,
    /// webdataset: tar archives, or a folder of them.
    WebDataset,
}

impl DatasetFormat {
    /// Every format.
    pub const ALL: [Self; 8] = [
        Self::Karpathy,
        Self::Flickr8kTokens,
        Self::CocoCaptions,
        Self::ClipBenchmarkCsv,
        Self::JsonLines,
        Self::Folder,
        Self::Parquet,
        Self::WebDataset,
    ];

    /// Tells the format of a file, or of a folder, from its content.
    ///
    /// # Errors
    /// [`Error::UnknownDatasetFormat`] with the file's beginning if none fits.
    pub fn detect(path: &Path) -> Result<Self> {
        let is_directory = fs_err::metadata(path)?.is_dir();
        if webdataset::is_webdataset(path) {
            return Ok(Self::WebDataset);
        }
        // img2dataset writes a table beside every tar: where there are tars, they hold the pictures.
        if img2dataset_parquet::is_parquet(path) {
            return Ok(Self::Parquet);
        }
        if is_directory {
            return Ok(Self::Folder);
        }
        let first = first_line(path)?;
        if first.trim_start().starts_with('{') {
            if serde_json::from_str::<ImageLine>(&first).is_ok() {
                return Ok(Self::JsonLines);
            }
            return Self::detect_json(path);
        }
        if flickr8k_tokens::parse_line(&first).is_some() {
            return Ok(Self::Flickr8kTokens);
        }
        if clip_benchmark_csv::parse_header(&first).is_some() {
            return Ok(Self::ClipBenchmarkCsv);
        }
        Err(unknown(path, if first.is_empty() { "an empty first line".to_owned() } else { excerpt(&first) }))
    }

    fn detect_json(path: &Path) -> Result<Self> {
        let reader = json::unmarked(regular_file::open(path)?)?;
        let keys: TopLevelKeys = serde_json::from_reader(reader)
            .map_err(|error| unknown(path, format!("broken JSON ({error})")))?;
        match (keys.images, keys.annotations) {
            (Some(_), Some(_)) => Ok(Self::CocoCaptions),
            (Some(_), None) => Ok(Self::Karpathy),
            (None, _) => Err(unknown(path, "a JSON object without `images`".to_owned())),
        }
    }
}

impl fmt::Display for DatasetFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Karpathy => "Karpathy JSON",
            Self::Flickr8kTokens => "Flickr8k.token.txt",
            Self::CocoCaptions => "COCO captions JSON",
            Self::ClipBenchmarkCsv => "clip_benchmark CSV",
            Self::JsonLines => "JSON Lines with `image` and `captions`",
            Self::Folder => "a folder of pictures",
            Self::Parquet => "Parquet with pictures (img2dataset)",
            Self::WebDataset => "webdataset tar archives",
        })
    }
}

/// What tells the JSON formats apart; skipped values take no memory, however large the file.
#[derive(Deserialize)]
struct TopLevelKeys {
    images: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct ImageLine {
    #[serde(rename = "image")]
    _image: String,
}

/// The first line, as far as it is UTF-8, without its end.
pub(super) fn first_line(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = regular_file::open(path)?;
    BufReader::new(file.take(LONGEST_FIRST_LINE)).read_until(b'\n', &mut bytes)?;
    let line = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)).into_owned();
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn unknown(path: &Path, found: String) -> Error {
    let formats = DatasetFormat::ALL.map(|format| format.to_string());
    Error::UnknownDatasetFormat {
        path: path.to_owned(),
        expected: format!("one of: {}", formats.join("; ")),
        found,
    }
}
