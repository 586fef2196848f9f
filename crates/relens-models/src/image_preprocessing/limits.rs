//! How large an image may be, and the reading of files within that.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use image::Limits;

use crate::{ModelError, Result, regular_file};

/// Working memory that a decoder may use beside the picture itself.
const DECODER_OVERHEAD_BYTES: u64 = 64 << 20;

/// The widest pixel that a decoder hands out: four channels of 16 bits, twice for its own copy.
const BYTES_PER_PIXEL: u64 = 16;

/// Pixels where nothing else was set.
const DEFAULT_PIXELS: u64 = 100_000_000;

/// Pixels of this process.
static PROCESS_PIXELS: AtomicU64 = AtomicU64::new(DEFAULT_PIXELS);

/// How large a picture may be. What exceeds a limit is refused before memory is set aside for it.
///
/// Decoding one picture takes at most 16 bytes a pixel of the limit, and 64 MiB, beside the file itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width × height of what is decoded. Default: 100 million. A larger JPEG is decoded at a half, a quarter or an eighth
    /// of its sides.
    pub max_pixels: u64,
    /// Size of the file. Default: 512 MiB.
    pub max_file_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: DEFAULT_PIXELS, max_file_bytes: 512 << 20 }
    }
}

/// Why a picture is not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is broken, or of a kind that is not read.
    Malformed(String),
    /// Its width and height are beyond the limits.
    TooLarge(u64, u64),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Malformed(reason.to_owned())
    }
}

impl Refusal {
    /// The error for the picture `source_name`; `format` is a format's name and a colon, or nothing.
    pub(super) fn into_error(self, source_name: &str, format: &str, limits: &DecodeLimits) -> ModelError {
        match self {
            Self::Malformed(reason) => refused(source_name, &format!("{format}{reason}")),
            Self::TooLarge(width, height) => ModelError::ImageTooLarge {
                source_name: source_name.to_owned(),
                max_pixels: limits.max_pixels,
                width,
                height,
            },
        }
    }
}

impl DecodeLimits {
    /// The limits of all decoding of this process for which the caller names none.
    pub fn of_process() -> Self {
        Self { max_pixels: PROCESS_PIXELS.load(Ordering::Relaxed), ..Self::default() }
    }

    /// Sets `max_pixels` of [`DecodeLimits::of_process`]: what a person set for this computer, once, at the start.
    pub fn set_pixels_of_process(max_pixels: u64) {
        PROCESS_PIXELS.store(max_pixels, Ordering::Relaxed);
    }

    pub(super) fn check_dimensions(&self, width: u64, height: u64) -> Result<(), Refusal> {
        if width == 0 || height == 0 {
            return Err(format!("expected at least one pixel, found {width} × {height}").into());
        }
        match self.allow(width, height) {
            true => Ok(()),
            false => Err(Refusal::TooLarge(width, height)),
        }
    }

    pub(super) fn allow(&self, width: u64, height: u64) -> bool {
        width.saturating_mul(height) <= self.max_pixels
    }

    /// What decoding may set aside, in bytes.
    pub(super) fn max_memory(&self) -> u64 {
        self.max_pixels.saturating_mul(BYTES_PER_PIXEL).saturating_add(DECODER_OVERHEAD_BYTES)
    }

    pub(super) fn for_decoder(&self) -> Limits {
        let mut limits = Limits::default();
        limits.max_alloc = Some(self.max_memory());
        limits
    }
}

/// The content of a file, if it is a file and within the limits.
pub(super) fn read_within(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>> {
    match regular_file::read_at_most(path, limits.max_file_bytes) {
        Err(error) if error.kind() == ErrorKind::FileTooLarge => {
            let length = fs_err::metadata(path)?.len();
            Err(file_too_large(&path.to_string_lossy(), length, limits))
        }
        Err(error) if error.kind() == ErrorKind::InvalidInput => {
            Err(refused(&path.to_string_lossy(), "expected a file, found a directory, a pipe or a device"))
        }
        read => Ok(read?),
    }
}

pub(super) fn refused(source_name: &str, reason: &str) -> ModelError {
    ModelError::Image { source_name: source_name.to_string(), reason: reason.to_string() }
}

pub(super) fn file_too_large(source_name: &str, bytes: u64, limits: &DecodeLimits) -> ModelError {
    refused(source_name, &format!("expected at most {} bytes, found {bytes}", limits.max_file_bytes))
}
