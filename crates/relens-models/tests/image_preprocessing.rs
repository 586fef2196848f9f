//! Pictures against Pillow and open_clip (`tools/reference/image_preprocessing.py`), and pictures meant to hurt.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reference;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use reference::{fixture, texture};
use relens_models::ModelError;
use relens_models::image_preprocessing::{
    DecodeLimits, ImageSize, Interpolation, PreprocessConfig, Preprocessor, ResizeMode, SourceRegion,
    decode_image, decode_image_bytes, resize, resize_region,
};
use safetensors::SafeTensors;

/// Mean and greatest absolute difference of two pictures' levels.
fn difference(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
    assert_eq!(ours.len(), theirs.len());
    let differences = ours.iter().zip(theirs).map(|(our, their)| our.abs_diff(*their));
    let total: u64 = differences.clone().map(u64::from).sum();
    (total as f64 / ours.len() as f64, differences.max().unwrap_or(0))
}

fn decode(bytes: &[u8]) -> Result<RgbImage, ModelError> {
    decode_image_bytes(bytes, "test picture", &DecodeLimits::default())
}

fn dimensions(text: &str) -> (u32, u32) {
    let (first, second) = text.split_once('x').unwrap();
    (first.parse().unwrap(), second.parse().unwrap())
}

#[test]
fn resizing_equals_pillows() {
    let file = fixture("image_resize.safetensors");
    let golden = SafeTensors::deserialize(&file).unwrap();
    let mut compared = 0;
    for (name, view) in golden.tensors() {
        let resized = if name == "region" {
            let region = SourceRegion { left: 10.5, top: 7.25, width: 60.25, height: 42.75 };
            resize_region(&texture(97, 61, 1), region, 31, 29, Interpolation::Bicubic).unwrap()
        } else {
            let parts: Vec<_> = name.split('.').collect();
            let [filter, source, target] = parts[..] else { panic!("{name}") };
            let interpolation: Interpolation = serde_json::from_value(filter.into()).unwrap();
            let (width, height) = dimensions(source);
            let picture = texture(width, height, 1);
            let (width, height) = dimensions(target);
            resize(&picture, width, height, interpolation).unwrap()
        };
        let (mean, greatest) = difference(&resized, view.data());
        assert!(mean < 0.06 && greatest <= 1, "{name}: mean {mean}, greatest {greatest}");
        compared += 1;
    }
    assert_eq!(compared, 28);
}

#[test]
fn preprocessing_equals_open_clips() {
    let file = fixture("image_preprocess.safetensors");
    let golden = SafeTensors::deserialize(&file).unwrap();
    assert_eq!(golden.len(), 24);
    for (name, view) in golden.tensors() {
        let parts: Vec<_> = name.split('.').collect();
        let [mode, source, size] = parts[..] else { panic!("{name}") };
        let (width, height) = dimensions(source);
        let (target_height, target_width) = dimensions(size);
        let config = PreprocessConfig {
            size: ImageSize { height: target_height, width: target_width },
            mean: [0.5, 0.4, 0.3],
            std: [0.5, 0.25, 0.2],
            resize_mode: serde_json::from_value(mode.into()).unwrap(),
            fill_color: 9,
            ..PreprocessConfig::default()
        };
        let preprocessor = Preprocessor::new(config).unwrap();
        let batch = preprocessor.batch(&[texture(width, height, 1)]).unwrap();
        assert_eq!(batch.dims()[1..], view.shape()[..]);
        let ours = batch.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let theirs: &[f32] = &bytemuck::pod_collect_to_vec(view.data());
        let mean = ours.iter().zip(theirs).map(|(our, their)| f64::from((our - their).abs())).sum::<f64>()
            / ours.len() as f64;
        // One level is 1 / 255 / 0.2 ≈ 0.02 in the channel of the smallest deviation.
        assert!(mean < 0.001, "{name}: mean difference {mean}");
        let greatest = ours.iter().zip(theirs).map(|(our, their)| (our - their).abs()).fold(0.0, f32::max);
        assert!(greatest < 0.02, "{name}: greatest difference {greatest}");
    }
}

#[test]
fn decoding_equals_pillows() {
    let file = fixture("image_decode.safetensors");
    let golden = SafeTensors::deserialize(&file).unwrap();
    let mut compared = 0;
    for (name, view) in golden.tensors() {
        let Some(name) = name.strip_prefix("bytes.") else { continue };
        let expected = golden.tensor(&format!("rgb.{name}")).unwrap();
        let picture = decode(view.data()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (width, height) = picture.dimensions();
        assert_eq!([height as usize, width as usize, 3], expected.shape(), "{name}");
        let (mean, greatest) = difference(&picture, expected.data());
        let lossless = !name.starts_with("jpeg") && name != "webp_lossy";
        let (mean_limit, greatest_limit) = if lossless { (0.0, 0) } else { (0.5, 4) };
        assert!(mean <= mean_limit && greatest <= greatest_limit, "{name}: mean {mean}, greatest {greatest}");
        compared += 1;
    }
    assert_eq!(compared, 32);
}

#[test]
fn photographs_are_decoded_and_resized_like_pillows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gallery");
    let file = fixture("image_gallery.safetensors");
    let golden = SafeTensors::deserialize(&file).unwrap();
    let mut compared = 0;
    for (name, view) in golden.tensors() {
        let Some((part, name)) = name.split_once('.') else { panic!("{name}") };
        let picture = decode_image(folder.join(format!("{name}.jpg"))).unwrap();
        let ours = if part == "rows" {
            picture.rows().step_by(64).flat_map(|row| row.flat_map(|pixel| pixel.0)).collect()
        } else {
            resize(&picture, 64, 64, Interpolation::Bicubic).unwrap().into_raw()
        };
        let (mean, greatest) = difference(&ours, view.data());
        println!("{part} of {name}: mean difference {mean:.3}, greatest {greatest}");
        assert!(mean <= 0.5 && greatest <= 8, "{part} of {name}: mean {mean}, greatest {greatest}");
        compared += 1;
    }
    assert_eq!(compared, 16);
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    texture(64, 48, 1).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn truncated_pictures_are_refused() {
    let formats =
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif, ImageFormat::WebP, ImageFormat::Bmp];
    for format in formats {
        let whole = encoded(format);
        assert!(decode(&whole).is_ok(), "{format:?}");
        for keep in [whole.len() / 4, whole.len() / 2, whole.len() * 3 / 4] {
            let error = decode(&whole[..keep]).expect_err(&format!("{format:?}, {keep} bytes"));
            assert!(error.to_string().starts_with("test picture: "), "{error}");
        }
    }
}

#[test]
fn a_truncated_progressive_jpeg_is_refused() {
    let file = fixture("image_decode.safetensors");
    let golden = SafeTensors::deserialize(&file).unwrap();
    let whole = golden.tensor("bytes.jpeg_progressive").unwrap();
    assert!(decode(&whole.data()[..whole.data().len() * 2 / 3]).is_err());
}

#[test]
fn a_jpeg_that_lacks_only_its_end_marker_is_read() {
    let whole = encoded(ImageFormat::Jpeg);
    let picture = decode(&whole).unwrap();
    let without_end = decode(&whole[..whole.len() - 2]).unwrap();
    assert_eq!(difference(&picture, &without_end).1, 0);
}

#[test]
fn what_is_no_picture_is_refused() {
    let empty = decode(&[]).unwrap_err().to_string();
    assert_eq!(empty, "test picture: expected a picture, found an empty file");
    let text = decode(b"certainly not a picture").unwrap_err().to_string();
    assert_eq!(text, "test picture: not a picture in a format that can be read");
}

#[test]
fn every_prefix_and_every_flipped_byte_is_survived() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Gif] {
        let whole = encoded(format);
        for length in (0..whole.len()).step_by(1 + whole.len() / 64) {
            let _ = decode(&whole[..length]);
        }
        for position in (0..whole.len()).step_by(1 + whole.len() / 128) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0xFF;
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn decompression_bombs_are_refused_by_their_header() {
    let mut bomb = encoded(ImageFormat::Png);
    // Width and height of the header chunk, and its checksum, so that only the size is wrong.
    bomb[16..24].copy_from_slice(&[0, 0, 0x7F, 0xFF, 0, 0, 0x7F, 0xFF]);
    let checksum = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&checksum.to_be_bytes());
    let message = decode(&bomb).unwrap_err().to_string();
    assert!(message.contains("expected at most 100000000 pixels, found 32767 × 32767"), "{message}");
    assert!(message.contains("max_megapixels"), "{message}");

    let mut bomb = encoded(ImageFormat::Jpeg);
    let frame = bomb.windows(2).position(|bytes| bytes == [0xFF, 0xC0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xFE, 0xFF, 0xFE]);
    // At an eighth of its sides it is within the limit, and breaks off.
    let message = decode(&bomb).unwrap_err().to_string();
    assert!(message.contains("truncated"), "{message}");
    let small = DecodeLimits { max_pixels: 60_000_000, ..DecodeLimits::default() };
    let message = decode_image_bytes(&bomb, "bomb", &small).unwrap_err().to_string();
    assert!(message.contains("expected at most 60000000 pixels, found 65534 × 65534"), "{message}");
}

#[test]
fn a_jpeg_beyond_the_limit_is_decoded_at_a_part_of_its_size() {
    let mut bytes = Vec::new();
    let whole = texture(640, 484, 5);
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(&whole).unwrap();
    let decoded = decode(&bytes).unwrap();
    for (max_pixels, part) in [(640 * 484 - 1, 2), (320 * 242 - 1, 4), (160 * 121 - 1, 8)] {
        let limits = DecodeLimits { max_pixels, ..DecodeLimits::default() };
        let reduced = decode_image_bytes(&bytes, "x.jpg", &limits).unwrap();
        assert_eq!(reduced.dimensions(), (640 / part, 484u32.div_ceil(part)));
        // What it shows is what the whole picture shows: blocks of pixels have the same mean.
        let apart = reduced.enumerate_pixels().map(|(x, y, pixel)| {
            let place =
                (0..part).flat_map(|down| (0..part).map(move |right| (x * part + right, y * part + down)));
            let inside: Vec<u32> = place
                .filter(|&(x, y)| x < 640 && y < 484)
                .map(|(x, y)| u32::from(decoded[(x, y)][1]))
                .collect();
            u32::from(pixel[1]).abs_diff(inside.iter().sum::<u32>() / inside.len() as u32)
        });
        let apart = f64::from(apart.sum::<u32>()) / f64::from(reduced.width() * reduced.height());
        assert!(apart < 6.0, "1/{part}: {apart}");
    }
    let tiny = DecodeLimits { max_pixels: 80 * 61 - 1, ..DecodeLimits::default() };
    assert!(decode_image_bytes(&bytes, "x.jpg", &tiny).is_err());
    let half = DecodeLimits { max_pixels: 320 * 242, ..DecodeLimits::default() };
    for cut in [bytes.len() / 2, bytes.len() - 40] {
        assert!(decode_image_bytes(&bytes[..cut], "x.jpg", &half).is_err(), "cut at {cut}");
    }
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |state, &byte| {
        (0..8).fold(state ^ u32::from(byte), |state, _| {
            if state & 1 == 1 { (state >> 1) ^ 0xEDB8_8320 } else { state >> 1 }
        })
    })
}

#[test]
fn limits_are_the_callers() {
    let bytes = encoded(ImageFormat::Png);
    let pixels = DecodeLimits { max_pixels: 64 * 48 - 1, ..DecodeLimits::default() };
    assert!(decode_image_bytes(&bytes, "x.png", &pixels).is_err());
    let pixels = DecodeLimits { max_pixels: 64 * 48, ..DecodeLimits::default() };
    assert!(decode_image_bytes(&bytes, "x.png", &pixels).is_ok());
    let size = DecodeLimits { max_file_bytes: 100, ..DecodeLimits::default() };
    let message = decode_image_bytes(&bytes, "x.png", &size).unwrap_err().to_string();
    assert_eq!(message, format!("x.png: expected at most 100 bytes, found {}", bytes.len()));
}

#[test]
fn the_content_tells_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("really-a-png.jpg");
    fs_err::write(&path, encoded(ImageFormat::Png)).unwrap();
    assert_eq!(decode_image(&path).unwrap(), texture(64, 48, 1));

    fs_err::write(&path, b"").unwrap();
    let message = decode_image(&path).unwrap_err().to_string();
    assert!(message.contains("really-a-png.jpg") && message.contains("empty"), "{message}");

    let message = decode_image(folder.path().join("missing.jpg")).unwrap_err().to_string();
    assert!(message.contains("missing.jpg"), "{message}");
    assert!(decode_image(folder.path()).is_err());
}

#[test]
fn a_picture_of_the_towers_size_is_left_alone() {
    let picture = texture(32, 32, 1);
    for resize_mode in [ResizeMode::Squash, ResizeMode::Shortest, ResizeMode::Longest] {
        let config =
            PreprocessConfig { size: ImageSize::square(32), resize_mode, ..PreprocessConfig::default() };
        let preprocessor = Preprocessor::new(config).unwrap();
        let fitted = preprocessor.fit(&picture).unwrap();
        assert!(std::ptr::eq(fitted.as_ref(), &raw const picture));
    }
}

#[test]
fn pictures_of_extreme_shape_are_fitted() {
    for (width, height) in [(1, 1), (1, 20_000), (20_000, 1), (3, 2)] {
        for resize_mode in [ResizeMode::Squash, ResizeMode::Shortest, ResizeMode::Longest] {
            let config =
                PreprocessConfig { size: ImageSize::square(16), resize_mode, ..PreprocessConfig::default() };
            let preprocessor = Preprocessor::new(config).unwrap();
            let fitted = preprocessor.fit(&RgbImage::new(width, height)).unwrap().dimensions();
            assert_eq!(fitted, (16, 16));
        }
    }
    let preprocessor = Preprocessor::new(PreprocessConfig::default()).unwrap();
    assert!(preprocessor.batch(&[RgbImage::new(0, 5)]).is_err());
}
