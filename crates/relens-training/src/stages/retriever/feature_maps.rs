//! What the first trained block of the image trunk reads: the blocks below it run once, not in every epoch.

use std::ops::Range;

use candle_core::{Device, Tensor};
use rand::RngExt;
use rayon::prelude::*;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};

use super::batches::Batch;
use super::config::{PhaseConfig, TrainedPart};
use super::feature_cache::FeatureRows;
use crate::{Result, TrainingError, random};

/// Feature maps of all pictures, one set of rows for each view.
#[derive(Debug)]
pub(super) struct FeatureMaps {
    /// Number of the block that reads them.
    pub(super) block: usize,
    /// Rows, columns, channels.
    pub(super) shape: [usize; 3],
    /// The full view first, validation included there.
    pub(super) views: Vec<FeatureRows>,
}

impl FeatureMaps {
    /// Maps of a part of a batch, each of a random view, mirrored every other time if asked:
    /// `[pictures, rows, columns, channels]`.
    pub(super) fn draw(&self, batch: &Batch, range: Range<usize>, flip: bool, seed: u64) -> Result<Tensor> {
        let pictures = batch.pictures.get(range).unwrap_or_default();
        let mut values = vec![0f32; pictures.len() * self.length()];
        values.par_chunks_mut(self.length()).zip(pictures).for_each(|(map, &picture)| {
            let mut rng = random::stream(seed, &format!("feature map {picture}"), batch.draw);
            self.views[rng.random_range(0..self.views.len())].read(picture, map);
            if flip && rng.random::<bool>() {
                mirror(map, self.shape);
            }
        });
        self.tensor(values, pictures.len())
    }

    /// Maps of the full view: `[pictures, rows, columns, channels]`.
    pub(super) fn full(&self, pictures: Range<usize>) -> Result<Tensor> {
        of_rows(&self.views[0], self.shape, pictures)
    }

    fn length(&self) -> usize {
        self.shape.iter().product::<usize>().max(1)
    }

    fn tensor(&self, values: Vec<f32>, pictures: usize) -> Result<Tensor> {
        let [rows, columns, channels] = self.shape;
        Ok(Tensor::from_vec(values, (pictures, rows, columns, channels), &Device::Cpu)?)
    }
}

/// Maps out of the cache's rows: `[pictures, rows, columns, channels]`.
pub(super) fn of_rows(cached: &FeatureRows, shape: [usize; 3], pictures: Range<usize>) -> Result<Tensor> {
    let [rows, columns, channels] = shape;
    let shape = (pictures.len(), rows, columns, channels);
    Ok(Tensor::from_vec(cached.to_f32(pictures), shape, &Device::Cpu)?)
}

/// The size of what a block reads, for pictures of a height and width.
pub(super) fn shape_before(
    trunk: &EfficientNet,
    block: usize,
    height: usize,
    width: usize,
) -> Result<[usize; 3]> {
    let picture = Tensor::zeros((1, height, width, 3), candle_core::DType::F32, &Device::Cpu)?;
    let (_, rows, columns, channels) = trunk.forward_until(&picture, block)?.dims4()?;
    Ok([rows, columns, channels])
}

/// The first block that any phase trains; `None` if the trunk stays frozen.
///
/// # Errors
/// A phase names a block that the trunk does not have.
pub(super) fn first_trained_block(
    trunk: &EfficientNetConfig,
    phases: &[PhaseConfig],
) -> Result<Option<usize>> {
    let mut first: Option<usize> = None;
    for (index, phase) in phases.iter().enumerate() {
        if !phase.trains(TrainedPart::ImageTrunk) {
            continue;
        }
        let wanted = phase.first_image_block();
        let block = trunk.blocks.iter().position(|block| Some((block.stage, block.position)) == wanted);
        let block = block.ok_or_else(|| {
            let blocks: Vec<String> =
                trunk.blocks.iter().map(|block| format!("{}.{}", block.stage, block.position)).collect();
            TrainingError::setting(
                format!("phase[{index}].image_trunk_from"),
                format!("one of {}", blocks.join(", ")),
                &phase.image_trunk_from,
            )
        })?;
        first = Some(first.map_or(block, |first| first.min(block)));
    }
    Ok(first)
}

/// Mirrors a map left to right.
fn mirror(map: &mut [f32], [_, columns, channels]: [usize; 3]) {
    for row in map.chunks_exact_mut((columns * channels).max(1)) {
        for column in 0..columns / 2 {
            let (left, right) = row.split_at_mut((columns - 1 - column) * channels);
            left[column * channels..(column + 1) * channels].swap_with_slice(&mut right[..channels]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_swaps_columns_and_undoes_itself() {
        let original: Vec<f32> = (0..2 * 3 * 2).map(|value| value as f32).collect();
        let mut map = original.clone();
        mirror(&mut map, [2, 3, 2]);
        assert_eq!(map, [4.0, 5.0, 2.0, 3.0, 0.0, 1.0, 10.0, 11.0, 8.0, 9.0, 6.0, 7.0]);
        mirror(&mut map, [2, 3, 2]);
        assert_eq!(map, original);
    }

    #[test]
    fn the_first_trained_block_is_found_or_named() {
        let trunk = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0").unwrap();
        let phase = |from: &str| PhaseConfig {
            train: vec![TrainedPart::ImageTrunk],
            image_trunk_from: from.to_owned(),
            ..PhaseConfig::default()
        };
        assert_eq!(first_trained_block(&trunk, &[PhaseConfig::default()]).unwrap(), None);
        let phases = [PhaseConfig::default(), phase("6.0"), phase("5.2")];
        assert_eq!(first_trained_block(&trunk, &phases).unwrap(), Some(13));
        let error = first_trained_block(&trunk, &[phase("5.7")]).unwrap_err().to_string();
        assert!(error.contains("phase[0].image_trunk_from") && error.contains("5.3, 6.0"), "{error}");
    }
}
