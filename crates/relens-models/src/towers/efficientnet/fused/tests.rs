//! The kernels for every instruction set that this processor has, against loops that cannot be misread.

use pulp::{Simd, WithSimd};

use super::depthwise::{self, DepthwiseWeights, Fixed};
use crate::ops::convolution::{
    Destination, ONE_TAP, PANEL, PackedWeights, PanelEpilogue, Pixels, checked, panel_width,
};

/// Calls `run` once for each instruction set.
macro_rules! for_each_instruction_set {
    ($simd:ident => $run:block) => {{
        {
            let $simd = pulp::Scalar::new();
            $run
        }
        #[cfg(target_arch = "x86_64")]
        if let Some($simd) = pulp::x86::V3::try_new() {
            $run
        }
        #[cfg(target_arch = "x86_64")]
        if let Some($simd) = pulp::x86::V4::try_new() {
            $run
        }
    }};
}

fn on<S: Simd>(simd: S, task: impl WithSimd<Output = ()>) {
    simd.vectorize(task);
}

/// Small numbers without a pattern that padding or stride could share.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + i / 7 * 11) % 101) as f32 / 50.0 - 1.0).collect()
}

fn assert_close(found: f32, expected: f32, what: &str) {
    assert!((found - expected).abs() < 1e-4, "{what}: {found}, expected {expected}");
}

/// Every tile size (1 to 40 pixels), both widths of a panel, two segments, all epilogues.
#[test]
fn panel_products_equal_plain_loops() {
    const INPUTS: usize = 45;
    for outputs in [16, 24, 40, 64] {
        let (weights, bias) = (numbers(INPUTS * outputs), numbers(outputs));
        let packed = PackedWeights::new(INPUTS, &bias, |input, output| weights[input * outputs + output]);
        for count in 1..=40 {
            let (inputs, residual) = (numbers(2 * count * PANEL), numbers(count * PANEL));
            let expected = |pixel: usize, output: usize| {
                let input = |i: usize| inputs[i / PANEL * count * PANEL + pixel * PANEL + i % PANEL];
                let product: f32 = (0..INPUTS).map(|i| input(i) * weights[i * outputs + output]).sum();
                bias[output] + product
            };
            let pixels = Pixels::<PANEL> {
                data: &inputs,
                count,
                segment_length: PANEL,
                segment_step: count * PANEL,
                taps: ONE_TAP,
            };
            for (number, epilogue) in
                [PanelEpilogue::Linear, PanelEpilogue::Relu6, PanelEpilogue::Residual(&residual)]
                    .into_iter()
                    .enumerate()
            {
                for_each_instruction_set!(simd => {
                    for panel in 0..packed.panels() {
                        // Rows of five pixels with a gap of two, which must stay as it is.
                        let mut data = vec![-7.0; (count + count / 5 * 2 + 2) * PANEL];
                        let mut destination = Destination { data: &mut data, row: 5, gap: 2 * PANEL };
                        on(simd, checked(&packed, panel, pixels, &mut destination, epilogue));
                        for pixel in 0..count {
                            let start = (pixel + pixel / 5 * 2) * PANEL;
                            for lane in 0..PANEL.min(outputs - panel * PANEL) {
                                let sum = expected(pixel, panel * PANEL + lane);
                                let value = match number {
                                    0 => sum,
                                    1 => sum.clamp(0.0, 6.0),
                                    _ => sum + residual[pixel * PANEL + lane],
                                };
                                assert_close(data[start + lane], value, "product");
                            }
                        }
                        let untouched = data.iter().filter(|value| **value == -7.0).count();
                        let width = panel_width(outputs, panel);
                        assert_eq!(untouched, data.len() - count * width);
                    }
                });
            }
        }
    }
}

fn check_depthwise<const K: usize, const STRIDE: usize>() {
    for channels in [16, 32] {
        let (weights, bias) = (numbers(channels * K * K), numbers(channels));
        let packed = DepthwiseWeights::new((K, STRIDE), &bias, |channel, tap| weights[channel * K * K + tap]);
        for (rows, columns) in [(1, 1), (2, 7), (1, 10), (3, 19)] {
            let width = (columns - 1) * STRIDE + K;
            let padded = numbers(((rows - 1) * STRIDE + K) * width * PANEL);
            for_each_instruction_set!(simd => {
                let mut output = vec![-7.0; rows * columns * PANEL];
                on(simd, Fixed::<K, STRIDE>(depthwise::checked(&packed, 0, &padded, (rows, columns), &mut output)));
                for (position, output) in output.chunks_exact(PANEL).enumerate() {
                    let (row, column) = (position / columns * STRIDE, position % columns * STRIDE);
                    for (channel, found) in output.iter().take(channels).enumerate() {
                        let tap = |tap: usize| {
                            let start = ((row + tap / K) * width + column + tap % K) * PANEL;
                            padded[start + channel] * weights[channel * K * K + tap]
                        };
                        let sum = bias[channel] + (0..K * K).map(tap).sum::<f32>();
                        assert_close(*found, sum.clamp(0.0, 6.0), "depthwise");
                    }
                }
            });
        }
    }
}

#[test]
fn depthwise_panels_equal_plain_loops() {
    check_depthwise::<3, 1>();
    check_depthwise::<3, 2>();
    check_depthwise::<5, 1>();
    check_depthwise::<5, 2>();
}
