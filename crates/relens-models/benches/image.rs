//! How long a picture takes: decoding, resizing, and the trunk for one picture and for a batch.

// Criterion's macros make undocumented public items; a benchmark that cannot be set up may stop with a panic.
#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

#[path = "../tests/reference/mod.rs"]
mod reference;

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, criterion_group, criterion_main};
use image::ImageFormat;
use reference::efficientnet::{lite, pictures, weights};
use reference::texture;
use relens_models::image_preprocessing::{
    DecodeLimits, Interpolation, PreprocessConfig, Preprocessor, decode_image_bytes, resize,
};
use relens_models::parameters::Parameters;
use relens_models::towers::efficientnet::EfficientNet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn preprocessing(criterion: &mut Criterion) {
    let picture = texture(500, 375, 1);
    let mut jpeg = Cursor::new(Vec::new());
    picture.write_to(&mut jpeg, ImageFormat::Jpeg).expect("JPEG holds any picture");
    let jpeg = jpeg.into_inner();
    let limits = DecodeLimits::default();
    criterion.bench_function("decode a JPEG of 500x375", |bencher| {
        bencher.iter(|| decode_image_bytes(black_box(&jpeg), "bench", &limits).expect("a valid picture"));
    });
    criterion.bench_function("resize 500x375 to 224x224, bicubic", |bencher| {
        bencher.iter(|| resize(black_box(&picture), 224, 224, Interpolation::Bicubic).expect("valid sizes"));
    });
    let preprocessor = Preprocessor::new(PreprocessConfig::default()).expect("valid by default");
    let fitting = vec![texture(224, 224, 1); 32];
    criterion.bench_function("normalise 32 pictures of 224x224", |bencher| {
        bencher.iter(|| preprocessor.batch(black_box(&fitting)).expect("valid pictures"));
    });
}

fn trunk(criterion: &mut Criterion) {
    for variant in [0, 2] {
        let config = lite(variant);
        let side = config.input_size;
        let network =
            EfficientNet::new(config.clone(), &Parameters::frozen(weights(&config))).expect("they fit");
        let mut group = criterion.benchmark_group(format!("lite{variant} at {side}x{side}"));
        for count in [1, 32] {
            let batch = pictures(side, side, count);
            group.sample_size(if count == 1 { 50 } else { 10 });
            group.bench_function(format!("{count} pictures"), |bencher| {
                bencher.iter(|| network.pooled(black_box(&batch)).expect("valid pictures"));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, preprocessing, trunk);
criterion_main!(benches);
