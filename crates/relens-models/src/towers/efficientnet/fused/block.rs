//! Expansion, depthwise convolution and projection of a block in one go.
//!
//! The expanded activation of a block is six times as wide as its input; written out, it would leave the cache at
//! every early block. So a block is computed in tiles of output rows, and within a tile one panel of 32 channels
//! is expanded, padded and convolved before the next one is looked at. Only the depthwise output of the tile is
//! collected, for the projection.

use rayon::prelude::*;

use super::depthwise::{DepthwiseWeights, convolve_depthwise_panel};
use super::scratch::{Scratch, ScratchPool};
use crate::ops::SamePadding;
use crate::ops::panel_convolution::{
    AlignedBuffer, Destination, Epilogue, ONE_TAP, PANEL, PackedWeights, Pixels, convolve_panel, panel_count,
};

/// Numbers in an expanded panel of a tile: with the depthwise output beside it, it should stay in a core's cache.
const EXPANDED_TARGET: usize = 40 << 10;

/// Pixels that one thread projects at a time.
const PROJECTED_PIXELS: usize = 7 * 14;

const PICTURE_CHANNELS: usize = 3;
const STEM_KERNEL: usize = 3;
const STEM_STRIDE: usize = 2;
const STEM_STEP: usize = STEM_STRIDE * PICTURE_CHANNELS;

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
pub(super) struct Plane<'a> {
    pub(super) data: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
}

/// Sizes that follow from the input's.
#[derive(Clone, Copy)]
struct Geometry {
    expanded_height: usize,
    expanded_width: usize,
    vertical: SamePadding,
    horizontal: SamePadding,
}

/// Some rows of a block's output, and the expanded rows that they need.
#[derive(Clone, Copy)]
struct Tile {
    first_row: usize,
    rows: usize,
    /// Rows of the expanded tile, padding included.
    expanded_rows: usize,
    /// The part of them that is not padding, as rows of the expanded activation …
    valid: (usize, usize),
    /// … and where it begins in the tile.
    padding_above: usize,
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
        input: Plane<'_>,
        output: &mut [f32],
        scratch: &mut Scratch,
        pool: &ScratchPool,
        threads: usize,
    ) {
        let geometry = self.geometry(input.height, input.width);
        let tiles = self.tiles(&geometry, threads);
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
        let (expanded_height, expanded_width) = match self.expansion {
            Expansion::Stem(_) => (height.div_ceil(STEM_STRIDE), width.div_ceil(STEM_STRIDE)),
            Expansion::Pointwise(_) => (height, width),
        };
        let (kernel, stride) = (self.depthwise.kernel(), self.depthwise.stride());
        Geometry {
            expanded_height,
            expanded_width,
            vertical: SamePadding::new(expanded_height, kernel, stride),
            horizontal: SamePadding::new(expanded_width, kernel, stride),
        }
    }

    fn tiles(&self, geometry: &Geometry, threads: usize) -> Vec<Tile> {
        let (kernel, stride) = (self.depthwise.kernel(), self.depthwise.stride());
        let height = geometry.vertical.outputs;
        let expanded_rows = (EXPANDED_TARGET / (geometry.horizontal.padded * PANEL)).max(kernel);
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
            let before = geometry.vertical.before;
            let bottom = (top + expanded_rows).saturating_sub(before);
            let valid = (top.saturating_sub(before), bottom.min(geometry.expanded_height));
            Tile { first_row, rows, expanded_rows, valid, padding_above: before.saturating_sub(top) }
        };
        (0..height).step_by(rows).map(tile).collect()
    }
}

struct BlockTask<'a> {
    block: &'a FusedBlock,
    input: Plane<'a>,
    geometry: Geometry,
}

impl BlockTask<'_> {
    fn run_tile(&self, tile: Tile, outputs: Vec<&mut [f32]>, scratch: &mut Scratch) {
        let panel_length = self.prepare(tile, scratch);
        let Scratch { picture, expanded, depthwise, .. } = scratch;
        let panels = depthwise.as_mut_slice().chunks_exact_mut(panel_length);
        for (panel, output) in panels.take(self.panels()).enumerate() {
            self.expand_and_convolve(tile, panel, picture.as_slice(), expanded, output);
        }
        for (panel, output) in outputs.into_iter().enumerate() {
            self.project(tile, panel, depthwise.as_slice(), 0, output);
        }
    }

    fn run_tile_on_all_threads(
        &self,
        tile: Tile,
        outputs: Vec<&mut [f32]>,
        scratch: &mut Scratch,
        pool: &ScratchPool,
    ) {
        let panel_length = self.prepare(tile, scratch);
        let Scratch { picture, depthwise, .. } = scratch;
        let picture = picture.as_slice();
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
                    self.expand_and_convolve(tile, panel, picture, expanded, output);
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

    fn expanded_length(&self, tile: Tile) -> usize {
        tile.expanded_rows * self.geometry.horizontal.padded * PANEL
    }

    /// Makes room, copies the picture's rows for the stem, and returns the length of a depthwise panel.
    fn prepare(&self, tile: Tile, scratch: &mut Scratch) -> usize {
        let panel_length = tile.rows * self.geometry.horizontal.outputs * PANEL;
        scratch.depthwise.grow(self.panels() * panel_length);
        scratch.expanded.grow(self.expanded_length(tile));
        if let Expansion::Stem(_) = self.block.expansion {
            self.copy_picture(tile, &mut scratch.picture);
        }
        panel_length
    }

    /// Copies the rows of the picture under a tile of the stem, with its padding.
    fn copy_picture(&self, tile: Tile, picture: &mut AlignedBuffer) {
        let vertical = SamePadding::new(self.input.height, STEM_KERNEL, STEM_STRIDE);
        let horizontal = SamePadding::new(self.input.width, STEM_KERNEL, STEM_STRIDE);
        let (row_length, source_length) =
            (horizontal.padded * PICTURE_CHANNELS, self.input.width * PICTURE_CHANNELS);
        // Neighbouring output rows share a row of the image, because the kernel is one wider than the stride.
        let rows = (tile.valid.1 - tile.valid.0) * STEM_STRIDE + STEM_KERNEL - STEM_STRIDE;
        picture.grow(rows * row_length);
        let first = tile.valid.0 * STEM_STRIDE;
        for (target, row) in picture.as_mut_slice().chunks_exact_mut(row_length).take(rows).zip(first..) {
            target.fill(0.0);
            let source = row.checked_sub(vertical.before).filter(|row| *row < self.input.height);
            if let Some(row) = source {
                let start = horizontal.before * PICTURE_CHANNELS;
                let source = &self.input.data[row * source_length..(row + 1) * source_length];
                target[start..start + source_length].copy_from_slice(source);
            }
        }
    }

    fn expand_and_convolve(
        &self,
        tile: Tile,
        panel: usize,
        picture: &[f32],
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
            Expansion::Stem(weights) => self.expand_picture(tile, weights, picture, inside),
            Expansion::Pointwise(weights) => self.expand_pixels(tile, weights, panel, inside),
        }
        let size = (tile.rows, geometry.horizontal.outputs);
        convolve_depthwise_panel(&self.block.depthwise, panel, expanded, size, output);
    }

    fn clear_padding(&self, tile: Tile, expanded: &mut [f32]) {
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

    fn expand_pixels(&self, tile: Tile, weights: &PackedWeights, panel: usize, inside: &mut [f32]) {
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
        convolve_panel(weights, panel, pixels, &mut destination, Epilogue::Relu6);
    }

    fn expand_picture(&self, tile: Tile, weights: &PackedWeights, picture: &[f32], inside: &mut [f32]) {
        let horizontal = SamePadding::new(self.input.width, STEM_KERNEL, STEM_STRIDE);
        let row_length = horizontal.padded * PICTURE_CHANNELS;
        for row in 0..tile.valid.1 - tile.valid.0 {
            let pixels = Pixels::<STEM_STEP> {
                data: &picture[row * STEM_STRIDE * row_length..],
                count: self.geometry.expanded_width,
                // Three pixels of a row are nine numbers in a row: the kernel's rows are the segments.
                segment_length: STEM_KERNEL * PICTURE_CHANNELS,
                segment_step: row_length,
                taps: ONE_TAP,
            };
            let data = &mut inside[row * self.geometry.horizontal.padded * PANEL..];
            let mut destination = Destination { data, row: self.geometry.expanded_width, gap: 0 };
            convolve_panel(weights, 0, pixels, &mut destination, Epilogue::Relu6);
        }
    }

    /// Projects the pixels of a tile from `first_pixel` on into `output`.
    fn project(&self, tile: Tile, panel: usize, depthwise: &[f32], first_pixel: usize, output: &mut [f32]) {
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
            Epilogue::Residual(&self.input.data[start..])
        } else {
            Epilogue::Linear
        };
        let mut destination = Destination { data: output, row: count, gap: 0 };
        convolve_panel(&self.block.projection, panel, pixels, &mut destination, epilogue);
    }
}
