//! The depthwise convolution: every channel is filtered by itself.

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::super::arguments::{Elements, contiguous_f32, elements, expect_dims, refuse, tensor_from};
use super::super::instruction_set::vectorized;
use super::super::parallel::{for_row_blocks, reduce_rows};
use super::super::vector_math::add_assign;
use super::SamePadding;
use crate::Result;

/// Sizes of one call. Activations are `[batch, height, width, channels]`, so that the innermost loop runs over
/// channels that lie side by side.
#[derive(Clone, Copy)]
struct DepthwiseConvolution {
    batch: usize,
    height: usize,
    width: usize,
    channels: usize,
    kernel: usize,
    stride: usize,
    vertical: SamePadding,
    horizontal: SamePadding,
}

impl DepthwiseConvolution {
    fn output_row(&self) -> usize {
        self.horizontal.outputs * self.channels
    }

    fn output_dims(&self) -> [usize; 4] {
        [self.batch, self.vertical.outputs, self.horizontal.outputs, self.channels]
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// `[channels, taps]`, as checkpoints have it, to `[taps, channels]`.
    fn taps_first(&self, weight: &[f32]) -> Vec<f32> {
        // With taps outermost, the inner loop multiplies channels that lie side by side in weight and activation
        // alike.
        let mut transposed = vec![0.0; weight.len()];
        for (channel, taps) in weight.chunks_exact(self.taps()).enumerate() {
            for (tap, value) in taps.iter().enumerate() {
                transposed[tap * self.channels + channel] = *value;
            }
        }
        transposed
    }

    /// The pairs of positions that a tap joins in output row `row`, counted over the batch.
    fn joined_by_taps(&self, row: usize) -> Vec<Joined> {
        let (image, y) = (row / self.vertical.outputs, row % self.vertical.outputs);
        let mut joined = Vec::with_capacity(self.taps() * self.horizontal.outputs);
        for kernel_row in 0..self.kernel {
            let input_y = (y * self.stride + kernel_row).checked_sub(self.vertical.before);
            // Padding is never written out: a tap that would read it has nothing to add.
            let Some(input_y) = input_y.filter(|row| *row < self.height) else { continue };
            let input_row = (image * self.height + input_y) * self.width;
            self.join_columns(kernel_row, input_row, row * self.horizontal.outputs, &mut joined);
        }
        joined
    }

    /// The pairs of positions that a tap joins in input row `row`, counted over the batch.
    fn joined_to_input(&self, row: usize) -> Vec<Joined> {
        let (image, y) = (row / self.height, row % self.height);
        let mut joined = Vec::with_capacity(self.taps() * self.horizontal.outputs);
        for kernel_row in 0..self.kernel {
            // The way back asks which outputs looked at this row. With a stride, only every so many taps did.
            let Some(offset) = (y + self.vertical.before).checked_sub(kernel_row) else { continue };
            let output_y = offset / self.stride;
            if offset.is_multiple_of(self.stride) && output_y < self.vertical.outputs {
                let output_row = (image * self.vertical.outputs + output_y) * self.horizontal.outputs;
                self.join_columns(kernel_row, row * self.width, output_row, &mut joined);
            }
        }
        joined
    }

    fn join_columns(&self, kernel_row: usize, input_row: usize, output_row: usize, joined: &mut Vec<Joined>) {
        for x in 0..self.horizontal.outputs {
            for kernel_column in 0..self.kernel {
                let column = (x * self.stride + kernel_column).checked_sub(self.horizontal.before);
                let Some(input_x) = column.filter(|column| *column < self.width) else { continue };
                joined.push(Joined {
                    tap: (kernel_row * self.kernel + kernel_column) * self.channels,
                    input: (input_row + input_x) * self.channels,
                    output: (output_row + x) * self.channels,
                });
            }
        }
    }

    fn forward(&self, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let weight = self.taps_first(weight);
        let dims = self.output_dims();
        let mut output = vec![0.0; dims.iter().product()];
        for_row_blocks(&mut output, self.output_row(), self.taps(), |first, block| {
            for (output, row) in block.chunks_exact_mut(self.output_row()).zip(first..) {
                for pixel in output.chunks_exact_mut(self.channels) {
                    // The sums begin at the bias, which saves a pass over the output at the end.
                    pixel.copy_from_slice(bias);
                }
                let start = row * self.output_row();
                let product = |joined: Joined| TapProduct {
                    sum: joined.output - start,
                    left: joined.input,
                    right: joined.tap,
                };
                let products: Vec<_> = self.joined_by_taps(row).into_iter().map(product).collect();
                add_products(output, x, &weight, self.channels, &products);
            }
        });
        output
    }

    /// dx at a position: the sum over taps of w · g wherever the tap of an output looked at it.
    fn input_gradient(&self, weight: &[f32], upstream: &[f32]) -> Vec<f32> {
        let weight = self.taps_first(weight);
        let row_length = self.width * self.channels;
        let mut gradient = vec![0.0; self.batch * self.height * row_length];
        for_row_blocks(&mut gradient, row_length, self.taps(), |first, block| {
            for (gradient, row) in block.chunks_exact_mut(row_length).zip(first..) {
                let start = row * row_length;
                let product = |joined: Joined| TapProduct {
                    sum: joined.input - start,
                    left: joined.output,
                    right: joined.tap,
                };
                let products: Vec<_> = self.joined_to_input(row).into_iter().map(product).collect();
                add_products(gradient, upstream, &weight, self.channels, &products);
            }
        });
        gradient
    }

    /// dw of a tap: Σ x · g over the positions that it joined; and db = Σ g.
    fn parameter_gradients(&self, x: &[f32], upstream: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let rows = self.batch * self.vertical.outputs;
        let taps_length = self.taps() * self.channels;
        let cost = self.output_row() * self.taps();
        // Weight and bias are summed in one reduction: both read the same rows of the upstream gradient.
        let mut sums = reduce_rows(rows, taps_length + self.channels, cost, |rows, partial| {
            let (taps, bias) = partial.split_at_mut(taps_length);
            add_rows(bias, &upstream[rows.start * self.output_row()..rows.end * self.output_row()]);
            for row in rows {
                let product =
                    |joined: Joined| TapProduct { sum: joined.tap, left: joined.input, right: joined.output };
                let products: Vec<_> = self.joined_by_taps(row).into_iter().map(product).collect();
                add_products(taps, x, upstream, self.channels, &products);
            }
        });
        let bias = sums.split_off(taps_length);
        let mut weight = vec![0.0; taps_length];
        // Back to the checkpoint's order, in which the variable is stored.
        for (tap, values) in sums.chunks_exact(self.channels).enumerate() {
            for (channel, value) in values.iter().enumerate() {
                weight[channel * self.taps() + tap] = *value;
            }
        }
        (weight, bias)
    }
}

/// Where the channels of a tap, and of the input and output that it joins, begin.
struct Joined {
    tap: usize,
    input: usize,
    output: usize,
}

/// Where the channels of the two factors, and of the sum that their product goes to, begin.
struct TapProduct {
    sum: usize,
    left: usize,
    right: usize,
}

vectorized! {
    fn add_products(sums: &mut [f32], left: &[f32], right: &[f32], channels: usize, products: &[TapProduct]) {
        for product in products {
            let sums = &mut sums[product.sum..product.sum + channels];
            let left = &left[product.left..product.left + channels];
            let right = &right[product.right..product.right + channels];
            for ((sum, &left), &right) in sums.iter_mut().zip(left).zip(right) {
                *sum += left * right;
            }
        }
    }

    fn add_rows(sums: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(sums.len()) {
            add_assign(sums, row);
        }
    }
}

impl CustomOp3 for DepthwiseConvolution {
    fn name(&self) -> &'static str {
        "depthwise-conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let output = self.forward(
            elements(x, x_layout)?,
            elements(weight, weight_layout)?,
            elements(bias, bias_layout)?,
        );
        Ok((CpuStorage::F32(output), Shape::from(&self.output_dims()[..])))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(x), Elements::of(weight), Elements::of(&grad_res));
        let (xs, ws, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let dx = match x.track_op() {
            true => Some(tensor_from(self.input_gradient(ws, upstream), x)?),
            false => None,
        };
        if !weight.track_op() && !bias.track_op() {
            return Ok((dx, None, None));
        }
        let (dw, db) = self.parameter_gradients(xs, upstream);
        Ok((dx, Some(tensor_from(dw, weight)?), Some(tensor_from(db, bias)?)))
    }
}

/// Filters every channel by its own kernel, with TensorFlow's "same" padding: ⌈size / stride⌉ outputs an axis, and
/// of an odd number of zeros, the larger part behind.
///
/// # Shapes
/// - `x`: `[batch, height, width, channels]`
/// - `weight`: `[channels, 1, kernel, kernel]`, as checkpoints have it
/// - `bias`: `[channels]`
/// - output: `[batch, ⌈height / stride⌉, ⌈width / stride⌉, channels]`
///
/// # Errors
/// When the shapes do not fit each other, one is empty, or the stride is zero.
pub fn depthwise_conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, stride: usize) -> Result<Tensor> {
    const NAME: &str = "depthwise_conv2d";
    let (&[batch, height, width, channels], &[_, _, kernel, _]) = (x.dims(), weight.dims()) else {
        return Err(refuse(
            NAME,
            "x of four dimensions and a weight of four",
            format!("{:?} and {:?}", x.dims(), weight.dims()),
        ));
    };
    if stride == 0 || [height, width, channels, kernel].contains(&0) {
        return Err(refuse(
            NAME,
            "sizes and a stride of at least one",
            format!("x {:?}, weight {:?}, stride {stride}", x.dims(), weight.dims()),
        ));
    }
    expect_dims(NAME, "weight", weight, &[channels, 1, kernel, kernel])?;
    expect_dims(NAME, "bias", bias, &[channels])?;
    let operation = DepthwiseConvolution {
        batch,
        height,
        width,
        channels,
        kernel,
        stride,
        vertical: SamePadding::new(height, kernel, stride),
        horizontal: SamePadding::new(width, kernel, stride),
    };
    let (x, weight) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?);
    Ok(x.apply_op3(&weight, &contiguous_f32(NAME, bias)?, operation)?)
}
