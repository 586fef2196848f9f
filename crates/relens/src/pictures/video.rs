//! Videos: a few of their frames, spread evenly, whose mean embedding is the video's.
//!
//! A video is a folder of frames (any directory that is named explicitly; while a library is filled, one whose name
//! ends in `.frames`), an animated GIF or WebP, or a file in another container, which the program `ffmpeg` is asked to
//! take apart. [`FRAMES`] frames are taken, as in the protocol of MSR-VTT (Luo et al., "CLIP4Clip", 2022).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use relens_models::image_preprocessing::{
    DecodeLimits, RgbImage, decode_animation, decode_image, decode_image_bytes, uniform_positions,
};
use relens_models::regular_file;

use crate::error::{Error, Result};
use crate::pictures::formats::PictureFormat;
use crate::pictures::image_files::has_image_extension;
use crate::pictures::{archive, external_program, heif, raw_preview};

/// How many frames are looked at.
pub const FRAMES: usize = 12;

/// The ending of a folder's name that makes it a video while a library is filled.
pub const FRAMES_EXTENSION: &str = "frames";

/// Endings of files that `ffmpeg` is asked about.
const CONTAINERS: [&str; 14] =
    ["3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ogv", "ts", "webm", "wmv"];

/// What to do without `ffmpeg`.
const REMEDY: &str = "install it, or give a folder of frames, an animated GIF or an animated WebP";

/// Frames a second where the length of a video is not told.
const UNKNOWN_LENGTH_RATE: f64 = 1.0;

/// Whether the file's ending is one of the containers that `ffmpeg` reads.
pub fn is_container(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    CONTAINERS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// The endings of containers, lower case.
pub(crate) fn container_endings() -> impl Iterator<Item = &'static str> {
    CONTAINERS.into_iter()
}

/// The video that a name without an ending means: a folder of frames, an animation or a container, whichever is there.
pub(crate) fn with_extension(path: &Path) -> Option<PathBuf> {
    if path.exists() {
        return None;
    }
    let endings = CONTAINERS.iter().copied().chain([FRAMES_EXTENSION, "gif", "webp"]);
    endings.map(|ending| path.with_extension(ending)).find(|candidate| candidate.exists())
}

/// Whether a directory of this name is one video, not a directory of pictures.
pub(crate) fn is_frames_directory(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(FRAMES_EXTENSION))
}

/// The frames to embed of a video; of a picture, which may lie in an archive, the picture alone.
///
/// # Errors
/// The file cannot be read, a folder holds no pictures, or a container is met and `ffmpeg` is not there or fails.
pub fn read_frames(path: &Path) -> Result<Vec<RgbImage>> {
    if path.is_dir() {
        return frames_in(path);
    }
    match PictureFormat::of(path) {
        Some(PictureFormat::Video) => return frames_by_ffmpeg(path),
        Some(PictureFormat::Heif) if path.exists() => return Ok(vec![heif::read(path)?]),
        Some(PictureFormat::Raw) if path.exists() => return Ok(vec![raw_preview::read(path)?]),
        _ => {}
    }
    if let Some(content) = archive::read(path)? {
        return Ok(vec![decode_image_bytes(&content, &path.to_string_lossy(), &DecodeLimits::of_process())?]);
    }
    match decode_animation(path, FRAMES, &DecodeLimits::of_process())? {
        Some(frames) => Ok(frames),
        None => Ok(vec![decode_image(path)?]),
    }
}

/// Pictures of a folder in the order of their names, spread evenly.
fn frames_in(directory: &Path) -> Result<Vec<RgbImage>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs_err::read_dir(directory)? {
        let path = entry?.path();
        if has_image_extension(&path) {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(refused(directory, "expected a folder of frames, found no pictures in it"));
    }
    files.sort();
    let chosen =
        uniform_positions(files.len(), FRAMES).into_iter().filter_map(|position| files.get(position));
    chosen.map(|file| Ok(decode_image(file)?)).collect()
}

fn frames_by_ffmpeg(path: &Path) -> Result<Vec<RgbImage>> {
    regular_file::open(path)?;
    // With the protocol before it, no name can be taken for an option or an address.
    let mut input = OsString::from("file:");
    input.push(path);
    let mut asking = Command::new("ffmpeg");
    let messages =
        external_program::run(asking.args(["-nostdin", "-hide_banner", "-i"]).arg(&input), path, REMEDY)?
            .messages;
    let rate = duration(&messages).map_or(UNKNOWN_LENGTH_RATE, |seconds| FRAMES as f64 / seconds.max(0.1));
    let directory = tempfile::tempdir()?;
    let outcome = external_program::run(
        Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-v", "error", "-i"])
            .arg(&input)
            .args(["-vf", &format!("fps={rate:.6}"), "-frames:v", &FRAMES.to_string()])
            .arg(directory.path().join("%05d.png")),
        path,
        REMEDY,
    )?;
    if !outcome.succeeded {
        return Err(refused(path, &format!("ffmpeg cannot read it: {}", outcome.messages.trim())));
    }
    frames_in(directory.path()).map_err(|_| refused(path, "ffmpeg finds no frames in it"))
}

/// The seconds of a line such as `  Duration: 00:01:02.50, start: 0.000000, bitrate: 1205 kb/s`.
fn duration(messages: &str) -> Option<f64> {
    let text = messages.lines().find_map(|line| line.trim().strip_prefix("Duration: "))?.split(',').next()?;
    let seconds = text.split(':').try_fold(0.0, |sum, part| Some(60.0 * sum + part.parse::<f64>().ok()?))?;
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

fn refused(path: &Path, reason: &str) -> Error {
    Error::Video { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_read_from_what_ffmpeg_tells() {
        assert_eq!(duration("x\n  Duration: 00:01:02.50, start: 0.0\n"), Some(62.5));
        assert_eq!(duration("  Duration: N/A, bitrate: N/A"), None);
        assert_eq!(duration("nothing"), None);
    }

    #[test]
    fn a_folder_gives_twelve_frames_from_the_first_to_the_last() {
        let directory = tempfile::tempdir().unwrap();
        for frame in 0..30u8 {
            let picture = RgbImage::from_pixel(2, 2, [frame, 0, 0].into());
            picture.save(directory.path().join(format!("{frame:03}.png"))).unwrap();
        }
        fs_err::write(directory.path().join("notes.txt"), "not a frame").unwrap();
        let reds: Vec<u8> =
            read_frames(directory.path()).unwrap().iter().map(|frame| frame[(0, 0)][0]).collect();
        assert_eq!(reds, [0, 2, 5, 7, 10, 13, 15, 18, 21, 23, 26, 29]);
        let empty = tempfile::tempdir().unwrap();
        let message = read_frames(empty.path()).unwrap_err().to_string();
        assert!(message.contains("found no pictures"), "{message}");
    }
}
