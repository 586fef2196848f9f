//! Pictures as an endpoint takes them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use relens_models::regular_file;

use super::error::LlmError;
use super::settings::ImageMode;

/// The largest file that is put into a request.
const LARGEST: u64 = 20 << 20;

/// The hash of a picture's bytes.
pub(super) fn content_hash(path: &Path) -> Result<String, LlmError> {
    Ok(blake3::hash(&read(path)?).to_hex().to_string())
}

/// The address under which a picture is shown.
pub(super) fn url(path: &Path, mode: ImageMode) -> Result<String, LlmError> {
    let refuse =
        |reason: &dyn ToString| LlmError::Picture { path: path.to_owned(), reason: reason.to_string() };
    match mode {
        ImageMode::File => {
            let absolute = fs_err::canonicalize(path).map_err(|error| refuse(&error))?;
            let url = reqwest::Url::from_file_path(&absolute).map_err(|()| refuse(&"no file address"))?;
            Ok(url.to_string())
        }
        ImageMode::Data => {
            let bytes = read(path)?;
            let kind = kind(&bytes).ok_or_else(|| refuse(&"expected JPEG, PNG, GIF or WebP"))?;
            Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LlmError> {
    let refuse = |reason: String| LlmError::Picture { path: path.to_owned(), reason };
    regular_file::read_at_most(path, LARGEST).map_err(|error| refuse(error.to_string()))
}

/// The format, by the file's first bytes.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("png"),
        [b'G', b'I', b'F', b'8', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_shown_as_data_or_by_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.png");
        fs_err::write(&path, b"\x89PNG\r\n").unwrap();
        assert_eq!(url(&path, ImageMode::Data).unwrap(), "data:image/png;base64,iVBORw0K");
        let address = url(&path, ImageMode::File).unwrap();
        assert!(address.starts_with("file:///") && address.ends_with("/a%20b.png"), "{address}");
        fs_err::write(&path, "text").unwrap();
        assert!(url(&path, ImageMode::Data).unwrap_err().to_string().contains("expected JPEG"));
        assert!(content_hash(&directory.path().join("none")).is_err());
    }
}
