//! EfficientNet-Lite against timm (`tools/reference/efficientnet.py`), and its two paths against each other.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod reference;
mod support;

use candle_core::{Device, Tensor, Var};
use image::RgbImage;
use reference::efficientnet::{lite, pictures, tiny, weights};
use relens_models::image_preprocessing::decode_image;
use relens_models::ops::depthwise_conv2d;
use relens_models::parameters::Parameters;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::Weights;
use support::{assert_close, check_gradients, fixture, gradients, random, values};

fn frozen(config: EfficientNetConfig) -> EfficientNet {
    let parameters = Parameters::frozen(weights(&config));
    EfficientNet::new(config, &parameters).unwrap()
}

#[test]
fn a_small_network_equals_timms() {
    let golden = fixture("efficientnet.safetensors");
    let network = frozen(tiny());
    let pictures = pictures(45, 37, 2);
    let features = network.forward_features(&pictures).unwrap();
    assert_close("features", &features, &golden["tiny.features"], 1e-4, 0.0);
    assert_close("pooled", &network.pooled(&pictures).unwrap(), &golden["tiny.pooled"], 1e-4, 0.0);
}

#[test]
fn the_family_equals_timms() {
    let golden = fixture("efficientnet.safetensors");
    for variant in 0..5 {
        let (width, height) = if variant == 0 { (224, 224) } else { (75, 64) };
        let pooled = frozen(lite(variant)).pooled(&pictures(width, height, 1)).unwrap();
        // Random weights amplify rounding with depth: PyTorch in f32 is 1.3e-4 away from itself in f64 at lite4.
        let allowed = if variant == 4 { 3e-4 } else { 1e-4 };
        let expected = &golden[&format!("lite{variant}.pooled")];
        assert_close(&format!("lite{variant}"), &pooled, expected, allowed, 0.0);
    }
}

#[test]
fn gradients_equal_timms() {
    let golden = fixture("efficientnet.safetensors");
    let config = tiny();
    let (parameters, trainable) = Parameters::trainable(weights(&config), |name| !name.contains("running_"));
    let network = EfficientNet::new(config, &parameters).unwrap();
    let pictures = Var::from_tensor(&pictures(45, 37, 2)).unwrap();
    let pooled = network.pooled(&pictures).unwrap();
    assert_close("pooled", &pooled, &golden["tiny.pooled"], 1e-4, 0.0);
    let upstream: Vec<f32> = reference::linear_congruential(7)
        .map(|state| (f64::from(state >> 8) / 2f64.powi(24) - 0.5) as f32)
        .take(pooled.elem_count())
        .collect();
    let upstream = Tensor::from_vec(upstream, pooled.dims(), &Device::Cpu).unwrap();
    let store = (pooled * upstream).unwrap().sum_all().unwrap().backward().unwrap();
    let of_pictures = store.get(pictures.as_tensor()).unwrap();
    assert_relative("pictures", of_pictures, &golden["tiny.gradient.pictures"]);
    let entries = trainable.entries();
    assert_eq!(entries.len(), golden.len() - 2 - 1 - 5);
    for (name, parameter) in entries {
        let gradient =
            store.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert_relative(&name, gradient, &golden[&format!("tiny.gradient.{name}")]);
    }
}

/// The difference's norm, in parts of the expected tensor's.
fn assert_relative(what: &str, found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let norm =
        |tensor: &Tensor| values(tensor).iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let difference = norm(&(found - expected).unwrap());
    assert!(difference <= 1e-3 * norm(expected), "{what}: {difference} of {}", norm(expected));
}

#[test]
fn the_fused_path_equals_the_differentiable_one() {
    // 41 × 29 has odd sizes at every stage, 97 pixels a side several tiles.
    for (config, width, height) in [(tiny(), 41, 29), (tiny(), 1, 1), (lite(0), 97, 65)] {
        let network = frozen(config);
        let pictures = pictures(width, height, 3);
        let tracked = Var::from_tensor(&pictures).unwrap();
        for block in 0..=network.block_count() {
            let fused = network.forward_until(&pictures, block).unwrap();
            let composed = network.forward_until(tracked.as_tensor(), block).unwrap();
            assert_close(&format!("before block {block}"), &fused, &composed, 1e-4, 1e-4);
            let rest = network.pooled_from(&fused, block).unwrap();
            assert_close(
                &format!("from block {block}"),
                &rest,
                &network.pooled(&pictures).unwrap(),
                1e-4,
                1e-4,
            );
        }
        let features = network.forward_features(tracked.as_tensor()).unwrap();
        assert_close("features", &network.forward_features(&pictures).unwrap(), &features, 1e-4, 1e-4);
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let network = frozen(tiny());
    let batch = pictures(64, 48, 7);
    let together = network.pooled(&batch).unwrap();
    for position in 0..7 {
        let alone = network.pooled(&batch.narrow(0, position, 1).unwrap()).unwrap();
        let in_batch = together.narrow(0, position, 1).unwrap();
        assert_close("alone and in a batch", &alone, &in_batch, 1e-6, 1e-6);
    }
    let none = network.pooled(&batch.narrow(0, 0, 0).unwrap()).unwrap();
    assert_eq!(none.dims(), [0, 70]);
}

#[test]
fn only_the_last_blocks_can_be_trained() {
    let config = tiny();
    let (parameters, trainable) = Parameters::trainable(weights(&config), |name| {
        (name.starts_with("blocks.3.") || name.starts_with("conv_head")) && !name.contains("running_")
    });
    let network = EfficientNet::new(config, &parameters).unwrap();
    let features = network.forward_until(&pictures(45, 37, 2), 5).unwrap();
    assert!(!features.track_op());
    let loss = network.pooled_from(&features, 5).unwrap().sqr().unwrap().sum_all().unwrap();
    let store = loss.backward().unwrap();
    let entries = trainable.entries();
    assert_eq!(entries.len(), 3 + 6 + 1);
    for (name, parameter) in &entries {
        let gradient =
            store.get(parameter.var.as_tensor()).unwrap_or_else(|| panic!("{name} has no gradient"));
        assert!(values(gradient).iter().any(|value| *value != 0.0), "{name}");
    }
    // A step that training makes is seen by the next forward pass.
    let before = network.pooled_from(&features, 5).unwrap();
    let head = &entries.iter().find(|(name, _)| name == "conv_head.weight").unwrap().1;
    head.var.set(&(head.var.as_tensor() * 0.5).unwrap()).unwrap();
    let after = network.pooled(&pictures(45, 37, 2)).unwrap();
    assert!(values(&before) != values(&after));
    assert_close("both ways", &after, &network.pooled_from(&features, 5).unwrap(), 1e-5, 1e-5);
}

#[test]
fn finite_differences_of_the_depthwise_convolution() {
    for (kernel, stride, height, width) in
        [(3, 1, 4, 3), (3, 2, 5, 4), (5, 1, 3, 4), (5, 2, 6, 5), (3, 2, 1, 1)]
    {
        let x = random(&[2, height, width, 3], 1, 1.0);
        let (weight, bias) = (random(&[3, 1, kernel, kernel], 2, 1.0), random(&[3], 3, 1.0));
        let what = format!("kernel {kernel}, stride {stride}");
        check_gradients(&what, &[x, weight, bias], |t| depthwise_conv2d(&t[0], &t[1], &t[2], stride));
    }
}

#[test]
fn depthwise_gradients_reach_only_what_tracks_them() {
    let x = Var::from_tensor(&random(&[1, 4, 4, 5], 1, 1.0)).unwrap();
    let (weight, bias) = (random(&[5, 1, 3, 3], 2, 1.0), random(&[5], 3, 1.0));
    let found = gradients(&[x], None, |t| depthwise_conv2d(&t[0], &weight, &bias, 1));
    assert!(values(&found[0]).iter().any(|value| *value != 0.0));
    assert!(depthwise_conv2d(&weight, &weight, &bias, 1).is_err());
    assert!(depthwise_conv2d(&random(&[1, 4, 4, 5], 1, 1.0), &weight, &bias, 0).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let network = frozen(tiny());
    assert!(network.pooled(&random(&[2, 8, 8, 4], 1, 1.0)).is_err());
    assert!(network.pooled(&random(&[8, 8, 3], 1, 1.0)).is_err());
    assert!(network.forward_until(&pictures(16, 16, 1), 7).is_err());
    assert!(network.forward_from(&random(&[1, 2, 2, 7], 1, 1.0), 6).is_err());

    let mut other = tiny();
    other.head_channels = 71;
    let error = EfficientNet::new(other, &Parameters::frozen(weights(&tiny()))).err().unwrap().to_string();
    assert!(error.contains("`bn2.running_var` has shape [70], expected [71]"), "{error}");
}

#[test]
fn pretrained_features_equal_timms() {
    let Some(shared) = reference::shared("weights/efficientnet_lite0/model.safetensors") else { return };
    let golden = fixture("efficientnet_pretrained.safetensors");
    let parameters = Parameters::frozen(Weights::open(&shared).unwrap());
    let network = EfficientNet::new(lite(0), &parameters).unwrap();
    let textures = network.pooled(&pictures(224, 224, 2)).unwrap();
    assert_close("textures", &textures, &golden["textures"], 1e-4, 0.0);

    let Some(folder) = reference::shared("data/flickr8k/images") else { return };
    for (name, expected) in golden.iter().filter(|(name, _)| name.starts_with("photograph.")) {
        let path = folder.join(format!("{}.jpg", name.trim_start_matches("photograph.")));
        let picture: RgbImage = decode_image(path).unwrap();
        let (width, height) = picture.dimensions();
        let pixels: Vec<f32> = picture.iter().map(|level| f32::from(*level) / 127.5 - 1.0).collect();
        let dims = (1, height as usize, width as usize, 3);
        let pooled = network.pooled(&Tensor::from_vec(pixels, dims, &Device::Cpu).unwrap()).unwrap();
        let (ours, theirs) = (values(&pooled), values(expected));
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        let cosine = dot(&ours, &theirs) / (dot(&ours, &ours) * dot(&theirs, &theirs)).sqrt();
        println!("{name}: cosine {cosine:.6}");
        // The decoders differ by a quarter of a level in the mean, so the features do a little as well.
        assert!(cosine > 0.998, "{name}: cosine {cosine}");
    }
}
