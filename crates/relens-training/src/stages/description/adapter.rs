//! The adapter as it is trained; [`relens::enhancer::baselines::adapter`] has the equations and reads the result.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens_models::layers::{
    ConcatenatedLinear, Dropout, DropoutGenerator, LayerNorm, Linear, SelfAttention,
};
use relens_models::ops::{AttentionConfig, AttentionMask, l2_normalize, mean_pool};
use relens_models::parameters::Parameters;
use relens_models::weights::{ElementType, TrainableParameters, Weights, save_tensors, tensors_to_bytes};

use super::ADAPTER_FILE;
use super::config::{AdapterNetworkConfig, AdapterTrainingConfig, in_range};
use super::described_data::DescribedData;
use super::run::{DescriptionBatch, DescriptionNetwork};
use crate::optimizer::NamedParameter;
use crate::random::stream;
use crate::{Result, TrainingError};

const LAYER_NORM_EPSILON: f64 = 1e-5;

/// One head of self-attention, a residual, a norm.
pub(super) struct AdapterNetwork {
    attention: SelfAttention,
    norm: LayerNorm,
    dropout: Dropout,
    residual_ratio: f64,
    trainable: Arc<TrainableParameters>,
}

impl AdapterNetwork {
    /// The rows as the enhancer averages them.
    fn adapted(&self, batch: &DescriptionBatch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        let read = self.dropout.forward(&batch.rows, generator)?;
        let attended = self.attention.forward(&read, &batch.offsets, None)?;
        let normed = self.norm.forward(&(attended + &batch.rows)?)?;
        Ok(((normed * self.residual_ratio)? + (&batch.rows * (1.0 - self.residual_ratio))?)?)
    }
}

/// `[rows, columns]` of uniform numbers within ±1/√columns, as `torch.nn.Linear` begins.
fn uniform(seed: u64, name: &str, rows: usize, columns: usize) -> Result<Tensor> {
    let bound = 1.0 / (columns as f32).sqrt();
    let mut random = stream(seed, name, 0);
    let values: Vec<f32> = (0..rows * columns).map(|_| random.random_range(-bound..bound)).collect();
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// Weights in the checkpoint's layout. The norm begins at 1/√dim, so that its rows are as long as those it is added to.
fn initial(seed: u64, dim: usize) -> Result<Weights> {
    let head = dim / 4;
    let mut tensors = BTreeMap::new();
    for (name, rows, columns) in
        [("query", head, dim), ("key", head, dim), ("value", head, dim), ("output", dim, head)]
    {
        let name = format!("attention.{name}.weight");
        let tensor = uniform(seed, &name, rows, columns)?;
        tensors.insert(name, tensor);
    }
    let scale = Tensor::full(1.0 / (dim as f32).sqrt(), dim, &Device::Cpu)?;
    tensors.insert("norm.weight".to_owned(), scale);
    tensors.insert("norm.bias".to_owned(), Tensor::full(0f32, dim, &Device::Cpu)?);
    Ok(Weights::from_bytes("<initial weights>", tensors_to_bytes(&tensors, ElementType::F32)?)?)
}

impl DescriptionNetwork for AdapterNetwork {
    type Network = AdapterNetworkConfig;

    fn new(config: &AdapterTrainingConfig, data: &DescribedData) -> Result<Self> {
        let ratio = config.network.residual_ratio;
        in_range("network.residual_ratio", ratio, 0.0, 1.0)?;
        let (dim, head) = (data.dim(), data.dim() / 4);
        if head == 0 {
            return Err(TrainingError::argument(
                "adapter",
                "a retriever of at least 4 dimensions",
                dim.to_string(),
            ));
        }
        let (parameters, trainable) = Parameters::trainable(initial(config.seed, dim)?, |_| true);
        let attention = parameters.pp("attention");
        let projection = |name: &str| Linear::load_without_bias(&attention.pp(name), dim, head);
        let projections =
            ConcatenatedLinear::new(vec![projection("query")?, projection("key")?, projection("value")?])?;
        let output = Linear::load_without_bias(&attention.pp("output"), head, dim)?;
        let one_head = AttentionConfig::new(1, AttentionMask::None);
        Ok(Self {
            attention: SelfAttention::new(projections, output, one_head, Dropout::new(0.0)),
            norm: LayerNorm::load(&parameters.pp("norm"), dim, LAYER_NORM_EPSILON)?,
            dropout: Dropout::new(config.training.dropout),
            residual_ratio: ratio,
            trainable,
        })
    }

    fn embed(&self, batch: &DescriptionBatch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        Ok(l2_normalize(&mean_pool(&self.adapted(batch, generator)?, &batch.offsets)?)?)
    }

    fn parameters(&self) -> Vec<NamedParameter> {
        let entries = self.trainable.entries().into_iter();
        entries.map(|(name, parameter)| NamedParameter::new(name, parameter.var)).collect()
    }

    fn write(&self, _: &DescribedData, directory: &Path) -> Result<&'static str> {
        let mut tensors = self.trainable.export()?;
        let ratio = Tensor::from_slice(&[self.residual_ratio as f32], 1, &Device::Cpu)?;
        tensors.insert("residual_ratio".to_owned(), ratio);
        save_tensors(&directory.join(ADAPTER_FILE), &tensors, ElementType::F16)?;
        Ok(ADAPTER_FILE)
    }
}
