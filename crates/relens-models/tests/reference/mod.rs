//! Pictures and numbers that the fixtures were computed from: the same formulas as `tools/reference/texture.py`.
#![allow(dead_code, reason = "every test binary uses another part")]

pub(crate) mod efficientnet;

use std::path::PathBuf;

use image::RgbImage;

/// The generator `x -> 1664525 x + 1013904223 (mod 2^32)`, the seed left out.
pub(crate) fn linear_congruential(seed: u32) -> impl Iterator<Item = u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(next(&seed), next)
}

/// Ramps, rings and noise.
pub(crate) fn texture(width: u32, height: u32, seed: u32) -> RgbImage {
    let mut noise = linear_congruential(seed).map(|state| state >> 24);
    let mut picture = RgbImage::new(width, height);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let ramp = (x * (5 + channel) + y * 3) % 256;
                let rings = ((x * x + y * y * (channel + 1)) / 16) % 256;
                let level = (2 * ramp + rings + noise.next().unwrap()) / 4;
                picture.get_pixel_mut(x, y).0[channel as usize] = u8::try_from(level).unwrap();
            }
        }
    }
    picture
}

/// A committed fixture.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    fs_err::read(path).unwrap()
}

/// The folder of shared data, or `None` (and a message) where it is missing.
pub(crate) fn shared(part: &str) -> Option<PathBuf> {
    let beside_the_workspace = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = std::env::var_os("RELENS_SHARED").map_or_else(beside_the_workspace, PathBuf::from);
    let path = folder.join(part);
    if !path.exists() {
        eprintln!("skipped: {} is missing (RELENS_SHARED names another place)", path.display());
        return None;
    }
    Some(path)
}
