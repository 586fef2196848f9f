//! Which files may be pictures.

use std::io::Read;
use std::path::Path;

use crate::pictures::formats::PictureFormat;

/// The endings of file names that are taken for pictures, lower case.
const IMAGE_EXTENSIONS: [&str; 17] = [
    "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "gif", "webp", "bmp", "tif", "tiff", "pbm", "pgm", "pnm",
    "ppm", "qoi", "tga",
];

/// Whether a file's name ends like a picture's.
pub(crate) fn has_image_extension(path: &Path) -> bool {
    path.extension().and_then(|extension| extension.to_str()).is_some_and(|extension| {
        IMAGE_EXTENSIONS.iter().any(|candidate| extension.eq_ignore_ascii_case(candidate))
    })
}

/// Whether `path` is worth decoding: by its ending, or by its first bytes if it has no ending. Videos are.
pub(crate) fn may_be_image(path: &Path) -> bool {
    PictureFormat::of(path).is_some_and(|format| format.obstacle().is_none())
        || (path.extension().is_none() && begins_like_an_image(path))
}

fn begins_like_an_image(path: &Path) -> bool {
    let mut bytes = Vec::with_capacity(16);
    let read = std::fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut bytes));
    read.is_ok() && is_image_signature(&bytes)
}

fn is_image_signature(bytes: &[u8]) -> bool {
    const SIGNATURES: [&[u8]; 8] =
        [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"qoif"];
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    webp || SIGNATURES.iter().any(|signature| bytes.starts_with(signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_or_a_signature_makes_a_candidate() {
        let directory = tempfile::TempDir::new().unwrap();
        let candidate = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs_err::write(&path, content).unwrap();
            may_be_image(&path)
        };
        assert!(candidate("broken.JPG", b""));
        assert!(candidate("IMG_0001", b"\xff\xd8\xff\xe0 and more"));
        assert!(candidate("sticker", b"RIFF1234WEBPVP8 "));
        assert!(!candidate("README", b"Read me"));
        assert!(!candidate("sound", b"RIFF1234WAVEfmt "));
        assert!(!candidate("hidden.txt", b"\xff\xd8\xff\xe0"));
        assert!(!may_be_image(&directory.path().join("missing")));
    }
}
