//! What the tests of the kernels share: comparisons, finite differences, seeded numbers.
#![allow(dead_code)]

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor, Var};
use relens_models::Result;

/// Seeded numbers in −scale..scale, the same on every machine.
pub(crate) fn random(dims: &[usize], seed: u64, scale: f32) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let count: usize = dims.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
        })
        .collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts |found − expected| ≤ absolute + relative · |expected| for every element.
pub(crate) fn assert_close(what: &str, found: &Tensor, expected: &Tensor, absolute: f32, relative: f32) {
    assert_eq!(found.dims(), expected.dims(), "{what}: shapes differ");
    for (i, (f, e)) in values(found).iter().zip(values(expected)).enumerate() {
        let allowed = absolute + relative * e.abs();
        assert!((f - e).abs() <= allowed, "{what}: element {i} is {f}, expected {e} ± {allowed}");
    }
}

/// Where the fixture file of this name lies.
pub(crate) fn fixture_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The fixture file of this name, as tensors.
pub(crate) fn fixture(name: &str) -> HashMap<String, Tensor> {
    let path = fixture_path(name);
    candle_core::safetensors::load(&path, &Device::Cpu)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The gradients of Σ upstream∘f(inputs) for all inputs. Fails when a gradient is missing.
pub(crate) fn gradients(
    inputs: &[Var],
    upstream: Option<&Tensor>,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Vec<Tensor> {
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let output = f(&tensors).unwrap();
    let upstream = upstream.cloned().unwrap_or_else(|| random(output.dims(), 77, 1.0));
    let store = (output * upstream).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient = |(i, var): (usize, &Var)| {
        store.get(var.as_tensor()).unwrap_or_else(|| panic!("no gradient reaches input {i}")).clone()
    };
    inputs.iter().enumerate().map(gradient).collect()
}

/// Compares every gradient with central finite differences of Σ upstream∘f.
pub(crate) fn check_gradients(what: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f32 = 1e-2;
    let upstream = random(f(inputs).unwrap().dims(), 77, 1.0);
    let objective = |inputs: &[Tensor]| -> f64 {
        let output = f(inputs).unwrap();
        values(&output).iter().zip(values(&upstream)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
    };
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let found = gradients(&vars, Some(&upstream), &f);
    for (which, gradient) in found.iter().enumerate() {
        let base = values(&inputs[which]);
        let moved = |element: usize, step: f32| {
            let mut changed = base.clone();
            changed[element] += step;
            let mut all = inputs.to_vec();
            all[which] = Tensor::from_vec(changed, inputs[which].dims(), &Device::Cpu).unwrap();
            objective(&all)
        };
        for (element, g) in values(gradient).into_iter().enumerate() {
            let numeric = ((moved(element, STEP) - moved(element, -STEP)) / f64::from(2.0 * STEP)) as f32;
            let allowed = 4e-3 + 1e-2 * numeric.abs();
            assert!(
                (g - numeric).abs() <= allowed,
                "{what}: input {which}, element {element}: gradient {g}, finite difference {numeric}"
            );
        }
    }
}
