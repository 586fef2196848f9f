//! How large an image may be, and the reading of files within that.

use std::io::ErrorKind;
use std::path::Path;

use image::Limits;

use crate::{ModelError, Result, regular_file};

/// Working memory that a decoder may use beside the picture itself.
const DECODER_OVERHEAD_BYTES: u64 = 64 << 20;

/// The widest pixel that a decoder hands out: four channels of 16 bits, twice for its own copy.
const BYTES_PER_PIXEL: u64 = 16;

/// How large a picture may be. What exceeds a limit is refused before memory is set aside for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width × height. Default: 100 million.
    pub max_pixels: u64,
    /// Size of the file. Default: 512 MiB.
    pub max_file_bytes: u64,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { max_pixels: 100_000_000, max_file_bytes: 512 << 20 }
    }
}

impl DecodeLimits {
    pub(super) fn check_dimensions(&self, width: u64, height: u64) -> Result<(), String> {
        if width == 0 || height == 0 {
            return Err(format!("expected at least one pixel, found {width} × {height}"));
        }
        if width.saturating_mul(height) > self.max_pixels {
            return Err(format!("expected at most {} pixels, found {width} × {height}", self.max_pixels));
        }
        Ok(())
    }

    pub(super) fn for_decoder(&self) -> Limits {
        let mut limits = Limits::default();
        let image = self.max_pixels.saturating_mul(BYTES_PER_PIXEL);
        limits.max_alloc = Some(image.saturating_add(DECODER_OVERHEAD_BYTES));
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
            Err(refused(&path.to_string_lossy(), "expected a file, found a directory or a device"))
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
