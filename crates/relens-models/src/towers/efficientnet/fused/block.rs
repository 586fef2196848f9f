//! Expansion, depthwise convolution and projection of a block in one go.
//!
//! The expanded activation of a block is six times as wide as its input; written out, it would leave the cache at
//! every early block. So a block is computed in tiles of output rows, and within a tile one panel of 32 channels
//! is expanded, padded and convolved before the next one is looked at. Only the depthwise output of the tile is
//! collected, for the projection.

use rayon::prelude::*;

use super::depthwise::{DepthwiseWeights, convolve_depthwise_panel};
use super::depthwise::{Geometry, RowTile};
use crate::ops::SamePadding;
use crate::ops::convolution::{
    AlignedBuffer, Destination, ONE_TAP, PANEL, PackedWeights, PanelEpilogue, Pixels, ScratchPool,
    convolve_panel, panel_count,
};

/// Pixels that one thread projects at a time.
const PROJECTED_PIXELS: usize = 7 * 14;

const IMAGE_CHANNELS: usize = 3;
const STEM_KERNEL: usize = 3;
const STEM_STRIDE: usize = 2;
const STEM_STEP: usize = STEM_STRIDE * IMAGE_CHANNELS;

/// What produces the wide activation.
pub(in crate::towers::efficientnet) enum Expansion {
    /// The network's 3×3 convolution with stride 2, which the first block absorbs.
    Stem(PackedWeights),
    /// The block's 1×1 convolution.
    Pointwise(PackedWeights),
}

/// A block with its normalisations folded into weights and biases.
pub(in crate::towers::efficientnet) struct FusedBlock {
    pub(in crate::towers::efficientnet) expansion: Expansion,
    pub(in crate::towers::efficientnet) depthwise: DepthwiseWeights,
    pub(in crate::towers::efficientnet) projection: PackedWeights,
    /// Whether the input is added to the output.
    pub(in crate::towers::efficientnet) residual: bool,
}

/// A block's input: panels, or the picture `[height, width, 3]` for the first block.
#[derive(Clone, Copy)]
pub(super) struct InputPlane<'a> {
    pub(super) data: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Buffers of one thread at work.
#[derive(Default)]
pub(super) struct BlockBuffers {
    /// The rows of the picture that a tile of the stem looks at, padding included.
    pub(super) image: AlignedBuffer,
    /// One expanded panel of a tile, padding included.
    pub(super) expanded: AlignedBuffer,
    /// The depthwise convolution's output for a tile, all panels.
    pub(super) depthwise: AlignedBuffer,
    /// A block's input and output, in turns.
    pub(super) activations: [AlignedBuffer; 2],
}

impl FusedBlock {
    /// Height and width of the output.
    pub(super) fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        let geometry = self.geometry(height, width);
        (geometry.vertical.outputs, geometry.horizontal.outputs)
    }

    pub(super) fn output_channels(&self) -> usize {
        self.projection.outputs()
    }

    /// Computes the block for one image; `threads` above one splits the image itself.
    ///
    /// # Shapes
    /// - `output`: panels `[⌈channels / 32⌉, height × width, 32]`
    pub(super) fn run(
        &self,
        input: InputPlane<'_>,
        output: &mut [f32],
        scratch: &mut BlockBuffers,
        pool: &ScratchPool<BlockBuffers>,
        threads: usize,
    ) {
        let geometry = self.geometry(input.height, input.width);
        let tiles = geometry.tiles(threads);
        let row = geometry.horizontal.outputs * PANEL;
        // A tile writes some rows of every panel: the output is cut so that tiles can run on threads of their own.
        let mut outputs: Vec<Vec<&mut [f32]>> = tiles.iter().map(|_| Vec::new()).collect();
        for mut panel in output.chunks_exact_mut(geometry.vertical.outputs * row) {
            for (tile, parts) in tiles.iter().zip(&mut outputs) {
                let (part, rest) = panel.split_at_mut(tile.rows * row);
                parts.push(part);
                panel = rest;
            }
        }
        let task = BlockTask { block: self, input, geometry };
        // Late blocks have few rows and many channels and are one tile: there, panels are spread over threads
        // instead.
        if threads > 1 && tiles.len() > 1 {
            let work: Vec<_> = tiles.into_iter().zip(outputs).collect();
            work.into_par_iter().for_each(|(tile, outputs)| {
                task.run_tile(tile, outputs, &mut pool.lend().scratch);
            });
            return;
        }
        for (tile, outputs) in tiles.into_iter().zip(outputs) {
            if threads > 1 {
                task.run_tile_on_all_threads(tile, outputs, scratch, pool);
            } else {
                task.run_tile(tile, outputs, scratch);
            }
        }
    }

    fn geometry(&self, height: usize, width: usize) -> Geometry {
        let expanded = match self.expansion {
            Expansion::Stem(_) => (height.div_ceil(STEM_STRIDE), width.div_ceil(STEM_STRIDE)),
            Expansion::Pointwise(_) => (height, width),
        };
        Geometry::new(expanded, self.depthwise.kernel(), self.depthwise.stride())
    }
}

struct BlockTask<'a> {
    block: &'a FusedBlock,
    input: InputPlane<'a>,
    geometry: Geometry,
}

impl BlockTask<'_> {
    fn run_tile(&self, tile: RowTile, outputs: Vec<&mut [f32]>, scratch: &mut BlockBuffers) {
        let panel_length = self.prepare(tile, scratch);
        let BlockBuffers { image, expanded, depthwise, .. } = scratch;
        let panels = depthwise.as_mut_slice().chunks_exact_mut(panel_length);
        for (panel, output) in panels.take(self.panels()).enumerate() {
            self.expand_and_convolve(tile, panel, image.as_slice(), expanded, output);
        }
        for (panel, output) in outputs.into_iter().enumerate() {
            self.project(tile, panel, depthwise.as_slice(), 0, output);
        }
    }

    fn run_tile_on_all_threads(
        &self,
        tile: RowTile,
        outputs: Vec<&mut [f32]>,
        scratch: &mut BlockBuffers,
        pool: &ScratchPool<BlockBuffers>,
    ) {
        let panel_length = self.prepare(tile, scratch);
        let BlockBuffers { image, depthwise, .. } = scratch;
        let image = image.as_slice();
        depthwise.as_mut_slice()[..self.panels() * panel_length]
            .par_chunks_exact_mut(panel_length)
            .enumerate()
            .for_each_init(
                // Expanding overwrites its buffer, so every thread needs one; the depthwise output is shared and cut
                // by panels.
                || pool.lend(),
                |loan, (panel, output)| {
                    let expanded = &mut loan.scratch.expanded;
                    expanded.grow(self.expanded_length(tile));
                    self.expand_and_convolve(tile, panel, image, expanded, output);
                },
            );
        let depthwise = depthwise.as_slice();
        outputs.into_par_iter().enumerate().for_each(|(panel, output)| {
            output.par_chunks_mut(PROJECTED_PIXELS * PANEL).enumerate().for_each(|(part, output)| {
                self.project(tile, panel, depthwise, part * PROJECTED_PIXELS, output);
            });
        });
    }

    fn panels(&self) -> usize {
        panel_count(self.block.depthwise.channels())
    }

    fn expanded_length(&self, tile: RowTile) -> usize {
        tile.expanded_rows * self.geometry.horizontal.padded * PANEL
    }

    /// Makes room, copies the picture's rows for the stem, and returns the length of a depthwise panel.
    fn prepare(&self, tile: RowTile, scratch: &mut BlockBuffers) -> usize {
        let panel_length = tile.rows * self.geometry.horizontal.outputs * PANEL;
        scratch.depthwise.grow(self.panels() * panel_length);
        scratch.expanded.grow(self.expanded_length(tile));
        if let Expansion::Stem(_) = self.block.expansion {
            self.copy_image(tile, &mut scratch.image);
        }
        panel_length
    }

    /// Copies the rows of the picture under a tile of the stem, with its padding.
    fn copy_image(&self, tile: RowTile, image: &mut AlignedBuffer) {
        let vertical = SamePadding::new(self.input.height, STEM_KERNEL, STEM_STRIDE);
        let horizontal = SamePadding::new(self.input.width, STEM_KERNEL, STEM_STRIDE);
        let (row_length, source_length) =
            (horizontal.padded * IMAGE_CHANNELS, self.input.width * IMAGE_CHANNELS);
        // Neighbouring output rows share a row of the image, because the kernel is one wider than the stride.
        let rows = (tile.valid.1 - tile.valid.0) * STEM_STRIDE + STEM_KERNEL - STEM_STRIDE;
        image.grow(rows * row_length);
        let first = tile.valid.0 * STEM_STRIDE;
        for (target, row) in image.as_mut_slice().chunks_exact_mut(row_length).take(rows).zip(first..) {
            target.fill(0.0);
            let source = row.checked_sub(vertical.before).filter(|row| *row < self.input.height);
            if let Some(row) = source {
                let start = horizontal.before * IMAGE_CHANNELS;
                let source = &self.input.data[row * source_length..(row + 1) * source_length];
                target[start..start + source_length].copy_from_slice(source);
            }
        }
    }

    fn expand_and_convolve(
        &self,
        tile: RowTile,
        panel: usize,
        image: &[f32],
        expanded: &mut AlignedBuffer,
        output: &mut [f32],
    ) {
        let expanded = &mut expanded.as_mut_slice()[..self.expanded_length(tile)];
        self.clear_padding(tile, expanded);
        let geometry = &self.geometry;
        let start = tile.padding_above * geometry.horizontal.padded + geometry.horizontal.before;
        // The expansion writes past the padding, so that the depthwise kernel needs no case for edges.
        let inside = &mut expanded[start * PANEL..];
        match &self.block.expansion {
            Expansion::Stem(weights) => self.expand_image(tile, weights, image, inside),
            Expansion::Pointwise(weights) => self.expand_pixels(tile, weights, panel, inside),
        }
        let size = (tile.rows, geometry.horizontal.outputs);
        convolve_depthwise_panel(&self.block.depthwise, panel, expanded, size, output);
    }

    fn clear_padding(&self, tile: RowTile, expanded: &mut [f32]) {
        let horizontal = self.geometry.horizontal;
        let valid = tile.padding_above..tile.padding_above + (tile.valid.1 - tile.valid.0);
        let (left, right) =
            (horizontal.before * PANEL, (horizontal.before + self.geometry.expanded_width) * PANEL);
        for (row, values) in expanded.chunks_exact_mut(horizontal.padded * PANEL).enumerate() {
            if valid.contains(&row) {
                values[..left].fill(0.0);
                values[right..].fill(0.0);
            } else {
                values.fill(0.0);
            }
        }
    }

    fn expand_pixels(&self, tile: RowTile, weights: &PackedWeights, panel: usize, inside: &mut [f32]) {
        let geometry = &self.geometry;
        let width = geometry.expanded_width;
        let pixels = Pixels::<PANEL> {
            data: &self.input.data[tile.valid.0 * width * PANEL..],
            count: (tile.valid.1 - tile.valid.0) * width,
            segment_length: PANEL,
            // The next 32 inputs of a pixel are a whole panel further on.
            segment_step: self.input.height * self.input.width * PANEL,
            taps: ONE_TAP,
        };
        // Rows of the input lie side by side; in the tile padding stands between them.
        let gap = (geometry.horizontal.padded - width) * PANEL;
        let mut destination = Destination { data: inside, row: width, gap };
        convolve_panel(weights, panel, pixels, &mut destination, PanelEpilogue::Relu6);
    }

    fn expand_image(&self, tile: RowTile, weights: &PackedWeights, image: &[f32], inside: &mut [f32]) {
        let horizontal = SamePadding::new(self.input.width, STEM_KERNEL, STEM_STRIDE);
        let row_length = horizontal.padded * IMAGE_CHANNELS;
        for row in 0..tile.valid.1 - tile.valid.0 {
            let pixels = Pixels::<STEM_STEP> {
                data: &image[row * STEM_STRIDE * row_length..],
                count: self.geometry.expanded_width,
                // Three pixels of a row are nine numbers in a row: the kernel's rows are the segments.
                segment_length: STEM_KERNEL * IMAGE_CHANNELS,
                segment_step: row_length,
                taps: ONE_TAP,
            };
            let data = &mut inside[row * self.geometry.horizontal.padded * PANEL..];
            let mut destination = Destination { data, row: self.geometry.expanded_width, gap: 0 };
            convolve_panel(weights, 0, pixels, &mut destination, PanelEpilogue::Relu6);
        }
    }

    /// Projects the pixels of a tile from `first_pixel` on into `output`.
    fn project(
        &self,
        tile: RowTile,
        panel: usize,
        depthwise: &[f32],
        first_pixel: usize,
        output: &mut [f32],
    ) {
        let width = self.geometry.horizontal.outputs;
        let count = output.len() / PANEL;
        let pixels = Pixels::<PANEL> {
            data: &depthwise[first_pixel * PANEL..],
            count,
            segment_length: PANEL,
            segment_step: tile.rows * width * PANEL,
            taps: ONE_TAP,
        };
        let epilogue = if self.block.residual {
            let panel_start = panel * self.input.height * self.input.width;
            let start = (panel_start + tile.first_row * width + first_pixel) * PANEL;
            PanelEpilogue::Residual(&self.input.data[start..])
        } else {
            PanelEpilogue::Linear
        };
        let mut destination = Destination { data: output, row: count, gap: 0 };
        convolve_panel(&self.block.projection, panel, pixels, &mut destination, epilogue);
    }
}
