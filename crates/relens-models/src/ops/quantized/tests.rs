use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor, Var};

use super::ggml::GgmlLayout;
use super::{QuantizedFormat, QuantizedMatrix, quantized_linear};

const INPUTS: usize = 256;
const OUTPUTS: usize = 101;

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn matrix(format: QuantizedFormat) -> QuantizedMatrix {
    QuantizedMatrix::quantize(&numbers(OUTPUTS * INPUTS, 1), OUTPUTS, INPUTS, format).unwrap()
}

#[test]
fn rounding_is_as_fine_as_the_format() {
    let original = numbers(OUTPUTS * INPUTS, 1);
    for (format, step) in [(QuantizedFormat::Q8, 1.0 / 127.0), (QuantizedFormat::Q4, 2.0 / 15.0)] {
        for (found, expected) in matrix(format).widened().iter().zip(&original) {
            assert!((found - expected).abs() <= 0.51 * step, "{format:?}: {found}, expected {expected}");
        }
    }
    let constant = QuantizedMatrix::quantize(&[0.0; 32], 1, 32, QuantizedFormat::Q4).unwrap();
    assert_eq!(constant.widened(), [0.0; 32]);
}

#[test]
fn products_equal_those_with_the_widened_matrix_at_every_number_of_rows() {
    for format in [QuantizedFormat::Q8, QuantizedFormat::Q4] {
        let matrix = matrix(format);
        let dense = matrix.dequantize().unwrap();
        for rows in [0, 1, 2, 3, 4, 5, 33] {
            let x = Tensor::from_vec(numbers(rows * INPUTS, 2), (rows, INPUTS), &Device::Cpu).unwrap();
            let bias = Tensor::from_vec(numbers(OUTPUTS, 3), OUTPUTS, &Device::Cpu).unwrap();
            let found = quantized_linear(&x, &matrix, Some(&bias)).unwrap();
            assert_eq!(found.dims(), [rows, OUTPUTS]);
            let expected = x.matmul(&dense).unwrap().broadcast_add(&bias).unwrap();
            for (found, expected) in values(&found).iter().zip(values(&expected)) {
                assert!((found - expected).abs() < 1e-4, "{format:?}, {rows} rows: {found}, {expected}");
            }
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_widened_matrix() {
    let matrix = matrix(QuantizedFormat::Q8);
    let x = Var::from_vec(numbers(3 * INPUTS, 2), (3, INPUTS), &Device::Cpu).unwrap();
    let gradient = |output: Tensor| {
        let gradients = output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        values(gradients.get(x.as_tensor()).unwrap())
    };
    let found = gradient(quantized_linear(x.as_tensor(), &matrix, None).unwrap());
    let expected = gradient(x.matmul(&matrix.dequantize().unwrap()).unwrap());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{found}, {expected}");
    }
}

#[test]
fn blocks_of_ggml_mean_what_they_mean_there() {
    let source = Tensor::from_vec(numbers(OUTPUTS * INPUTS, 4), (OUTPUTS, INPUTS), &Device::Cpu).unwrap();
    for (dtype, layout) in [
        (GgmlDType::Q8_0, GgmlLayout::Q8_0),
        (GgmlDType::Q4_0, GgmlLayout::Q4_0),
        (GgmlDType::Q4_1, GgmlLayout::Q4_1),
        (GgmlDType::Q4K, GgmlLayout::Q4K),
    ] {
        let reference = QTensor::quantize(&source, dtype).unwrap();
        let bytes = reference.data().unwrap();
        let matrix = QuantizedMatrix::from_ggml(&bytes, layout, OUTPUTS, INPUTS).unwrap();
        let expected = values(&reference.dequantize(&Device::Cpu).unwrap());
        for (found, expected) in matrix.widened().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{dtype:?}: {found}, {expected}");
        }
        let error = QuantizedMatrix::from_ggml(&bytes[1..], layout, OUTPUTS, INPUTS).unwrap_err();
        assert!(error.to_string().contains("bytes"), "{error}");
    }
}

#[test]
fn joined_matrices_give_their_outputs_side_by_side() {
    let (first, second) = (matrix(QuantizedFormat::Q4), matrix(QuantizedFormat::Q4));
    let joined = QuantizedMatrix::concatenate(&[&first, &second]).unwrap();
    let x = Tensor::from_vec(numbers(INPUTS, 2), (1, INPUTS), &Device::Cpu).unwrap();
    let alone = values(&quantized_linear(&x, &first, None).unwrap());
    assert_eq!(values(&quantized_linear(&x, &joined, None).unwrap()), [alone.clone(), alone].concat());
    assert!(QuantizedMatrix::concatenate(&[&first, &matrix(QuantizedFormat::Q8)]).is_none());
    assert!(QuantizedMatrix::quantize(&[0.0; 48], 1, 48, QuantizedFormat::Q8).is_err());
}
