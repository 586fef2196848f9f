//! From a coarse mask to pixels, bilinear, and the way back for gradients.

use super::PixelGrid;

/// Bilinear upsampling of a square mask, corners not aligned (PyTorch's `align_corners=False`).
#[derive(Debug, Clone)]
pub(super) struct BilinearUpsampling {
    side: usize,
    rows: Vec<Sample>,
    columns: Vec<Sample>,
}

/// Where a pixel lies between two cells.
#[derive(Debug, Clone, Copy)]
struct Sample {
    first: usize,
    second: usize,
    /// How much the second counts.
    share: f32,
}

impl BilinearUpsampling {
    /// From `side` × `side` (at least 1) cells to `size`.
    pub(super) fn new(side: usize, size: PixelGrid) -> Self {
        Self { side, rows: samples(side, size.height), columns: samples(side, size.width) }
    }

    /// # Shapes
    /// - `mask`: `[side × side]`
    /// - result: `[height × width]`
    pub(super) fn forward(&self, mask: &[f32]) -> Vec<f32> {
        let at = |row: usize, column: &Sample| {
            let cells = &mask[row * self.side..(row + 1) * self.side];
            cells[column.first] + column.share * (cells[column.second] - cells[column.first])
        };
        let pixel = |row: &Sample, column: &Sample| {
            let (above, below) = (at(row.first, column), at(row.second, column));
            above + row.share * (below - above)
        };
        self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| pixel(row, column))).collect()
    }

    /// The gradient by the mask, given that by the pixels.
    ///
    /// # Shapes
    /// - `gradient`: `[height × width]`
    /// - result: `[side × side]`
    pub(super) fn backward(&self, gradient: &[f32]) -> Vec<f32> {
        let mut of_mask = vec![0.0; self.side * self.side];
        for (row, values) in self.rows.iter().zip(gradient.chunks_exact(self.columns.len().max(1))) {
            for (column, value) in self.columns.iter().zip(values) {
                // The transpose of `forward`: a cell gets back from every pixel the share that it gave.
                for (cell_row, row_share) in [(row.first, 1.0 - row.share), (row.second, row.share)] {
                    let cells = &mut of_mask[cell_row * self.side..(cell_row + 1) * self.side];
                    cells[column.first] += value * row_share * (1.0 - column.share);
                    cells[column.second] += value * row_share * column.share;
                }
            }
        }
        of_mask
    }
}

fn samples(side: usize, length: usize) -> Vec<Sample> {
    let last = side.saturating_sub(1);
    let sample = |pixel: usize| {
        // Centres of pixels onto centres of cells; at the borders the last cell goes on.
        let place = (pixel as f32 + 0.5) * side as f32 / length as f32 - 0.5;
        let place = place.clamp(0.0, last as f32);
        let first = (place.floor() as usize).min(last);
        Sample { first, second: (first + 1).min(last), share: place - first as f32 }
    };
    (0..length).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: PixelGrid = PixelGrid { height: 4, width: 6 };

    #[test]
    fn upsamples_as_pytorch_does() {
        // torch.nn.functional.interpolate(torch.tensor([[[[0., 1.], [2., 3.]]]]), size=(4, 6), mode="bilinear")
        let expected = [
            [0.0, 0.0, 0.333_333, 0.666_667, 1.0, 1.0],
            [0.5, 0.5, 0.833_333, 1.166_667, 1.5, 1.5],
            [1.5, 1.5, 1.833_333, 2.166_667, 2.5, 2.5],
            [2.0, 2.0, 2.333_333, 2.666_667, 3.0, 3.0],
        ];
        let found = BilinearUpsampling::new(2, SIZE).forward(&[0.0, 1.0, 2.0, 3.0]);
        let near = found.iter().zip(expected.as_flattened()).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-5);
        assert!(near, "{found:?}");
    }

    #[test]
    fn the_way_back_is_the_transpose() {
        let upsampling = BilinearUpsampling::new(3, SIZE);
        let mask: Vec<f32> = (0..9u8).map(|i| f32::from(i * 7 % 5)).collect();
        let gradient: Vec<f32> = (0..24u8).map(|i| f32::from(i * 11 % 7) - 3.0).collect();
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (forth, back) = (upsampling.forward(&mask), upsampling.backward(&gradient));
        assert!((dot(&forth, &gradient) - dot(&mask, &back)).abs() < 1e-3);
    }
}
