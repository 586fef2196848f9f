//! How a block's output is cut into tiles of rows, and what of its input each of them needs.

use crate::ops::convolution::{PANEL, SamePadding};

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
