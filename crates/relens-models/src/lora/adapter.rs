//! The adapter: where it is attached, what is trained, and whether it is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::LoraConfig;
use super::low_rank_map::{AdapterMode, AdapterState, LowRankMap};
use crate::ops::{DropoutGenerator, DropoutMask};
use crate::weights::{StoredLayout, TrainableParameters, Weights};
use crate::{ModelError, Result};

/// A small addition to a network's linear maps, which is trained in their place.
#[derive(Debug)]
pub struct LoraAdapter {
    config: LoraConfig,
    seed: u64,
    /// Where A and B come from, if they were trained before.
    trained: Option<Weights>,
    parameters: Arc<TrainableParameters>,
    modules: Mutex<BTreeSet<String>>,
    state: Arc<AdapterState>,
}

/// The start of every tensor's name in PEFT's files.
const PEFT_PREFIX: &str = "base_model.model.";

impl LoraAdapter {
    /// A fresh adapter: A uniform in ±1/√inputs, drawn by `seed` and the map's name, B zero.
    ///
    /// # Errors
    /// As [`LoraConfig::check`].
    pub fn new(config: LoraConfig, seed: u64) -> Result<Arc<Self>> {
        Self::build(config, seed, None)
    }

    /// An adapter with the tensors of a PEFT file.
    ///
    /// # Errors
    /// As [`LoraConfig::check`].
    pub fn from_trained(config: LoraConfig, trained: Weights) -> Result<Arc<Self>> {
        Self::build(config, 0, Some(trained))
    }

    fn build(config: LoraConfig, seed: u64, trained: Option<Weights>) -> Result<Arc<Self>> {
        config.check()?;
        Ok(Arc::new(Self {
            config,
            seed,
            trained,
            parameters: Arc::new(TrainableParameters::selecting(|_| true)),
            modules: Mutex::default(),
            state: Arc::new(AdapterState::new()),
        }))
    }

    /// What the adapter is like.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// A and B of all maps, by `MODULE.lora_A.weight` and `MODULE.lora_B.weight`: what training moves.
    pub fn parameters(&self) -> &Arc<TrainableParameters> {
        &self.parameters
    }

    /// The names of the maps that were adapted.
    pub fn modules(&self) -> Vec<String> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Refuses an adapter that found no map, or not all that its file has tensors for: it belongs to another network.
    ///
    /// # Errors
    /// With what is left over.
    pub fn check_attached(&self) -> Result<()> {
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if modules.is_empty() {
            return Err(ModelError::Argument {
                operation: "LoRA",
                expected: format!("a network with linear maps named {}", self.config.targets.join(", ")),
                found: "none".into(),
            });
        }
        let Some(trained) = &self.trained else { return Ok(()) };
        let module = |name: &str| {
            let inner = name.strip_prefix(PEFT_PREFIX)?;
            inner
                .strip_suffix(".lora_A.weight")
                .or_else(|| inner.strip_suffix(".lora_B.weight"))
                .map(String::from)
        };
        match trained.names().find(|name| module(name).is_none_or(|module| !modules.contains(&module))) {
            None => Ok(()),
            Some(name) => Err(ModelError::Config {
                path: trained.path().to_owned(),
                reason: format!("tensor `{name}` belongs to no adapted map of this network"),
            }),
        }
    }

    /// Lets the adapter change the network's results, as it does at first, or not.
    pub fn set_enabled(&self, enabled: bool) {
        self.state.set_mode(if enabled { AdapterMode::Active } else { AdapterMode::Disabled });
    }

    /// Adds the present products to the weights: the network computes the same, as fast as without an adapter, and
    /// no gradient reaches A and B. The weights themselves are kept. Quantised weights are left as they are.
    pub fn merge(&self) {
        self.state.set_mode(AdapterMode::Merged);
    }

    /// Drops inputs of A by this seed until told otherwise; none ends it. A training step sets a seed of its own.
    pub fn set_dropout_seed(&self, seed: Option<u64>) {
        let probability = self.config.dropout;
        let mask = seed.filter(|_| probability > 0.0).map(|seed| DropoutMask { probability, seed });
        self.state.set_dropout(mask);
    }

    /// Drops inputs of A by a seed of the generator's, if there is one, until the returned value goes.
    pub fn training_dropout(&self, generator: Option<&mut DropoutGenerator>) -> TrainingDropout<'_> {
        if let Some(generator) = generator.filter(|_| self.config.dropout > 0.0) {
            self.set_dropout_seed(Some(generator.next_u64()));
        }
        TrainingDropout { adapter: self }
    }

    /// The change of the linear map of this name, if the adapter targets it.
    ///
    /// # Errors
    /// When a trained tensor is missing, of another shape, or not finite.
    pub fn attach(&self, module: &str, inputs: usize, outputs: usize) -> Result<Option<LowRankMap>> {
        if !self.config.targets(module) {
            return Ok(None);
        }
        let rank = self.config.rank;
        let tensor = |part: &str, shape: [usize; 2], start: &dyn Fn() -> Vec<f32>| {
            let name = format!("{module}.lora_{part}.weight");
            self.parameters.variable(&name, StoredLayout::Transposed, || match &self.trained {
                Some(trained) => {
                    let stored = trained.tensor(&format!("{PEFT_PREFIX}{name}"), &shape)?;
                    StoredLayout::Transposed.from_stored(&stored)
                }
                None => Ok(Tensor::from_vec(start(), (shape[1], shape[0]), &Device::Cpu)?),
            })
        };
        // By the map's name: what is drawn for it does not depend on the order in which a network is built.
        let stream = fingerprint(module);
        let down = tensor("A", [rank, inputs], &|| self.uniform(stream, rank * inputs, inputs))?;
        let up = tensor("B", [outputs, rank], &|| vec![0.0; rank * outputs])?;
        self.modules.lock().unwrap_or_else(PoisonError::into_inner).insert(module.to_owned());
        let state = self.state.clone();
        Ok(Some(LowRankMap::new((down, up), outputs, self.config.scale(), stream, state)))
    }

    /// Numbers in ±1/√inputs.
    fn uniform(&self, stream: u64, count: usize, inputs: usize) -> Vec<f32> {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(stream);
        let bound = 1.0 / (inputs.max(1) as f32).sqrt();
        // 24 bits, as many as a single-precision number holds.
        let mut draw = || (generator.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
        (0..count).map(|_| (2.0 * draw() - 1.0) * bound).collect()
    }

    /// A and B under PEFT's names, in its layout.
    ///
    /// # Errors
    /// The tensor library failed to copy.
    pub fn export(&self) -> Result<BTreeMap<String, Tensor>> {
        let tensors = self.parameters.export()?;
        Ok(tensors.into_iter().map(|(name, tensor)| (format!("{PEFT_PREFIX}{name}"), tensor)).collect())
    }

    /// All tensors of a checkpoint, the adapter's products added to the maps that it targets.
    ///
    /// # Errors
    /// When a tensor cannot be read, or a map of the adapter is not in the checkpoint.
    pub fn merged_tensors(&self, base: &Weights) -> Result<BTreeMap<String, Tensor>> {
        let scale = self.config.scale();
        let mut tensors = BTreeMap::new();
        for name in base.names() {
            let shape = base.shape(name).unwrap_or_default();
            tensors.insert(name.to_owned(), base.tensor(name, shape)?);
        }
        let exported = self.parameters.export()?;
        for module in self.modules() {
            let part = |part: &str| exported.get(&format!("{module}.lora_{part}.weight"));
            let name = format!("{module}.weight");
            let (Some(down), Some(up), Some(weight)) = (part("A"), part("B"), tensors.get(&name)) else {
                let (path, expected) = (base.path().to_owned(), Vec::new());
                return Err(ModelError::MissingTensor { path, name, expected });
            };
            // Both are in PEFT's layout here, `[outputs, rank]` and `[rank, inputs]`, whose product is the weight's.
            let merged = (weight + (up.matmul(down)? * scale)?)?;
            tensors.insert(name, merged);
        }
        Ok(tensors)
    }
}

/// While it lives, an adapter may drop inputs.
#[derive(Debug)]
pub struct TrainingDropout<'a> {
    adapter: &'a LoraAdapter,
}

impl Drop for TrainingDropout<'_> {
    fn drop(&mut self) {
        self.adapter.set_dropout_seed(None);
    }
}

/// FNV-1a, which is the same on every machine and in every version; halved, so that one can be added to it.
fn fingerprint(name: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    name.bytes().fold(0xcbf2_9ce4_8422_2325, fold) >> 1
}
