//! JSON files whose errors name the field.

use std::io::{BufRead, BufReader};
use std::path::Path;

use relens_models::regular_file;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Reads a whole JSON file as `T`.
///
/// # Errors
/// [`Error::Dataset`] naming the field's path (`images[12].sentences[0].raw`), line and column; [`Error::Io`].
pub(super) fn read<T: DeserializeOwned>(path: &Path, expected: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_reader(unmarked(regular_file::open(path)?)?);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| field_error(path, expected, &error))?;
    deserializer.end().map_err(|error| Error::Dataset {
        path: path.to_owned(),
        location: format!("line {}", error.line()),
        expected: "the end of the file after the JSON value".to_owned(),
        found: "more text".to_owned(),
    })?;
    Ok(value)
}

/// The file's text behind the byte-order mark that some exporters put before it.
pub(super) fn unmarked(file: fs_err::File) -> Result<impl std::io::Read> {
    let mut reader = BufReader::new(file);
    if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(reader)
}

fn field_error(path: &Path, expected: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let field = error.path().to_string();
    Error::Dataset {
        path: path.to_owned(),
        location: if field == "." { "the file".to_owned() } else { format!("field `{field}`") },
        expected: expected.to_owned(),
        found: error.inner().to_string(),
    }
}
