//! EfficientNet-Lite for inference: normalisations folded into the weights, blocks fused, no tensor in between.

mod block;
mod depthwise;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use block::{BlockBuffers, InputPlane};
pub(super) use block::{Expansion, FusedBlock};
pub(super) use depthwise::DepthwiseWeights;

pub(super) use crate::ops::convolution::PackedWeights;
use crate::ops::convolution::{
    Destination, ONE_TAP, PANEL, PanelEpilogue, Pixels, ScratchPool, convolve_panel, panel_count, unpack,
};

/// The network, or its first blocks, for inference alone.
pub(super) struct FusedNetwork {
    blocks: Vec<FusedBlock>,
    head: Option<PackedWeights>,
    pool: ScratchPool<BlockBuffers>,
}

/// A batch of pictures `[count, height, width, 3]`.
#[derive(Clone, Copy)]
pub(super) struct Images<'a> {
    pub(super) data: &'a [f32],
    pub(super) height: usize,
    pub(super) width: usize,
}

impl FusedNetwork {
    /// The first blocks and, if they are all of them, the head.
    pub(super) fn new(blocks: Vec<FusedBlock>, head: Option<PackedWeights>) -> Self {
        Self { blocks, head, pool: ScratchPool::default() }
    }

    /// How many blocks it has.
    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Whether it has the head.
    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// What comes out of the first `blocks` (one at least) blocks.
    ///
    /// # Shapes
    /// - returns: `[images, height, width, channels]` and its height, width and channels
    pub(super) fn features(&self, images: Images<'_>, blocks: usize) -> (Vec<f32>, [usize; 3]) {
        let blocks = &self.blocks[..blocks];
        let (height, width) = output_size(blocks, images);
        let channels = blocks.last().map_or(0, FusedBlock::output_channels);
        let features = self.for_each_image(images, height * width * channels, |image, output, threads| {
            let mut loan = self.pool.lend();
            let plane = self.run_blocks(blocks, image, &mut loan.scratch, threads);
            unpack(plane.data, channels, output);
        });
        (features, [height, width, channels])
    }

    /// What comes out of the head.
    ///
    /// # Shapes
    /// - returns: `[images, height, width, channels]` and its height, width and channels
    pub(super) fn head_features(&self, images: Images<'_>) -> (Vec<f32>, [usize; 3]) {
        let (height, width) = output_size(&self.blocks, images);
        let channels = self.head_channels();
        let features = self.for_each_image(images, height * width * channels, |image, output, threads| {
            self.run_head(image, threads, |panel, values| {
                for (target, value) in output.chunks_exact_mut(channels).zip(values.chunks_exact(PANEL)) {
                    let target = &mut target[panel * PANEL..];
                    let count = target.len().min(PANEL);
                    target[..count].copy_from_slice(&value[..count]);
                }
            });
        });
        (features, [height, width, channels])
    }

    /// The head's output averaged over all positions.
    ///
    /// # Shapes
    /// - returns: `[images, channels]` and the number of channels
    pub(super) fn pooled(&self, images: Images<'_>) -> (Vec<f32>, usize) {
        let channels = self.head_channels();
        let pooled = self.for_each_image(images, channels, |image, output, threads| {
            self.run_head(image, threads, |panel, values| {
                let output = &mut output[panel * PANEL..];
                let count = output.len().min(PANEL);
                output[..count].copy_from_slice(&mean_of_pixels(values)[..count]);
            });
        });
        (pooled, channels)
    }

    fn head_channels(&self) -> usize {
        self.head.as_ref().map_or(0, PackedWeights::outputs)
    }

    /// Calls `compute(picture, its output, threads)` for every picture, in parallel.
    ///
    /// With at least as many pictures as threads, each is computed by one thread; otherwise they are split up.
    fn for_each_image(
        &self,
        images: Images<'_>,
        output_length: usize,
        compute: impl Fn(InputPlane<'_>, &mut [f32], usize) + Sync,
    ) -> Vec<f32> {
        let (height, width) = (images.height, images.width);
        let count = images.data.len() / (height * width * 3);
        let mut output = vec![0.0; count * output_length];
        let available = rayon::current_num_threads();
        // Whole images scale best. A single query image would leave the other cores idle, so it is split.
        let threads = if count >= available { 1 } else { available };
        let work =
            (images.data.par_chunks_exact(height * width * 3), output.par_chunks_exact_mut(output_length));
        work.into_par_iter()
            .for_each(|(data, output)| compute(InputPlane { data, height, width }, output, threads));
        output
    }

    fn run_blocks<'s>(
        &self,
        blocks: &[FusedBlock],
        image: InputPlane<'_>,
        scratch: &'s mut BlockBuffers,
        threads: usize,
    ) -> InputPlane<'s> {
        // Taken out, so that the blocks can borrow the rest of the scratch meanwhile.
        let [mut input, mut output] = std::mem::take(&mut scratch.activations);
        let (mut height, mut width) = (image.height, image.width);
        for (position, block) in blocks.iter().enumerate() {
            let data = if position == 0 { image.data } else { input.as_slice() };
            let plane = InputPlane { data, height, width };
            (height, width) = block.output_size(height, width);
            let length = panel_count(block.output_channels()) * height * width * PANEL;
            output.grow(length);
            block.run(plane, &mut output.as_mut_slice()[..length], scratch, &self.pool, threads);
            std::mem::swap(&mut input, &mut output);
        }
        scratch.activations = [input, output];
        InputPlane { data: scratch.activations[0].as_slice(), height, width }
    }

    /// Calls `receive(panel, [pixels, 32])` for every panel of the head's output.
    fn run_head(&self, image: InputPlane<'_>, threads: usize, mut receive: impl FnMut(usize, &[f32])) {
        let Some(head) = &self.head else { return };
        let mut loan = self.pool.lend();
        let plane = self.run_blocks(&self.blocks, image, &mut loan.scratch, threads);
        let count = plane.height * plane.width;
        let compute = |panel: usize, values: &mut [f32]| {
            let pixels = Pixels::<PANEL> {
                data: plane.data,
                count,
                segment_length: PANEL,
                segment_step: count * PANEL,
                taps: ONE_TAP,
            };
            let mut destination = Destination { data: values, row: count, gap: 0 };
            convolve_panel(head, panel, pixels, &mut destination, PanelEpilogue::Relu6);
        };
        if threads > 1 {
            // Panels are computed at once but received in order: `receive` writes into one output.
            let mut values = vec![0.0; head.panels() * count * PANEL];
            let panels = values.par_chunks_exact_mut(count * PANEL).enumerate();
            panels.for_each(|(panel, values)| compute(panel, values));
            for (panel, values) in values.chunks_exact(count * PANEL).enumerate() {
                receive(panel, values);
            }
        } else {
            let mut loan = self.pool.lend();
            loan.scratch.expanded.grow(count * PANEL);
            let values = &mut loan.scratch.expanded.as_mut_slice()[..count * PANEL];
            for panel in 0..head.panels() {
                compute(panel, values);
                receive(panel, values);
            }
        }
    }
}

fn output_size(blocks: &[FusedBlock], images: Images<'_>) -> (usize, usize) {
    blocks
        .iter()
        .fold((images.height, images.width), |(height, width), block| block.output_size(height, width))
}

/// The mean over the pixels of a panel `[pixels, 32]`.
fn mean_of_pixels(values: &[f32]) -> [f32; PANEL] {
    let mut sums = [0.0; PANEL];
    for pixel in values.chunks_exact(PANEL) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += value;
        }
    }
    let count = (values.len() / PANEL) as f32;
    sums.map(|sum| sum / count)
}
