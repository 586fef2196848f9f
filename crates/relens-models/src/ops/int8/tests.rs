use candle_core::{Device, Tensor, Var};

use super::dot::DotProduct;
use super::product::multiply_with;
use super::*;
use crate::ops::{Activation, linear_finished};

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((((i + seed) * 7919 + i / 5 * 31) % 2003) as f32 / 1000.0 - 0.7) * 3.0).collect()
}

/// What the product should be, from the rounded values themselves, in integers and f64.
fn expected(x: &[f32], weight: &[f32], (inputs, outputs): (usize, usize)) -> Vec<f64> {
    let mut all = Vec::new();
    for row in x.chunks_exact(inputs) {
        let low = f64::from(row.iter().copied().fold(0.0f32, f32::min));
        let high = f64::from(row.iter().copied().fold(0.0f32, f32::max));
        let scale = (high - low) / 255.0;
        let zero = (-low / scale).round();
        for output in 0..outputs {
            let weights = &weight[output * inputs..(output + 1) * inputs];
            // In f32, where weights half-way between two steps fall on the same side.
            let unit = weights.iter().fold(0.0f32, |a, b| a.max(b.abs())) / 127.0;
            let inverse = 1.0 / unit;
            let sum: f64 = row
                .iter()
                .zip(weights)
                .map(|(&x, &w)| {
                    let q = (f64::from(x) / scale + zero + 0.5).floor().clamp(0.0, 255.0);
                    (q - zero) * f64::from((w * inverse).round())
                })
                .sum();
            all.push(sum * scale * f64::from(unit));
        }
    }
    all
}

#[test]
fn every_kernel_gives_the_same_bits_and_they_are_right() {
    for (rows, inputs, outputs) in
        [(1, 1, 1), (2, 3, 5), (5, 64, 64), (7, 130, 70), (13, 96, 200), (100, 66, 129)]
    {
        let (x, weight) = (numbers(rows * inputs, 1), numbers(outputs * inputs, 4));
        let matrix = Int8Matrix::quantize(&weight, outputs, inputs).unwrap();
        let expected = expected(&x, &weight, (inputs, outputs));
        let portable = multiply_with(DotProduct::Portable, &x, &matrix, Epilogue::default());
        // A value half-way between two steps may fall on either side.
        let allowed = 0.02 * 2.1 * (inputs as f64).sqrt().max(2.0);
        for (i, (found, expected)) in portable.iter().zip(&expected).enumerate() {
            let what = format!("{rows}x{inputs}x{outputs}, element {i}");
            assert!((f64::from(*found) - expected).abs() < allowed, "{what}: {found}, expected {expected}");
        }
        for dot_product in DotProduct::available() {
            let found = multiply_with(dot_product, &x, &matrix, Epilogue::default());
            assert_eq!(found, portable, "{dot_product:?}, {rows}x{inputs}x{outputs}");
        }
    }
}

#[test]
fn the_epilogue_is_that_of_dense_maps() {
    let (rows, inputs, outputs) = (9, 48, 80);
    let device = Device::Cpu;
    let x = Tensor::from_vec(numbers(rows * inputs, 2), (rows, inputs), &device).unwrap();
    let stored = numbers(outputs * inputs, 3);
    let weight = Tensor::from_slice(&stored, (outputs, inputs), &device).unwrap().t().unwrap();
    let bias = Tensor::from_vec(numbers(outputs, 7), outputs, &device).unwrap();
    let residual = Tensor::from_vec(numbers(rows * outputs, 8), (rows, outputs), &device).unwrap();
    let matrix = Int8Matrix::quantize(&stored, outputs, inputs).unwrap();
    for activation in [None, Some(Activation::QuickGelu)] {
        for residual in [None, Some(&residual)] {
            let finish = Finish { activation, residual };
            let found = int8_linear(&x, &matrix, Some(&bias), finish).unwrap();
            let dense = linear_finished(&x, &weight, Some(&bias), finish).unwrap();
            let (found, dense) = (values(&found), values(&dense));
            let largest = dense.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            for (found, dense) in found.iter().zip(&dense) {
                assert!((found - dense).abs() < 0.02 * largest, "{found}, in f32 {dense}");
            }
            let error: f32 = found.iter().zip(&dense).map(|(a, b)| (a - b).powi(2)).sum();
            let power: f32 = dense.iter().map(|b| b * b).sum();
            assert!((error / power).sqrt() < 0.02, "relative error {}", (error / power).sqrt());
        }
    }
}

#[test]
fn parts_are_put_together_where_panels_allow_it() {
    let weight = numbers(192 * 40, 5);
    let part = |first: usize, outputs: usize| {
        Int8Matrix::quantize(&weight[first * 40..(first + outputs) * 40], outputs, 40).unwrap()
    };
    let joined = Int8Matrix::concatenate(&[&part(0, 64), &part(64, 128)]).unwrap();
    let x = numbers(3 * 40, 6);
    let multiply =
        |matrix: &Int8Matrix| multiply_with(DotProduct::detected(), &x, matrix, Epilogue::default());
    assert_eq!(multiply(&joined), multiply(&part(0, 192)));
    assert!(Int8Matrix::concatenate(&[&part(0, 60), &part(64, 128)]).is_none());
}

#[test]
fn what_is_not_finite_stays_visible() {
    let matrix = Int8Matrix::quantize(&numbers(64 * 20, 1), 64, 20).unwrap();
    for defect in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = numbers(2 * 20, 2);
        x[23] = defect;
        let found = multiply_with(DotProduct::detected(), &x, &matrix, Epilogue::default());
        assert!(found[..64].iter().all(|value| value.is_finite()));
        assert!(found[64..].iter().all(|value| value.is_nan()), "{defect}");
    }
}

#[test]
fn rows_of_zeros_and_wrong_shapes() {
    let matrix = Int8Matrix::quantize(&[0.0; 64 * 8], 64, 8).unwrap();
    assert_eq!(multiply_with(DotProduct::detected(), &[0.0; 8], &matrix, Epilogue::default()), vec![0.0; 64]);
    assert!(Int8Matrix::quantize(&[0.0; 7], 2, 4).is_err());
    let x = Tensor::zeros((2, 9), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(int8_linear(&x, &matrix, None, Finish::default()).is_err());
    let tracked = Var::zeros((2, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert!(int8_linear(tracked.as_tensor(), &matrix, None, Finish::default()).is_err());
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}
