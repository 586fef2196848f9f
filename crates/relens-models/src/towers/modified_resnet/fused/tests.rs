//! The fused trunk against the layers that it stands for.

use candle_core::{Device, Tensor};

use super::super::{Bottleneck, run_layers};
use super::FusedTrunk;
use crate::towers::modified_resnet::blocks::FoldedConvolution;

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| (((i + seed) * 7919 + i / 7 * 13) % 1009) as f32 / 504.5 - 1.0).collect()
}

fn convolution((inputs, outputs): (usize, usize), kernel: usize, seed: usize) -> FoldedConvolution {
    let count = outputs * inputs * kernel * kernel;
    let scale = 1.5 / ((inputs * kernel * kernel) as f32).sqrt();
    let weight = numbers(count, seed).into_iter().map(|x| x * scale).collect();
    let weight = Tensor::from_vec(weight, (outputs, inputs, kernel, kernel), &Device::Cpu).unwrap();
    let bias = Tensor::from_vec(numbers(outputs, seed + 1), outputs, &Device::Cpu).unwrap();
    FoldedConvolution::from_folded(&weight, bias).unwrap()
}

fn bottleneck(inputs: usize, inner: usize, stride: usize, seed: usize) -> Bottleneck {
    let shortcut = (stride > 1 || inputs != 4 * inner).then(|| convolution((inputs, 4 * inner), 1, seed + 9));
    Bottleneck::from_parts(
        convolution((inputs, inner), 1, seed),
        convolution((inner, inner), 3, seed + 3),
        convolution((inner, 4 * inner), 1, seed + 6),
        shortcut,
        stride,
    )
}

/// Widths that fill panels, half fill them, and leave a part of one; odd sides; one picture and several.
#[test]
fn the_fused_trunk_equals_the_layers_one_by_one() {
    for (width, side, count) in [(32, 64, 1), (20, 96, 3), (48, 70, 2)] {
        let stem = [
            convolution((3, width / 2), 3, 1),
            convolution((width / 2, width / 2), 3, 2),
            convolution((width / 2, width), 3, 3),
        ];
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (stage, stride) in [(0, 1), (0, 1), (1, 2), (2, 2), (3, 2)] {
            let inner = (width / 2) << stage;
            blocks.push(bottleneck(inputs, inner, stride, blocks.len()));
            inputs = 4 * inner;
        }
        let pixels = numbers(count * side * side * 3, 5);
        let images = Tensor::from_slice(&pixels, (count, side, side, 3), &Device::Cpu).unwrap();
        let expected = run_layers(&stem, &blocks, &images).unwrap();
        let trunk = FusedTrunk::new(stem.each_ref(), &blocks).unwrap();
        let (found, channels) = trunk.features(&pixels, side);
        assert_eq!(expected.dims(), [count, side / 32, side / 32, channels]);
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let largest = expected.iter().fold(0.0f32, |a, b| a.max(b.abs()));
        assert!(largest > 0.1);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!((found - expected).abs() < 1e-4 * largest, "{i}: {found}, expected {expected}");
        }
    }
}
