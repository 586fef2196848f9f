//! Pixels times a panel of weights, with bias, residual and activation applied in registers.

use pulp::{Simd, WithSimd};

use super::operands::{Destination, PackedWeights, PanelEpilogue, Pixels};
use super::panels::{HALF_PANEL, PANEL};

/// Computes panel `panel` of a convolution for consecutive pixels.
///
/// # Panics
/// If a slice is shorter than the pixels need: what follows reads and writes without further checks.
pub(crate) fn convolve_panel<const STEP: usize>(
    weights: &PackedWeights,
    panel: usize,
    pixels: Pixels<'_, STEP>,
    destination: &mut Destination<'_>,
    epilogue: PanelEpilogue<'_>,
) {
    if pixels.count > 0 {
        pulp::Arch::new().dispatch(checked(weights, panel, pixels, destination, epilogue));
    }
}

/// The product as a task for any instruction set, after the lengths of all slices have been checked.
pub(crate) fn checked<'a, 'd, const STEP: usize>(
    weights: &'a PackedWeights,
    panel: usize,
    pixels: Pixels<'a, STEP>,
    destination: &'a mut Destination<'d>,
    epilogue: PanelEpilogue<'a>,
) -> PanelProduct<'a, 'd, STEP> {
    let inputs = weights.inputs / pixels.taps.len();
    assert!(inputs * pixels.taps.len() == weights.inputs, "weights for another number of taps");
    let last_pixel = pixels.count.saturating_sub(1) * STEP + pixels.taps.iter().max().copied().unwrap_or(0);
    let segments = inputs.div_ceil(pixels.segment_length).max(1);
    let last_segment = inputs - (segments - 1) * pixels.segment_length;
    let needed = (segments - 1) * pixels.segment_step + last_pixel + last_segment;
    // The last segment may be shorter than the others, so the one before it can reach further.
    let needed_early = match segments {
        0 | 1 => 0,
        _ => (segments - 2) * pixels.segment_step + last_pixel + pixels.segment_length,
    };
    assert!(pixels.data.len() >= needed.max(needed_early), "inputs end early");
    assert!(destination.data.len() >= destination.needed(pixels.count), "destination ends early");
    if let Some(residual) = epilogue.residual() {
        assert!(residual.len() >= pixels.count * PANEL, "residual ends early");
    }
    let (weights, bias) = weights.panel(panel);
    PanelProduct { inputs, weights, bias, pixels, destination, epilogue }
}

/// One panel of a convolution, ready to be computed.
pub(crate) struct PanelProduct<'a, 'd, const STEP: usize> {
    /// Inputs at each tap.
    inputs: usize,
    weights: &'a [f32],
    bias: &'a [f32],
    pixels: Pixels<'a, STEP>,
    destination: &'a mut Destination<'d>,
    epilogue: PanelEpilogue<'a>,
}

impl<const STEP: usize> WithSimd for PanelProduct<'_, '_, STEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        // SAFETY: `convolve_panel` checked that everything the tiles touch is inside the slices.
        unsafe {
            match (S::F32_LANES, self.bias.len()) {
                // The number of registers for a panel's channels decides how many pixels fit beside them.
                (16, PANEL) => self.run_32_registers::<S, 2>(simd),
                (16, HALF_PANEL) => self.run_32_registers::<S, 1>(simd),
                (8, PANEL) => self.run_wide::<S, 4>(simd),
                (8, HALF_PANEL) => self.run_narrow::<S, 2>(simd),
                (4, PANEL) => self.run_wide::<S, 8>(simd),
                (4, HALF_PANEL) => self.run_narrow::<S, 4>(simd),
                (_, width) => self.run_scalar(width / HALF_PANEL),
            }
        }
    }
}

/// Where the next tile begins.
struct Cursor {
    pixel: usize,
    column: usize,
    output: *mut f32,
}

impl<const STEP: usize> PanelProduct<'_, '_, STEP> {
    /// Tiles of 14 pixels: pictures of 224 pixels a side have rows of 112, 56, 28, 14 and 7.
    #[inline(always)]
    unsafe fn run_32_registers<S: Simd, const V: usize>(&mut self, simd: S) {
        let mut cursor = self.start();
        // SAFETY: as for the caller.
        unsafe {
            self.tiles::<S, V, 14>(simd, &mut cursor);
            self.tiles::<S, V, 7>(simd, &mut cursor);
            self.tiles::<S, V, 4>(simd, &mut cursor);
            self.tiles::<S, V, 2>(simd, &mut cursor);
            self.tiles::<S, V, 1>(simd, &mut cursor);
        }
    }

    #[inline(always)]
    unsafe fn run_wide<S: Simd, const V: usize>(&mut self, simd: S) {
        let mut cursor = self.start();
        // SAFETY: as for the caller.
        unsafe {
            // Three pixels by a whole panel leave registers for weights and inputs.
            self.tiles::<S, V, 3>(simd, &mut cursor);
            self.tiles::<S, V, 2>(simd, &mut cursor);
            self.tiles::<S, V, 1>(simd, &mut cursor);
        }
    }

    #[inline(always)]
    unsafe fn run_narrow<S: Simd, const V: usize>(&mut self, simd: S) {
        let mut cursor = self.start();
        // SAFETY: as for the caller.
        unsafe {
            // Half a panel takes half the registers, so twice as many pixels fit.
            self.tiles::<S, V, 6>(simd, &mut cursor);
            self.tiles::<S, V, 3>(simd, &mut cursor);
            self.tiles::<S, V, 1>(simd, &mut cursor);
        }
    }

    /// Without wide registers: sixteen channels at a time, which the compiler spreads over what there is.
    #[inline(always)]
    unsafe fn run_scalar(&mut self, halves: usize) {
        let mut cursor = self.start();
        let width = self.bias.len();
        while cursor.pixel < self.pixels.count {
            for half in 0..halves {
                let channels = half * HALF_PANEL..(half + 1) * HALF_PANEL;
                let mut sums = [0.0f32; HALF_PANEL];
                // The sums begin at the bias, as in the wide kernels, so that the order of summation is the same.
                sums.copy_from_slice(&self.bias[channels.clone()]);
                self.add_products(cursor.pixel, (width, channels.clone()), &mut sums);
                if let Some(residual) = self.epilogue.residual() {
                    let row = &residual[cursor.pixel * PANEL..][channels.clone()];
                    sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
                let (lowest, highest) = self.epilogue.clamp();
                for sum in &mut sums {
                    *sum = lowest.map_or(*sum, |lowest| sum.max(lowest));
                    *sum = highest.map_or(*sum, |highest| sum.min(highest));
                }
                // SAFETY: `convolve_panel` checked the destination's length.
                unsafe {
                    let target = cursor.output.add(half * HALF_PANEL);
                    std::ptr::copy_nonoverlapping(sums.as_ptr(), target, HALF_PANEL);
                }
            }
            // SAFETY: as above.
            unsafe { self.advance(&mut cursor, 1) };
        }
    }

    #[inline(always)]
    fn add_products(
        &self,
        pixel: usize,
        (width, channels): (usize, std::ops::Range<usize>),
        sums: &mut [f32; HALF_PANEL],
    ) {
        let mut weights = self.weights.chunks_exact(width);
        for first in (0..self.inputs).step_by(self.pixels.segment_length) {
            let segment = first / self.pixels.segment_length * self.pixels.segment_step + pixel * STEP;
            let length = self.pixels.segment_length.min(self.inputs - first);
            for tap in self.pixels.taps {
                let values = &self.pixels.data[segment + tap..][..length];
                for (value, row) in values.iter().zip(weights.by_ref()) {
                    for (sum, weight) in sums.iter_mut().zip(&row[channels.clone()]) {
                        *sum += value * weight;
                    }
                }
            }
        }
    }

    fn start(&mut self) -> Cursor {
        Cursor { pixel: 0, column: 0, output: self.destination.data.as_mut_ptr() }
    }

    #[inline(always)]
    unsafe fn advance(&self, cursor: &mut Cursor, pixels: usize) {
        cursor.pixel += pixels;
        for _ in 0..pixels {
            // SAFETY: stays within or one past the destination; `wrapping_add` needs no promise behind its end.
            cursor.output = cursor.output.wrapping_add(PANEL);
            cursor.column += 1;
            if cursor.column == self.destination.row {
                cursor.column = 0;
                cursor.output = cursor.output.wrapping_add(self.destination.gap);
            }
        }
    }

    /// Computes tiles of `R` pixels by `V` registers of channels while `R` pixels are left.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const V: usize, const R: usize>(&self, simd: S, cursor: &mut Cursor) {
        while cursor.pixel + R <= self.pixels.count {
            // SAFETY: `convolve_panel` checked the lengths of all operands.
            // All R · V sums stay in registers from the first product to the last; nothing is read back from the
            // output.
            let mut sums = unsafe { self.sums::<S, V, R>(simd, cursor.pixel) };
            if let Some(residual) = self.epilogue.residual() {
                for (row, pixel) in sums.iter_mut().zip(cursor.pixel..) {
                    for (sum, vector) in row.iter_mut().zip(0..) {
                        // SAFETY: as above.
                        let value = unsafe { load::<S>(residual.as_ptr().add(pixel * PANEL), vector) };
                        *sum = simd.add_f32s(*sum, value);
                    }
                }
            }
            let (lowest, highest) = self.epilogue.clamp();
            if let Some(lowest) = lowest.map(|lowest| simd.splat_f32s(lowest)) {
                for sum in sums.as_flattened_mut() {
                    *sum = simd.max_f32s(*sum, lowest);
                }
            }
            if let Some(highest) = highest.map(|highest| simd.splat_f32s(highest)) {
                for sum in sums.as_flattened_mut() {
                    *sum = simd.min_f32s(*sum, highest);
                }
            }
            // A row of the image may end in the middle of a tile, so the gap is looked for at each
            // pixel.
            for row in sums {
                for (sum, vector) in row.into_iter().zip(0..) {
                    // SAFETY: as above.
                    unsafe { cursor.output.cast::<S::f32s>().add(vector).write_unaligned(sum) };
                }
                // SAFETY: as above.
                unsafe { self.advance(cursor, 1) };
            }
        }
    }

    #[inline(always)]
    unsafe fn sums<S: Simd, const V: usize, const R: usize>(
        &self,
        simd: S,
        pixel: usize,
    ) -> [[S::f32s; V]; R] {
        // SAFETY: `convolve_panel` checked the lengths of all operands.
        unsafe {
            let mut bias = [simd.splat_f32s(0.0); V];
            for (vector, value) in bias.iter_mut().enumerate() {
                *value = load::<S>(self.bias.as_ptr(), vector);
            }
            let mut sums = [bias; R];
            let mut weights = self.weights.as_ptr();
            let mut segment = self.pixels.data.as_ptr().add(pixel * STEP);
            let mut left = self.inputs;
            while left > 0 {
                let length = left.min(self.pixels.segment_length);
                for &tap in self.pixels.taps {
                    let inputs = segment.add(tap);
                    for input in 0..length {
                        // `bias` only gives the array its type and length; every element is overwritten.
                        let mut row = bias;
                        for (vector, value) in row.iter_mut().enumerate() {
                            *value = load::<S>(weights, vector);
                        }
                        weights = weights.add(V * S::F32_LANES);
                        for (r, sums) in sums.iter_mut().enumerate() {
                            // One input goes to all channels: weights are read once for R pixels.
                            let value = simd.splat_f32s(*inputs.add(r * STEP + input));
                            for (sum, weight) in sums.iter_mut().zip(row) {
                                *sum = simd.mul_add_e_f32s(value, weight, *sum);
                            }
                        }
                    }
                }
                // After the last segment this points behind the data, where `add` would promise too much.
                segment = segment.wrapping_add(self.pixels.segment_step);
                left -= length;
            }
            sums
        }
    }
}

/// The `vector`-th register's worth of numbers behind `start`.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(start: *const f32, vector: usize) -> S::f32s {
    // SAFETY: the caller promises that the numbers are there.
    unsafe { start.cast::<S::f32s>().add(vector).read_unaligned() }
}
