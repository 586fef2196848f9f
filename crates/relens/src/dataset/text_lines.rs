//! Lines of a text file, with their numbers, refused if they are not UTF-8.

use std::io::{BufRead, BufReader};
use std::path::Path;

use relens_models::regular_file;

use crate::error::{Error, Result};

/// Longest line that is read: no caption is longer, and a binary file without line ends must not fill the memory.
const LONGEST_LINE: u64 = 16 << 20;

/// Calls `visit` with the number (from 1) and the text of every line that is not blank, without its line end.
///
/// # Errors
/// [`Error::Dataset`] with the line's number if it is too long or not UTF-8, and whatever `visit` returns.
pub(crate) fn for_each_line(path: &Path, mut visit: impl FnMut(usize, &str) -> Result<()>) -> Result<()> {
    let mut reader = BufReader::new(regular_file::open(path)?);
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        if std::io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
        if bytes.len() as u64 == LONGEST_LINE {
            return Err(broken_line(path, number, "a line of at most 16 MiB", "a longer one"));
        }
        // Excel and some exporters put a byte-order mark before the first line.
        let line =
            if number == 1 { bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes) } else { &bytes[..] };
        let line = std::str::from_utf8(line).map_err(|error| {
            broken_line(
                path,
                number,
                "UTF-8 text",
                &format!("other bytes at column {}", error.valid_up_to() + 1),
            )
        })?;
        let line = line.trim_end_matches(['\n', '\r']);
        if !line.trim().is_empty() {
            visit(number, line)?;
        }
    }
    Ok(())
}

/// The error of a line that is not what its format says.
pub(crate) fn broken_line(path: &Path, number: usize, expected: &str, found: &str) -> Error {
    Error::Dataset {
        path: path.to_owned(),
        location: format!("line {number}"),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}

/// The beginning of outside text, fit for an error message: control characters escaped, at most 60 characters.
pub(crate) fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect::<String>().escape_debug().collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
