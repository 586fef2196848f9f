//! The trunk of a modified ResNet for inference: everything in panels of channels, no tensor in between.
//! A feature map may have a border of zeros, so that a convolution need not ask where the picture ends.

mod convolution;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use self::convolution::StemConvolution;
use crate::Result;
use crate::ops::add_row;
use crate::ops::convolution::{AlignedBuffer, PANEL, PanelEpilogue, ScratchPool, panel_count, unpack};

pub(super) use self::convolution::Convolution;

/// The trunk, up to the attention pool.
pub(super) struct FusedTrunk {
    stem: (StemConvolution, [Convolution; 2]),
    blocks: Vec<FusedBottleneck>,
    pool: ScratchPool<TrunkBuffers>,
}

/// A bottleneck with its normalisations folded in.
pub(super) struct FusedBottleneck {
    pub(super) reduce: Convolution,
    pub(super) spatial: Convolution,
    pub(super) expand: Convolution,
    pub(super) shortcut: Option<Convolution>,
    pub(super) stride: usize,
}

/// Buffers that one picture passes through.
#[derive(Default)]
struct TrunkBuffers {
    /// A block's input and output, in turns.
    activations: [AlignedBuffer; 2],
    /// Inside a block: behind the first convolution, behind the second, pooled, the pooled input, the shortcut.
    inner: [AlignedBuffer; 5],
    image: AlignedBuffer,
}

impl FusedTrunk {
    pub(super) fn new(stem: [&super::FoldedConvolution; 3], blocks: &[super::Bottleneck]) -> Result<Self> {
        let [first, second, third] = stem;
        Ok(Self {
            stem: (StemConvolution::new(first)?, [Convolution::new(second)?, Convolution::new(third)?]),
            blocks: blocks.iter().map(super::Bottleneck::fuse).collect::<Result<_>>()?,
            pool: ScratchPool::default(),
        })
    }

    /// The last feature map of pictures of `side` × `side` pixels.
    ///
    /// # Shapes
    /// - `images`: `[images, side, side, 3]`
    /// - returns: `[images, side / 32, side / 32, channels]`, and channels
    pub(super) fn features(&self, images: &[f32], side: usize) -> (Vec<f32>, usize) {
        let image_length = side * side * 3;
        let count = images.len() / image_length.max(1);
        let channels = self.blocks.last().map_or(0, |block| block.expand.outputs());
        let places = super::final_side(side).pow(2);
        let mut features = vec![0.0; count * places * channels];
        let available = rayon::current_num_threads();
        // With at least as many pictures as threads each is one thread's, otherwise all work on one.
        let threads = if count >= available { 1 } else { available };
        let run = |(image, output): (&[f32], &mut [f32])| {
            let mut loan = self.pool.lend();
            let scratch = &mut loan.scratch;
            let shape = self.run(image, side, scratch, threads);
            unpack(&scratch.activations[0].as_slice()[..shape.length()], channels, output);
        };
        let output_length = (places * channels).max(1);
        if threads > 1 {
            images.chunks_exact(image_length).zip(features.chunks_exact_mut(output_length)).for_each(run);
        } else {
            let outputs = features.par_chunks_exact_mut(output_length);
            images.par_chunks_exact(image_length).zip(outputs).for_each(run);
        }
        (features, channels)
    }

    /// Leaves the last feature map in the first of the scratch's activations.
    fn run(&self, image: &[f32], side: usize, scratch: &mut TrunkBuffers, threads: usize) -> MapShape {
        let TrunkBuffers { activations: [input, output], inner: [first, second, ..], image: padded } =
            scratch;
        let (stem, [middle, last]) = &self.stem;
        let half = side.div_ceil(2);
        let shape = |channels, border| MapShape { channels, height: half, width: half, border };
        let (narrow, wide) = (shape(stem.outputs(), 1), shape(last.outputs(), 0));
        stem.run(image, side, padded, &mut MapPlane::bordered(first, narrow), threads);
        let mut to = MapPlane::bordered(second, narrow);
        middle.run(first.as_slice(), narrow, &mut to, PanelEpilogue::Relu, threads);
        let mut to = MapPlane::new(first, wide);
        last.run(second.as_slice(), narrow, &mut to, PanelEpilogue::Relu, threads);
        let mut shape = average_pool(first.as_slice(), wide, 2, input);
        for block in &self.blocks {
            shape = block.run(input, shape, output, &mut scratch.inner, threads);
            std::mem::swap(input, output);
        }
        shape
    }
}

impl FusedBottleneck {
    /// `input` of this shape to `output`, whose shape is returned.
    fn run(
        &self,
        input: &AlignedBuffer,
        shape: MapShape,
        output: &mut AlignedBuffer,
        [reduced, convolved, pooled, pooled_input, shortcut]: &mut [AlignedBuffer; 5],
        threads: usize,
    ) -> MapShape {
        let inner = MapShape { channels: self.reduce.outputs(), border: 1, ..shape };
        // The first convolution writes into a bordered map, because the 3×3 one that reads it needs the zeros.
        let mut to = MapPlane::bordered(reduced, inner);
        self.reduce.run(input.as_slice(), shape, &mut to, PanelEpilogue::Relu, threads);
        let flat = MapShape { border: 0, ..inner };
        let mut to = MapPlane::new(convolved, flat);
        self.spatial.run(reduced.as_slice(), inner, &mut to, PanelEpilogue::Relu, threads);
        // Both branches are pooled alike, so they stay in step.
        let (spatial, source, small, narrow) = if self.stride > 1 {
            let narrow = average_pool(convolved.as_slice(), flat, self.stride, pooled);
            let small = average_pool(input.as_slice(), shape, self.stride, pooled_input);
            (&*pooled, &*pooled_input, small, narrow)
        } else {
            (&*convolved, input, shape, flat)
        };
        let outputs = MapShape { channels: self.expand.outputs(), ..narrow };
        let residual = match &self.shortcut {
            None => source,
            Some(convolution) => {
                let mut to = MapPlane::new(shortcut, outputs);
                convolution.run(source.as_slice(), small, &mut to, PanelEpilogue::Linear, threads);
                &*shortcut
            }
        };
        let epilogue = PanelEpilogue::ResidualRelu(residual.as_slice());
        let mut to = MapPlane::new(output, outputs);
        self.expand.run(spatial.as_slice(), narrow, &mut to, epilogue, threads);
        outputs
    }
}

impl std::fmt::Debug for FusedTrunk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FusedTrunk({} blocks)", self.blocks.len())
    }
}

/// The sizes of a feature map `[⌈channels / 32⌉, height + 2·border, width + 2·border, 32]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MapShape {
    channels: usize,
    height: usize,
    width: usize,
    /// Zeros on every side, which a 3×3 kernel looks at.
    border: usize,
}

impl MapShape {
    /// Numbers of a row, its borders included.
    fn row(&self) -> usize {
        (self.width + 2 * self.border) * PANEL
    }

    /// Numbers of a panel.
    fn panel(&self) -> usize {
        (self.height + 2 * self.border) * self.row()
    }

    /// Numbers altogether.
    fn length(&self) -> usize {
        panel_count(self.channels) * self.panel()
    }
}

/// A feature map to be written.
struct MapPlane<'a> {
    data: &'a mut [f32],
    shape: MapShape,
}

impl<'a> MapPlane<'a> {
    /// A feature map in a buffer that grows if need be.
    fn new(buffer: &'a mut AlignedBuffer, shape: MapShape) -> Self {
        buffer.grow(shape.length());
        Self { data: &mut buffer.as_mut_slice()[..shape.length()], shape }
    }

    /// The same, its border cleared.
    fn bordered(buffer: &'a mut AlignedBuffer, shape: MapShape) -> Self {
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
fn average_pool(input: &[f32], shape: MapShape, stride: usize, output: &mut AlignedBuffer) -> MapShape {
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
