//! Convolutions from feature map to feature map.

use rayon::prelude::*;

use super::{MapPlane, MapShape};
use crate::Result;
use crate::ops::convolution::{
    AlignedBuffer, Destination, ONE_TAP, PANEL, PackedWeights, PanelEpilogue, Pixels, convolve_panel,
};
use crate::towers::modified_resnet::blocks::FoldedConvolution;

/// Numbers of the input that are multiplied with all panels of weights one after the other: half a core's cache.
const CACHED_NUMBERS: usize = 64 << 10;

/// A 1×1 or 3×3 convolution with stride 1.
pub(in crate::towers::modified_resnet) struct Convolution {
    weights: PackedWeights,
    kernel: usize,
}

/// The pieces that a convolution is computed in: some rows of one panel of the output.
struct RowPiece<'a> {
    panel: usize,
    first_row: usize,
    rows: &'a mut [f32],
}

impl Convolution {
    pub(in crate::towers::modified_resnet) fn new(convolution: &FoldedConvolution) -> Result<Self> {
        let (weight, bias, kernel) = (convolution.stored()?, convolution.bias()?, convolution.kernel());
        let (outputs, taps) = (bias.len(), kernel * kernel);
        let inputs = weight.len() / (outputs * taps).max(1);
        // Weights in the order in which the product meets its inputs: panels, in them taps, in them channels.
        let mut order = Vec::with_capacity(inputs * taps);
        for segment in (0..inputs).step_by(PANEL) {
            for tap in 0..taps {
                order.extend((segment..inputs.min(segment + PANEL)).map(|input| input * taps + tap));
            }
        }
        let weights = PackedWeights::new(inputs * taps, &bias, |input, output| {
            weight[output * inputs * taps + order[input]]
        });
        Ok(Self { weights, kernel })
    }

    pub(in crate::towers::modified_resnet) fn outputs(&self) -> usize {
        self.weights.outputs()
    }

    /// Convolves `input` of shape `from`, which has a border if the kernel needs one; a residual is of the output's shape.
    pub(super) fn run(
        &self,
        input: &[f32],
        from: MapShape,
        to: &mut MapPlane<'_>,
        epilogue: PanelEpilogue<'_>,
        threads: usize,
    ) {
        let taps: Vec<usize> = match self.kernel {
            1 => ONE_TAP.to_vec(),
            kernel => {
                // The border makes every tap a constant distance, so that a 3×3 convolution is nine 1×1 ones in one
                // pass.
                (0..kernel * kernel).map(|tap| tap / kernel * from.row() + tap % kernel * PANEL).collect()
            }
        };
        let task =
            ConvolutionTask { weights: &self.weights, input, from, taps: &taps, to: to.shape, epilogue };
        let rows = (CACHED_NUMBERS / (from.row() * from.channels.div_ceil(PANEL))).max(1);
        let pieces = pieces(to, rows);
        if threads > 1 {
            pieces.into_par_iter().for_each(|piece| task.run(piece));
        } else {
            pieces.into_iter().for_each(|piece| task.run(piece));
        }
    }
}

/// Cuts a feature map into pieces of `rows` rows, those of the same rows one after the other.
fn pieces<'a>(plane: &'a mut MapPlane<'_>, rows: usize) -> Vec<RowPiece<'a>> {
    let shape = plane.shape;
    let mut pieces = Vec::new();
    for (panel, data) in plane.data.chunks_exact_mut(shape.panel()).enumerate() {
        let first = shape.border * shape.row();
        let inside = &mut data[first..first + shape.height * shape.row()];
        for (piece, data) in inside.chunks_mut(rows * shape.row()).enumerate() {
            pieces.push(RowPiece { panel, first_row: piece * rows, rows: data });
        }
    }
    // All panels of weights meet the same rows of the input one after the other, while these are in the cache.
    pieces.sort_by_key(|piece| piece.first_row);
    pieces
}

struct ConvolutionTask<'a> {
    weights: &'a PackedWeights,
    input: &'a [f32],
    from: MapShape,
    taps: &'a [usize],
    to: MapShape,
    epilogue: PanelEpilogue<'a>,
}

impl ConvolutionTask<'_> {
    fn run(&self, piece: RowPiece<'_>) {
        let (from, to) = (self.from, self.to);
        let RowPiece { panel, first_row, rows } = piece;
        let count = rows.len() / to.row();
        // Without a border rows lie side by side, and all of them are one long row.
        let (runs, run_rows) = if from.border == 0 { (1, count) } else { (count, 1) };
        for run in 0..runs {
            let row = first_row + run * run_rows;
            let pixels = Pixels::<PANEL> {
                data: &self.input[row * from.row()..],
                count: run_rows * to.width,
                segment_length: PANEL,
                segment_step: from.panel(),
                taps: self.taps,
            };
            let epilogue = self.epilogue.starting_at(panel * to.panel() + row * to.row());
            let start = run * to.row() + to.border * PANEL;
            let data = &mut rows[start..];
            let mut destination = Destination { data, row: to.width, gap: 2 * to.border * PANEL };
            convolve_panel(self.weights, panel, pixels, &mut destination, epilogue);
        }
    }
}

/// The network's first convolution: 3×3 with stride 2 on a picture of three channels.
pub(super) struct StemConvolution(PackedWeights);

const CHANNELS: usize = 3;
const KERNEL: usize = 3;
const STRIDE: usize = 2;

impl StemConvolution {
    pub(super) fn new(convolution: &FoldedConvolution) -> Result<Self> {
        let (weight, bias) = (convolution.stored()?, convolution.bias()?);
        // From `[outputs, channel, row, column]` to a picture's order: row, column, channel.
        let weights = PackedWeights::new(KERNEL * KERNEL * CHANNELS, &bias, |input, output| {
            let (place, channel) = (input / CHANNELS, input % CHANNELS);
            weight[(output * CHANNELS + channel) * KERNEL * KERNEL + place]
        });
        Ok(Self(weights))
    }

    pub(super) fn outputs(&self) -> usize {
        self.0.outputs()
    }

    /// Convolves a picture `[side, side, 3]`; `padded` is working memory.
    pub(super) fn run(
        &self,
        image: &[f32],
        side: usize,
        padded: &mut AlignedBuffer,
        to: &mut MapPlane<'_>,
        threads: usize,
    ) {
        let row_length = (side + 2) * CHANNELS;
        padded.grow((side + 2) * row_length);
        let rows = padded.as_mut_slice().chunks_exact_mut(row_length).take(side + 2);
        for (number, row) in rows.enumerate() {
            // The image gets its border here, once for all panels of the stem.
            row.fill(0.0);
            if (1..=side).contains(&number) {
                let source = &image[(number - 1) * side * CHANNELS..number * side * CHANNELS];
                row[CHANNELS..row_length - CHANNELS].copy_from_slice(source);
            }
        }
        let (padded, shape) = (padded.as_slice(), to.shape);
        let run = |piece: RowPiece<'_>| {
            for (run, row) in piece.rows.chunks_exact_mut(shape.row()).enumerate() {
                let pixels = Pixels::<{ STRIDE * CHANNELS }> {
                    data: &padded[(piece.first_row + run) * STRIDE * row_length..],
                    count: shape.width,
                    segment_length: KERNEL * CHANNELS,
                    segment_step: row_length,
                    taps: ONE_TAP,
                };
                let data = &mut row[shape.border * PANEL..];
                let mut destination = Destination { data, row: shape.width, gap: 0 };
                convolve_panel(&self.0, piece.panel, pixels, &mut destination, PanelEpilogue::Relu);
            }
        };
        let pieces = pieces(to, 8);
        if threads > 1 {
            pieces.into_par_iter().for_each(run);
        } else {
            pieces.into_iter().for_each(run);
        }
    }
}
