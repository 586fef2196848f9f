//! Bringing features to mean 0 and deviation 1, and folding that into weights without changing what the model says.
//!
//! Image features x enter a linear layer: `W·(x − μ)/σ + b = (W/σ)·x + (b − (W/σ)·μ)`. Text features are the mean over
//! tokens of a LayerNorm's output `γ·n + β`, and a mean is linear: `(mean(γ·n + β) − μ)/σ` is the mean of a LayerNorm
//! with `γ/σ` and `(β − μ)/σ`.

use std::collections::BTreeMap;

use candle_core::{D, Device, Tensor};

use super::feature_cache::FeatureRows;
use crate::{Result, TrainingError};

/// Features that hardly vary keep this deviation: some towers have outputs that never change, and a division by their
/// deviation would be a division by zero.
const LEAST_DEVIATION: f64 = 1e-2;

/// Mean and deviation of every feature over the training split.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standardization {
    pub(super) mean: Vec<f32>,
    pub(super) deviation: Vec<f32>,
}

impl Standardization {
    /// Measures the first `rows` rows.
    pub(super) fn measure(features: &FeatureRows, rows: usize) -> Self {
        let width = features.width();
        let (mut sum, mut squares) = (vec![0f64; width], vec![0f64; width]);
        let mut row = vec![0f32; width];
        for index in 0..rows {
            features.read(index, &mut row);
            for ((value, sum), squares) in row.iter().zip(&mut sum).zip(&mut squares) {
                *sum += f64::from(*value);
                *squares += f64::from(*value) * f64::from(*value);
            }
        }
        let count = rows.max(1) as f64;
        let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
        let deviation = squares
            .iter()
            .zip(&mean)
            .map(|(squares, mean)| {
                (squares / count - mean * mean).max(0.0).sqrt().max(LEAST_DEVIATION) as f32
            })
            .collect();
        Self { mean: mean.iter().map(|&mean| mean as f32).collect(), deviation }
    }

    /// Mean 0, deviation 1: changes nothing.
    pub(super) fn identity(width: usize) -> Self {
        Self { mean: vec![0.0; width], deviation: vec![1.0; width] }
    }

    /// Standardises one row.
    pub(super) fn apply(&self, row: &mut [f32]) {
        for ((value, mean), deviation) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
            *value = (*value - mean) / deviation;
        }
    }

    /// Standardises features that carry a graph.
    ///
    /// # Shapes
    /// - features, output: `[rows, width]`
    pub(super) fn apply_to_tensor(&self, features: &Tensor) -> Result<Tensor> {
        let (mean, deviation) = self.tensors()?;
        Ok(features.broadcast_sub(&mean)?.broadcast_div(&deviation)?)
    }

    /// Makes a linear layer that took standardised features take plain ones.
    pub(super) fn fold_into_linear(&self, weights: &mut BTreeMap<String, Tensor>, layer: &str) -> Result<()> {
        let (mean, deviation) = self.tensors()?;
        let weight = tensor(weights, &format!("{layer}.weight"))?.broadcast_div(&deviation)?;
        let shift = weight.broadcast_mul(&mean)?.sum(D::Minus1)?;
        let bias = (tensor(weights, &format!("{layer}.bias"))? - shift)?;
        weights.insert(format!("{layer}.weight"), weight);
        weights.insert(format!("{layer}.bias"), bias);
        Ok(())
    }

    /// The inverse of [`Standardization::fold_into_linear`]: a layer that took plain features takes standardised ones.
    pub(super) fn unfold_from_linear(
        &self,
        weights: &mut BTreeMap<String, Tensor>,
        layer: &str,
    ) -> Result<()> {
        let (mean, deviation) = self.tensors()?;
        let weight = tensor(weights, &format!("{layer}.weight"))?.clone();
        let shift = weight.broadcast_mul(&mean)?.sum(D::Minus1)?;
        let bias = (tensor(weights, &format!("{layer}.bias"))? + shift)?;
        weights.insert(format!("{layer}.weight"), weight.broadcast_mul(&deviation)?);
        weights.insert(format!("{layer}.bias"), bias);
        Ok(())
    }

    /// Makes the mean over tokens of a LayerNorm's output standardised.
    pub(super) fn fold_into_norm(&self, weights: &mut BTreeMap<String, Tensor>, norm: &str) -> Result<()> {
        let (mean, deviation) = self.tensors()?;
        let gain = (tensor(weights, &format!("{norm}.weight"))? / &deviation)?;
        let bias = ((tensor(weights, &format!("{norm}.bias"))? - mean)? / deviation)?;
        weights.insert(format!("{norm}.weight"), gain);
        weights.insert(format!("{norm}.bias"), bias);
        Ok(())
    }

    fn tensors(&self) -> Result<(Tensor, Tensor)> {
        Ok((
            Tensor::new(self.mean.as_slice(), &Device::Cpu)?,
            Tensor::new(self.deviation.as_slice(), &Device::Cpu)?,
        ))
    }
}

fn tensor<'a>(weights: &'a BTreeMap<String, Tensor>, name: &str) -> Result<&'a Tensor> {
    weights.get(name).ok_or_else(|| {
        TrainingError::argument("Standardization", format!("a tensor `{name}`"), "none of this name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random;

    fn features() -> FeatureRows {
        let mut values = vec![0f32; 50 * 4];
        random::fill_normal(&mut values, &mut random::stream(1, "features", 0));
        for row in values.chunks_mut(4) {
            row[1] = row[1] * 5.0 + 3.0;
            row[3] = 0.25;
        }
        FeatureRows::from_f32(values, 4)
    }

    fn normal(rows: usize, columns: usize) -> Tensor {
        let mut values = vec![0f32; rows * columns];
        random::fill_normal(&mut values, &mut random::stream(2, "weights", rows as u64));
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    fn linear(weights: &BTreeMap<String, Tensor>, x: &Tensor) -> Vec<f32> {
        let output = x.matmul(&weights["head.weight"].t().unwrap()).unwrap();
        output.broadcast_add(&weights["head.bias"]).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_close(left: &[f32], right: &[f32]) {
        for (left, right) in left.iter().zip(right) {
            assert!((left - right).abs() < 1e-4, "{left} and {right}");
        }
    }

    #[test]
    fn rows_come_out_with_mean_zero_and_deviation_one() {
        let features = features();
        let standardization = Standardization::measure(&features, 50);
        let mut rows = features.to_f32(0..50);
        rows.chunks_mut(4).for_each(|row| standardization.apply(row));
        for column in 0..3 {
            let values: Vec<f32> = rows.iter().skip(column).step_by(4).copied().collect();
            let mean = values.iter().sum::<f32>() / 50.0;
            let variance = values.iter().map(|value| value * value).sum::<f32>() / 50.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
        }
        assert!(rows.iter().skip(3).step_by(4).all(|value| *value == 0.0), "a constant feature becomes 0");
    }

    #[test]
    fn folding_into_a_linear_layer_is_exact_and_can_be_undone() {
        let features = features();
        let standardization = Standardization::measure(&features, 50);
        let plain = Tensor::from_vec(features.to_f32(0..50), (50, 4), &Device::Cpu).unwrap();
        let standardized = standardization.apply_to_tensor(&plain).unwrap();
        let original = BTreeMap::from([
            ("head.weight".to_owned(), normal(3, 4)),
            ("head.bias".to_owned(), normal(1, 3).flatten_all().unwrap()),
        ]);
        let mut folded = original.clone();
        standardization.fold_into_linear(&mut folded, "head").unwrap();
        assert_close(&linear(&folded, &plain), &linear(&original, &standardized));
        standardization.unfold_from_linear(&mut folded, "head").unwrap();
        assert_close(&linear(&folded, &standardized), &linear(&original, &standardized));
    }

    #[test]
    fn folding_into_a_norm_standardises_the_mean_over_tokens() {
        let standardization = Standardization::measure(&features(), 50);
        let normalised = normal(6, 4);
        let output = |weights: &BTreeMap<String, Tensor>| {
            let scaled = normalised.broadcast_mul(&weights["norm.weight"]).unwrap();
            scaled.broadcast_add(&weights["norm.bias"]).unwrap().mean_keepdim(0).unwrap()
        };
        let original = BTreeMap::from([
            ("norm.weight".to_owned(), normal(1, 4).flatten_all().unwrap()),
            ("norm.bias".to_owned(), normal(1, 4).flatten_all().unwrap()),
        ]);
        let expected = standardization.apply_to_tensor(&output(&original)).unwrap();
        let mut folded = original.clone();
        standardization.fold_into_norm(&mut folded, "norm").unwrap();
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&flat(&output(&folded)), &flat(&expected));
    }
}
