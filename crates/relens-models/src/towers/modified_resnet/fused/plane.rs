//! Feature maps in panels of channels, with or without a border of zeros.

use crate::ops::add_row;
use crate::ops::convolution::{AlignedBuffer, PANEL, panel_count};

/// The sizes of a feature map `[⌈channels / 32⌉, height + 2·border, width + 2·border, 32]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MapShape {
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Zeros on every side, which a 3×3 kernel looks at.
    pub(super) border: usize,
}

impl MapShape {
    /// Numbers of a row, its borders included.
    pub(super) fn row(&self) -> usize {
        (self.width + 2 * self.border) * PANEL
    }

    /// Numbers of a panel.
    pub(super) fn panel(&self) -> usize {
        (self.height + 2 * self.border) * self.row()
    }

    /// Numbers altogether.
    pub(super) fn length(&self) -> usize {
        panel_count(self.channels) * self.panel()
    }
}

/// A feature map to be written.
pub(super) struct MapPlane<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) shape: MapShape,
}

impl<'a> MapPlane<'a> {
    /// A feature map in a buffer that grows if need be.
    pub(super) fn new(buffer: &'a mut AlignedBuffer, shape: MapShape) -> Self {
        buffer.grow(shape.length());
        Self { data: &mut buffer.as_mut_slice()[..shape.length()], shape }
    }

    /// The same, its border cleared.
    pub(super) fn bordered(buffer: &'a mut AlignedBuffer, shape: MapShape) -> Self {
        let plane = Self::new(buffer, shape);
        // The buffer held another block's map; only the border is cleared, the inside is about to be written.
        let edge = shape.border * PANEL;
        for panel in plane.data.chunks_exact_mut(shape.panel()) {
            let last = shape.border + shape.height;
            for (number, row) in panel.chunks_exact_mut(shape.row()).enumerate() {
                if (shape.border..last).contains(&number) {
                    let end = row.len() - edge;
                    row[..edge].fill(0.0);
                    row[end..].fill(0.0);
                } else {
                    row.fill(0.0);
                }
            }
        }
        plane
    }
}

/// The mean of each `stride` × `stride` square; what exceeds a multiple of the stride is left out.
pub(super) fn average_pool(
    input: &[f32],
    shape: MapShape,
    stride: usize,
    output: &mut AlignedBuffer,
) -> MapShape {
    let pooled = MapShape { height: shape.height / stride, width: shape.width / stride, ..shape };
    let target = MapPlane::new(output, pooled);
    let factor = 1.0 / (stride * stride) as f32;
    let panels = input.chunks_exact(shape.panel().max(1));
    for (panel, target) in panels.zip(target.data.chunks_exact_mut(pooled.panel().max(1))) {
        for (row, target) in target.chunks_exact_mut(pooled.row().max(1)).enumerate() {
            for (column, target) in target.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
                let mut sums = [0.0f32; PANEL];
                for dy in 0..stride {
                    let start = (row * stride + dy) * shape.row() + column * stride * PANEL;
                    for pixel in panel[start..start + stride * PANEL].as_chunks::<PANEL>().0 {
                        add_row(&mut sums, pixel);
                    }
                }
                *target = sums.map(|sum| sum * factor);
            }
        }
    }
    pooled
}
