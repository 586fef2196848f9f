//! The depthwise convolution of one panel, with bias and ReLU6 applied in registers; and how a block's
//! output is cut into tiles of rows, with what each of them needs of the input.

use pulp::{Simd, WithSimd};

use crate::ops::convolution::{
    AlignedBuffer, HALF_PANEL, PANEL, SamePadding, load, panel_count, panel_width,
};

/// Weights and bias of a depthwise convolution, in panels `[panels, kernel × kernel, 32]`.
pub(in crate::towers::efficientnet) struct DepthwiseWeights {
    channels: usize,
    kernel: usize,
    stride: usize,
    weights: AlignedBuffer,
    bias: AlignedBuffer,
}

impl DepthwiseWeights {
    /// Packs `weight(channel, tap)` and `bias[channel]`; taps are numbered row by row.
    pub(in crate::towers::efficientnet) fn new(
        (kernel, stride): (usize, usize),
        bias: &[f32],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let channels = bias.len();
        let panels = panel_count(channels);
        let taps = kernel * kernel;
        let mut packed = AlignedBuffer::zeros(panels * taps * PANEL);
        let mut packed_bias = AlignedBuffer::zeros(panels * PANEL);
        packed_bias.as_mut_slice()[..channels].copy_from_slice(bias);
        for (panel, values) in packed.as_mut_slice().chunks_exact_mut(taps * PANEL).enumerate() {
            for (tap, row) in values.chunks_exact_mut(PANEL).enumerate() {
                for (value, channel) in row.iter_mut().zip(panel * PANEL..channels) {
                    *value = weight(channel, tap);
                }
            }
        }
        Self { channels, kernel, stride, weights: packed, bias: packed_bias }
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn kernel(&self) -> usize {
        self.kernel
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }
}

/// Computes `rows` rows of `columns` outputs of a panel, with ReLU6.
///
/// # Shapes
/// - `padded`: `[(rows − 1) × stride + kernel, (columns − 1) × stride + kernel, 32]`, padding included
/// - `output`: `[rows, columns, 32]`
///
/// # Panics
/// If a slice is too short: what follows reads and writes without further checks.
pub(super) fn convolve_depthwise_panel(
    weights: &DepthwiseWeights,
    panel: usize,
    padded: &[f32],
    (rows, columns): (usize, usize),
    output: &mut [f32],
) {
    if rows == 0 || columns == 0 {
        return;
    }
    let arch = pulp::Arch::new();
    let mut task = checked(weights, panel, padded, (rows, columns), output);
    match (weights.kernel, weights.stride) {
        // Constant sizes, so that the loops over the kernel are unrolled and its weights stay in registers.
        (3, 1) => arch.dispatch(Fixed::<3, 1>(task)),
        (3, 2) => arch.dispatch(Fixed::<3, 2>(task)),
        (5, 1) => arch.dispatch(Fixed::<5, 1>(task)),
        (5, 2) => arch.dispatch(Fixed::<5, 2>(task)),
        (kernel, stride) => convolve_any(&mut task, kernel, stride),
    }
}

/// The convolution as a task for any instruction set, after the lengths of all slices have been checked.
pub(super) fn checked<'a>(
    weights: &'a DepthwiseWeights,
    panel: usize,
    padded: &'a [f32],
    (rows, columns): (usize, usize),
    output: &'a mut [f32],
) -> PanelTask<'a> {
    let (kernel, stride) = (weights.kernel, weights.stride);
    let row_length = ((columns - 1) * stride + kernel) * PANEL;
    assert!(padded.len() >= ((rows - 1) * stride + kernel) * row_length, "inputs end early");
    assert!(output.len() >= rows * columns * PANEL, "output ends early");
    let taps = kernel * kernel;
    PanelTask {
        weights: &weights.weights.as_slice()[panel * taps * PANEL..(panel + 1) * taps * PANEL],
        bias: &weights.bias.as_slice()[panel * PANEL..(panel + 1) * PANEL],
        channels: panel_width(weights.channels, panel),
        padded,
        row_length,
        rows,
        columns,
        output,
    }
}

/// One panel of a depthwise convolution, ready to be computed.
pub(super) struct PanelTask<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    channels: usize,
    padded: &'a [f32],
    row_length: usize,
    rows: usize,
    columns: usize,
    output: &'a mut [f32],
}

/// A kernel and stride of no network in use: correct, not fast.
fn convolve_any(task: &mut PanelTask<'_>, kernel: usize, stride: usize) {
    let outputs = task.output.chunks_exact_mut(PANEL).take(task.rows * task.columns);
    for (position, output) in outputs.enumerate() {
        let (row, column) = (position / task.columns * stride, position % task.columns * stride);
        output.copy_from_slice(task.bias);
        for tap in 0..kernel * kernel {
            let start = (row + tap / kernel) * task.row_length + (column + tap % kernel) * PANEL;
            let taps = &task.weights[tap * PANEL..(tap + 1) * PANEL];
            for ((sum, value), weight) in output.iter_mut().zip(&task.padded[start..]).zip(taps) {
                *sum += value * weight;
            }
        }
        output.iter_mut().for_each(|sum| *sum = sum.clamp(0.0, 6.0));
    }
}

/// The task for a kernel and stride that the compiler knows.
pub(super) struct Fixed<'a, const K: usize, const STRIDE: usize>(pub(super) PanelTask<'a>);

impl<const K: usize, const STRIDE: usize> WithSimd for Fixed<'_, K, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if S::IS_SCALAR || !HALF_PANEL.is_multiple_of(S::F32_LANES) {
            return convolve_any(&mut self.0, K, STRIDE);
        }
        let vectors = self.0.channels / S::F32_LANES;
        for row in 0..self.0.rows {
            let mut column = 0;
            // SAFETY: `convolve_depthwise_panel` checked that everything the tiles touch is inside the slices.
            unsafe {
                // Seven outputs share their weights; the widths of the network's feature maps are multiples of seven.
                self.tiles::<S, 7>(simd, row, &mut column, vectors);
                self.tiles::<S, 2>(simd, row, &mut column, vectors);
                self.tiles::<S, 1>(simd, row, &mut column, vectors);
            }
        }
    }
}

impl<const K: usize, const STRIDE: usize> Fixed<'_, K, STRIDE> {
    /// Computes `X` outputs of a row at a time while that many are left.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const X: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: &mut usize,
        vectors: usize,
    ) {
        while *column + X <= self.0.columns {
            for vector in 0..vectors {
                // SAFETY: as for the caller.
                unsafe { self.tile::<S, X>(simd, row, *column, vector) };
            }
            *column += X;
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const X: usize>(&mut self, simd: S, row: usize, column: usize, vector: usize) {
        let task = &mut self.0;
        // SAFETY: `convolve_depthwise_panel` checked the lengths of all operands.
        unsafe {
            let mut sums = [load::<S>(task.bias.as_ptr(), vector); X];
            for kernel_row in 0..K {
                let start = (row * STRIDE + kernel_row) * task.row_length + column * STRIDE * PANEL;
                let inputs = task.padded.as_ptr().add(start);
                let taps = task.weights.as_ptr().add(kernel_row * K * PANEL);
                for tap in 0..K {
                    let weight = load::<S>(taps.add(tap * PANEL), vector);
                    for (x, sum) in sums.iter_mut().enumerate() {
                        let input = load::<S>(inputs.add((x * STRIDE + tap) * PANEL), vector);
                        *sum = simd.mul_add_e_f32s(input, weight, *sum);
                    }
                }
            }
            let (zero, six) = (simd.splat_f32s(0.0), simd.splat_f32s(6.0));
            let output = task.output.as_mut_ptr().add((row * task.columns + column) * PANEL);
            for (x, sum) in sums.into_iter().enumerate() {
                let clamped = simd.min_f32s(simd.max_f32s(sum, zero), six);
                output.add(x * PANEL).cast::<S::f32s>().add(vector).write_unaligned(clamped);
            }
        }
    }
}

/// Numbers in an expanded panel of a tile: with the depthwise output beside it, it should stay in a core's cache.
const EXPANDED_TARGET: usize = 40 << 10;

/// Sizes that follow from the input's.
#[derive(Clone, Copy)]
pub(super) struct Geometry {
    kernel: usize,
    stride: usize,
    pub(super) expanded_height: usize,
    pub(super) expanded_width: usize,
    pub(super) vertical: SamePadding,
    pub(super) horizontal: SamePadding,
}

/// Some rows of a block's output, and the expanded rows that they need.
#[derive(Clone, Copy)]
pub(super) struct RowTile {
    pub(super) first_row: usize,
    pub(super) rows: usize,
    /// Rows of the expanded tile, padding included.
    pub(super) expanded_rows: usize,
    /// The part of them that is not padding, as rows of the expanded activation …
    pub(super) valid: (usize, usize),
    /// … and where it begins in the tile.
    pub(super) padding_above: usize,
}

impl Geometry {
    /// For a depthwise convolution over an expanded activation of this height and width.
    pub(super) fn new(
        (expanded_height, expanded_width): (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Self {
        Self {
            kernel,
            stride,
            expanded_height,
            expanded_width,
            vertical: SamePadding::new(expanded_height, kernel, stride),
            horizontal: SamePadding::new(expanded_width, kernel, stride),
        }
    }

    /// The tiles of the output, from top to bottom; `threads` above one share them.
    pub(super) fn tiles(&self, threads: usize) -> Vec<RowTile> {
        let (kernel, stride) = (self.kernel, self.stride);
        let height = self.vertical.outputs;
        let expanded_rows = (EXPANDED_TARGET / (self.horizontal.padded * PANEL)).max(kernel);
        let fitting = ((expanded_rows - kernel) / stride + 1).clamp(1, height);
        let mut count = height.div_ceil(fitting);
        if count > 1 && threads > 1 {
            // As many tiles for every thread, so that none waits for the last one.
            count = count.next_multiple_of(threads).min(height);
        }
        let rows = height.div_ceil(count);
        let tile = |first_row: usize| {
            let rows = rows.min(height - first_row);
            let expanded_rows = (rows - 1) * stride + kernel;
            let top = first_row * stride;
            let before = self.vertical.before;
            let bottom = (top + expanded_rows).saturating_sub(before);
            let valid = (top.saturating_sub(before), bottom.min(self.expanded_height));
            RowTile { first_row, rows, expanded_rows, valid, padding_above: before.saturating_sub(top) }
        };
        (0..height).step_by(rows).map(tile).collect()
    }
}
