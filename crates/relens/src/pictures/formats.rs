//! What a file's ending says of it: a picture that is read here, one that needs a program, one that is not read.

use std::path::Path;

use crate::pictures::image_files::has_image_extension;
use crate::pictures::{external_program, video};

/// Photographs as phones store them; libheif or a program takes them apart.
const HEIF: [&str; 4] = ["avif", "heic", "heif", "hif"];
/// Negatives of cameras: the JPEG preview inside is read.
const RAW: [&str; 11] = ["arw", "cr2", "cr3", "dng", "nef", "nrw", "orf", "pef", "raf", "rw2", "srw"];
/// Pictures in formats that are not read, and what to do about each.
const UNREAD: [(&str, &str); 13] = [
    ("ai", EXPORT),
    ("eps", EXPORT),
    ("exr", EXPORT),
    ("hdr", EXPORT),
    ("j2k", CONVERT),
    ("jp2", CONVERT),
    ("jpf", CONVERT),
    ("jxl", CONVERT),
    ("psb", EXPORT),
    ("psd", EXPORT),
    ("svg", EXPORT),
    ("svgz", EXPORT),
    ("xcf", EXPORT),
];
const EXPORT: &str = "export it as PNG or JPEG";
const CONVERT: &str = "convert it to PNG or JPEG";

/// How a file can become a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    /// A picture that is decoded here.
    Decoded,
    /// HEIC, HEIF or AVIF.
    Heif,
    /// The negative of a camera.
    Raw,
    /// A container of video.
    Video,
    /// A picture that is not read.
    Unread {
        /// What to do about it.
        remedy: &'static str,
    },
}

impl PictureFormat {
    /// What a file's ending says, if it is a picture's or a video's.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        if has_image_extension(path) {
            return Some(Self::Decoded);
        }
        if video::is_container(path) {
            return Some(Self::Video);
        }
        let ending = path.extension()?.to_str()?;
        let is = |known: &&str| ending.eq_ignore_ascii_case(known);
        if HEIF.iter().any(is) {
            return Some(Self::Heif);
        }
        if RAW.iter().any(is) {
            return Some(Self::Raw);
        }
        let (_, remedy) = UNREAD.iter().find(|(known, _)| is(known))?;
        Some(Self::Unread { remedy })
    }

    /// Why it cannot be read on this computer as it is, and what to do.
    pub(crate) fn obstacle(self) -> Option<&'static str> {
        match self {
            Self::Decoded | Self::Raw => None,
            Self::Heif if cfg!(feature = "heif") => None,
            Self::Heif => external_program::heif_decoder().is_none().then_some(
                "install `heif-convert` of libheif, or `ffmpeg`, or build relens with `--features heif`; then index again",
            ),
            Self::Video => {
                external_program::find("ffmpeg").is_none().then_some("install `ffmpeg`, and index again")
            }
            Self::Unread { remedy } => Some(remedy),
        }
    }
}

/// Whether a file's ending is a picture's or a video's, read here or not.
pub fn is_picture(path: &Path) -> bool {
    PictureFormat::of(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_what_can_be_done() {
        let format = |name: &str| PictureFormat::of(Path::new(name));
        assert_eq!(format("a.MPO"), Some(PictureFormat::Decoded));
        assert_eq!(format("a.HEIC"), Some(PictureFormat::Heif));
        assert_eq!(format("a.Nef"), Some(PictureFormat::Raw));
        assert_eq!(format("a.mp4"), Some(PictureFormat::Video));
        assert_eq!(format("a.svg").and_then(PictureFormat::obstacle), Some(EXPORT));
        assert_eq!(format("a.jpg").and_then(PictureFormat::obstacle), None);
        assert_eq!(format("a.txt"), None);
        assert_eq!(format("a"), None);
    }
}
