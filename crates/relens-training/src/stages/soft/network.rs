//! The network as it is trained; [`relens::enhancer::soft`] has the equations and reads the result.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens::enhancer::soft::{SETTINGS_FILE, SoftRewriterSettings, WEIGHTS_FILE};
use relens_models::atomic_file::write_atomically;
use relens_models::layers::{Dropout, DropoutGenerator, Linear};
use relens_models::ops::{gelu_tanh, l2_normalize};
use relens_models::parameters::Parameters;
use relens_models::weights::{ElementType, TrainableParameters, Weights, save_tensors, tensors_to_bytes};

use super::config::NetworkSettings;
use crate::Result;
use crate::optimizer::NamedParameter;
use crate::random::stream;

/// Two layers and a residual.
pub(super) struct SoftNetwork {
    up: Linear,
    down: Linear,
    dropout: Dropout,
    strength: f64,
    trainable: Arc<TrainableParameters>,
}

/// The first layer begins as `torch.nn.Linear` does, the second at 0: the network begins as the identity.
fn initial(seed: u64, dim: usize, hidden: usize) -> Result<Weights> {
    let bound = 1.0 / (dim as f32).sqrt();
    let mut random = stream(seed, "soft rewriter", 0);
    let mut uniform = |shape: &[usize]| {
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| random.random_range(-bound..bound)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu)
    };
    let zeros = |shape: &[usize]| Tensor::full(0f32, shape, &Device::Cpu);
    let tensors = BTreeMap::from([
        ("up.weight".to_owned(), uniform(&[hidden, dim])?),
        ("up.bias".to_owned(), uniform(&[hidden])?),
        ("down.weight".to_owned(), zeros(&[dim, hidden])?),
        ("down.bias".to_owned(), zeros(&[dim])?),
    ]);
    Ok(Weights::from_bytes("<initial weights>", tensors_to_bytes(&tensors, ElementType::F32)?)?)
}

impl SoftNetwork {
    pub(super) fn new(settings: &NetworkSettings, dim: usize, seed: u64) -> Result<Self> {
        let (parameters, trainable) = Parameters::trainable(initial(seed, dim, settings.hidden)?, |_| true);
        Ok(Self {
            up: Linear::load(&parameters.pp("up"), dim, settings.hidden)?,
            down: Linear::load(&parameters.pp("down"), settings.hidden, dim)?,
            dropout: Dropout::new(settings.dropout),
            strength: settings.strength,
            trainable,
        })
    }

    /// The change, and the rewritten embeddings.
    ///
    /// # Shapes
    /// - queries: `[queries, dim]`, L2-normalised
    /// - results: `[queries, dim]`, the second L2-normalised
    pub(super) fn forward(
        &self,
        queries: &Tensor,
        generator: Option<&mut DropoutGenerator>,
    ) -> Result<(Tensor, Tensor)> {
        let read = self.dropout.forward(queries, generator)?;
        let change = (self.down.forward(&gelu_tanh(&self.up.forward(&read)?)?)? * self.strength)?;
        let rewritten = l2_normalize(&(queries + &change)?)?;
        Ok((change, rewritten))
    }

    pub(super) fn parameters(&self) -> Vec<NamedParameter> {
        let entries = self.trainable.entries().into_iter();
        entries.map(|(name, parameter)| NamedParameter::new(name, parameter.var)).collect()
    }

    /// Writes the network as the enhancer reads it.
    pub(super) fn write(&self, directory: &Path, retriever: &str) -> Result<()> {
        fs_err::create_dir_all(directory)?;
        save_tensors(&directory.join(WEIGHTS_FILE), &self.trainable.export()?, ElementType::F16)?;
        let settings =
            SoftRewriterSettings { retriever: retriever.to_owned(), strength: self.strength as f32 };
        let text = serde_json::to_vec_pretty(&settings).map_err(std::io::Error::from)?;
        // Last, so that a directory that has it is whole.
        Ok(write_atomically(&directory.join(SETTINGS_FILE), &text)?)
    }
}
