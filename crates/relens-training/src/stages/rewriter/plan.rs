//! What a run will need, before it begins: parameters, memory, steps, time. Nothing is trained and no weight is read.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use candle_core::{Device, Tensor};
use relens::dataset::Dataset;
use relens_models::dual_encoder::architecture::{open_weights, weight_files};
use serde::Serialize;

use super::config::{PolicyConfig, RewriterConfig, RewritingMethod};
use super::model_sizes::ModelSizes;
use super::rollouts::rollout_queries;
use crate::Result;
use crate::data::candidates::CandidateConfig;
use crate::data::corpus::{CorpusConfig, RewritingCorpus};

/// Tokens of a caption's word, roughly.
const TOKENS_PER_WORD: f64 = 1.3;
/// Captions whose length is looked at.
const CAPTIONS: usize = 500;
/// Bytes kept for the backward pass, for each token, layer and unit of width, in f32: twice the
/// 34 of Korthikanti et al. 2022 (arXiv 2205.05198), table 2, which are for 16 bits.
const ACTIVATION_BYTES: f64 = 68.0;
/// Share of a large product's speed that a whole training step reaches.
const EFFICIENCY: f64 = 0.5;

/// What a stage adds to what all stages need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanShape {
    /// Examples, queries or rollouts of an epoch, if their sources can be read.
    pub(crate) examples: Option<usize>,
    /// Targets that each example has: ranked candidates, rollouts of a group.
    pub(crate) targets: usize,
    /// Updates of a step.
    pub(crate) updates: u64,
    /// Whether rewrites are sampled, and a frozen reference is kept beside the policy.
    pub(crate) samples: bool,
}

/// What a run will need.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The stage.
    pub stage: String,
    /// The model that it starts from.
    pub model: String,
    /// Files of weights; none where only the sizes are known.
    pub weight_files: usize,
    /// Parameters of the policy.
    pub parameters: u64,
    /// Those that are trained.
    pub trained: u64,
    /// Bytes of memory at the peak: weights, gradients, optimizer, reference, activations.
    pub memory: u64,
    /// Bytes of memory that are free now, if the system tells.
    pub available_memory: Option<u64>,
    /// Examples of an epoch; unknown where their files are not there yet.
    pub examples: Option<usize>,
    /// Steps of the whole run.
    pub steps: Option<u64>,
    /// Updates of the weights.
    pub updates: Option<u64>,
    /// Tokens of one update, prompts and targets.
    pub tokens_per_update: u64,
    /// Seconds on this machine, measured by a product of matrices.
    pub seconds: Option<f64>,
}

/// Makes the plan.
///
/// # Errors
/// A configuration, shard or index that is missing where it must be, or malformed.
pub(crate) fn plan<M: RewritingMethod>(
    settings: &RewriterConfig<M>,
    policy: &PolicyConfig,
    shape: PlanShape,
) -> Result<Plan> {
    settings.check()?;
    let directory = &policy.start_from;
    let sizes = ModelSizes::open(directory)?;
    let files = weight_files(directory).map_or(0, |files| files.len());
    // Opening maps the shards and checks their headers against the files' lengths.
    let parameters = match files {
        0 => sizes.parameters(),
        _ => open_weights(directory)?.element_count() as u64,
    };
    let trained = policy.lora.as_ref().map_or(parameters, |adapter| sizes.adapter_parameters(adapter));
    let words = caption_words(&settings.run.data);
    let (prompt, target) = (words * TOKENS_PER_WORD + 2.0, words * TOKENS_PER_WORD + 1.0);
    let batch = settings.run.batch_size as f64;
    let targets = shape.targets as f64;
    let tokens = batch * targets * (prompt + target);
    let micro = settings.run.micro_batch() as f64 * targets * (prompt + target);
    let checkpointing = settings.run.optimization.gradient_checkpointing;
    let predicted = target / (prompt + target);
    let activations = sizes.activation_bytes(micro, predicted, ACTIVATION_BYTES, checkpointing);
    // f32: weights and a reference 4 each; of what is trained, gradients and an average 4 each, Adam's moments 8.
    let copies = if shape.samples { 8 } else { 4 };
    let trained_copies = if settings.run.optimization.average_decay.is_some() { 16 } else { 12 };
    let steps = shape.examples.map(|examples| settings.run.batches(examples).total_steps());
    let updates = steps.map(|steps| steps * shape.updates);
    // Forward and backward cost 6 operations a parameter and token (Kaplan et al. 2020), of an encoder and a decoder
    // half of that, for each token passes one of them; checkpoints cost another forward pass, 2 more; sampling and two more forward passes about as much again.
    let share = if sizes.has_encoder() { 0.5 } else { 1.0 };
    let passes = if checkpointing { 8.0 } else { 6.0 };
    let per_update = passes * parameters as f64 * share * tokens * if shape.samples { 2.0 } else { 1.0 };
    let speed = operations_per_second()? * EFFICIENCY;
    Ok(Plan {
        stage: M::NAME.to_owned(),
        model: directory.display().to_string(),
        weight_files: files,
        parameters,
        trained,
        memory: parameters * copies + trained * trained_copies + activations,
        available_memory: available_memory(),
        examples: shape.examples,
        steps,
        updates,
        tokens_per_update: tokens as u64,
        seconds: updates.map(|updates| updates as f64 * per_update / speed),
    })
}

/// How many queries a run would see, if all files that it reads are there.
pub(crate) fn queries_at_hand(
    sources: Option<&CandidateConfig>,
    data: &CorpusConfig,
) -> Result<Option<usize>> {
    let files = sources.map_or(Vec::new(), |sources| sources.mined.iter().chain(&sources.records).collect());
    if !data.annotations.exists() || files.iter().any(|file| !file.exists()) {
        return Ok(None);
    }
    Ok(Some(rollout_queries(sources, &RewritingCorpus::read(data)?)?.len()))
}

/// Mean words of the training captions; 12 where the annotations are not there.
fn caption_words(data: &CorpusConfig) -> f64 {
    let words = || {
        let dataset = Dataset::open(&data.annotations, &data.images).ok()?;
        let split = dataset.split(&data.train_split).ok()?;
        let lengths: Vec<usize> =
            split.captions().take(CAPTIONS).map(|(_, caption)| caption.split_whitespace().count()).collect();
        (!lengths.is_empty()).then(|| lengths.iter().sum::<usize>() as f64 / lengths.len() as f64)
    };
    words().unwrap_or(12.0)
}

pub(in crate::stages) fn operations_per_second() -> Result<f64> {
    const ROWS: usize = 256;
    const WIDTH: usize = 1024;
    const ROUNDS: usize = 6;
    let left = Tensor::ones((ROWS, WIDTH), candle_core::DType::F32, &Device::Cpu)?;
    let right = Tensor::ones((WIDTH, WIDTH), candle_core::DType::F32, &Device::Cpu)?;
    left.matmul(&right)?;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        left.matmul(&right)?;
    }
    Ok((2 * ROWS * WIDTH * WIDTH * ROUNDS) as f64 / start.elapsed().as_secs_f64().max(1e-9))
}

/// Linux tells; other systems are not asked.
pub(in crate::stages) fn available_memory() -> Option<u64> {
    let text = fs_err::read_to_string(Path::new("/proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const GIGABYTE: f64 = 1e9;
        let millions = |count: u64| count as f64 / 1e6;
        writeln!(formatter, "stage        {}", self.stage)?;
        let files = match self.weight_files {
            0 => "sizes only, no weights there".to_owned(),
            files => format!("{files} file(s) of weights"),
        };
        writeln!(formatter, "model        {} ({files})", self.model)?;
        writeln!(
            formatter,
            "parameters   {:.1} M, {:.1} M of them trained",
            millions(self.parameters),
            millions(self.trained)
        )?;
        let memory = self.memory as f64 / GIGABYTE;
        match self.available_memory {
            Some(available) => {
                let fits = if self.memory <= available { "fits" } else { "does not fit" };
                let available = available as f64 / GIGABYTE;
                writeln!(formatter, "memory       {memory:.1} GB, {available:.1} GB are free: {fits}")?;
            }
            None => writeln!(formatter, "memory       {memory:.1} GB")?,
        }
        match (self.examples, self.steps, self.updates) {
            (Some(examples), Some(steps), Some(updates)) => {
                writeln!(formatter, "examples     {examples}")?;
                writeln!(formatter, "steps        {steps}, {updates} updates")?;
            }
            _ => writeln!(formatter, "steps        unknown: the examples are not there yet")?,
        }
        writeln!(formatter, "tokens       {} an update", self.tokens_per_update)?;
        match self.seconds {
            Some(seconds) => writeln!(formatter, "time         about {} on this machine", spelled(seconds)),
            None => writeln!(formatter, "time         unknown"),
        }
    }
}

fn spelled(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 120.0 => format!("{seconds:.0} seconds"),
        seconds if seconds < 7200.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} hours", seconds / 3600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    }
}
