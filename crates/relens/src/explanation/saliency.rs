//! A number for every pixel: how much it matters; and a coarse mask's way to pixels, bilinear, and back for gradients.

use super::PixelGrid;
use crate::error::{Error, Result};

/// How much each pixel matters; above 0 for the score, below 0 against it.
#[derive(Debug, Clone, PartialEq)]
pub struct SaliencyMap {
    size: PixelGrid,
    values: Vec<f32>,
}

/// A grid of equal cells over a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    /// The picture.
    pub size: PixelGrid,
    /// How many cells there are in each direction.
    pub side: usize,
}

impl Cells {
    /// The number of cells.
    pub fn count(self) -> usize {
        self.side * self.side
    }

    /// The cell that a pixel, numbered row by row, is in.
    pub fn of_pixel(self, pixel: usize) -> usize {
        let (row, column) = (pixel / self.size.width.max(1), pixel % self.size.width.max(1));
        let (height, width) = (self.size.height.max(1), self.size.width.max(1));
        (row * self.side / height) * self.side + column * self.side / width
    }
}

impl SaliencyMap {
    /// A map of one number a pixel.
    ///
    /// # Shapes
    /// - `values`: `[height × width]`
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of values.
    pub fn new(size: PixelGrid, values: Vec<f32>) -> Result<Self> {
        if values.len() == size.pixels() {
            return Ok(Self { size, values });
        }
        Err(Error::Argument {
            operation: "SaliencyMap::new",
            expected: format!("{} × {} values", size.height, size.width),
            found: values.len().to_string(),
        })
    }

    /// Sums three channels.
    ///
    /// # Shapes
    /// - `values`: `[height × width × 3]`
    pub(super) fn of_channels(size: PixelGrid, values: &[f32]) -> Result<Self> {
        Self::new(size, values.chunks_exact(3).map(|channels| channels.iter().sum()).collect())
    }

    /// The picture's size.
    pub fn size(&self) -> PixelGrid {
        self.size
    }

    /// `[height × width]`, row by row.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The sum over all pixels.
    pub fn sum(&self) -> f64 {
        self.values.iter().copied().map(f64::from).sum()
    }

    /// The mean over a square of `2 · radius + 1` pixels around each pixel, cut at the edges.
    ///
    /// Gradients of single pixels are noise to the eye; what they add up to in a small place is not.
    #[must_use]
    pub fn smoothed(&self, radius: usize) -> Self {
        let PixelGrid { height, width } = self.size;
        let horizontal = box_mean(&self.values, width.max(1), radius);
        // Rows twice instead of rows and columns: both passes read memory in order.
        let transposed = transpose(&horizontal, height, width);
        let vertical = box_mean(&transposed, height.max(1), radius);
        Self { size: self.size, values: transpose(&vertical, width, height) }
    }

    /// The cells of a grid, most important first; equal ones in the order of their numbers.
    pub fn ranked_cells(&self, cells: Cells) -> Vec<usize> {
        let mut sums = vec![0.0f64; cells.count()];
        for (pixel, value) in self.values.iter().enumerate() {
            if let Some(sum) = sums.get_mut(cells.of_pixel(pixel)) {
                *sum += f64::from(*value);
            }
        }
        let mut ranked: Vec<(usize, f64)> = sums.into_iter().enumerate().collect();
        ranked.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        ranked.into_iter().map(|(cell, _)| cell).collect()
    }
}

/// The mean of each value's neighbourhood within its row of `length` values.
fn box_mean(values: &[f32], length: usize, radius: usize) -> Vec<f32> {
    let mean_of = |window: &[f32]| (window.iter().copied().map(f64::from).sum::<f64>(), window.len());
    let rows = values.chunks_exact(length).flat_map(|row| {
        (0..length).map(move |position| {
            let window = &row[position.saturating_sub(radius)..(position + radius + 1).min(length)];
            let (sum, count) = mean_of(window);
            (sum / count as f64) as f32
        })
    });
    rows.collect()
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

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

    fn single(pixel: usize) -> SaliencyMap {
        SaliencyMap::new(SIZE, (0..24).map(|at| if at == pixel { 1.0 } else { 0.0 }).collect()).unwrap()
    }

    #[test]
    fn smoothing_spreads_a_pixel_over_its_square() {
        let smoothed = single(6 + 2).smoothed(1);
        let expected = [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)];
        for row in 0..4 {
            for column in 0..6 {
                let value = smoothed.values()[row * 6 + column];
                let inside = expected.contains(&(row, column));
                assert_eq!(value > 0.0, inside, "{row} {column}");
            }
        }
        assert_eq!(single(9).smoothed(0), single(9));
    }

    #[test]
    fn cells_are_ranked_by_what_they_hold() {
        let cells = Cells { size: SIZE, side: 2 };
        assert_eq!([0, 2, 3, 5, 12, 17, 23].map(|pixel| cells.of_pixel(pixel)), [0, 0, 1, 1, 2, 3, 3]);
        assert_eq!(single(23).ranked_cells(cells), [3, 0, 1, 2]);
        assert!(SaliencyMap::new(SIZE, vec![0.0; 23]).is_err());
    }
}

#[cfg(test)]
mod upsampling_tests {
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
