//! The layout of activations and weights inside a fused network.
//!
//! Channels are grouped into panels of [`PANEL`]; a panel holds all pixels, a pixel its channels side by side:
//! `[panels, pixels, 32]`. A kernel that walks along the pixels of a panel then addresses memory with constant
//! steps, and one panel of an activation fits into the fastest caches. What pads the last panel is never read.

use std::sync::{Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};

/// Channels of a panel: two registers of AVX-512, four of AVX2.
pub(crate) const PANEL: usize = 32;

/// Channels of a narrow last panel, where no more are needed.
pub(crate) const HALF_PANEL: usize = 16;

/// The number of panels that hold `channels`.
pub(crate) fn panel_count(channels: usize) -> usize {
    channels.div_ceil(PANEL)
}

/// How many channels of panel `panel` are computed: all, or half if the rest would be padding.
pub(crate) fn panel_width(channels: usize, panel: usize) -> usize {
    if channels.saturating_sub(panel * PANEL) <= HALF_PANEL { HALF_PANEL } else { PANEL }
}

#[derive(Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

/// Numbers that begin on a cache line, so that no register load straddles two of them.
#[derive(Clone, Default)]
pub(crate) struct AlignedBuffer {
    lines: Vec<CacheLine>,
}

impl AlignedBuffer {
    pub(crate) fn zeros(length: usize) -> Self {
        let mut buffer = Self::default();
        buffer.grow(length);
        buffer
    }

    /// Makes room for at least `length` numbers; what is in the buffer stays.
    pub(crate) fn grow(&mut self, length: usize) {
        let lines = length.div_ceil(16);
        if lines > self.lines.len() {
            // Only ever larger: a buffer is reused from image to image, and what it held does not matter.
            self.lines.resize(lines, CacheLine([0.0; 16]));
        }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines)
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

/// Copies panels `[panels, pixels, 32]` into pixels `[pixels, channels]`.
pub(crate) fn unpack(panels: &[f32], channels: usize, pixels: &mut [f32]) {
    let panel_length = pixels.len() / channels * PANEL;
    for (target, pixel) in pixels.chunks_exact_mut(channels).zip(0..) {
        for (panel, values) in target.chunks_mut(PANEL).enumerate() {
            let start = panel * panel_length + pixel * PANEL;
            values.copy_from_slice(&panels[start..start + values.len()]);
        }
    }
}

/// Buffers that are not in use. A thread that waits inside a parallel loop may start another image, so buffers belong
/// to a piece of work, not to a thread.
#[derive(Default)]
pub(crate) struct ScratchPool<T> {
    idle: Mutex<Vec<T>>,
}

impl<T: Default> ScratchPool<T> {
    /// Lends buffers until the loan is dropped.
    pub(crate) fn lend(&self) -> ScratchLoan<'_, T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        ScratchLoan { pool: self, scratch: idle.unwrap_or_default() }
    }
}

/// Buffers on loan.
pub(crate) struct ScratchLoan<'a, T: Default> {
    pool: &'a ScratchPool<T>,
    pub(crate) scratch: T,
}

impl<T: Default> Drop for ScratchLoan<'_, T> {
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
