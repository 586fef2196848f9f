//! Settings of the denoising stage.

use std::path::{Path, PathBuf};

use relens::enhancer::rewriter::RewriterSettings;
use serde::{Deserialize, Serialize};

use crate::data::corpus::CorpusConfig;
use crate::data::noise::NoiseConfig;
use crate::stages::rewriter::config::{in_range, read_toml};
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    EvaluationSettings, OptimizationSettings, Plan, PlanShape, PolicySettings, RetrieverSettings,
    RewriterStage, RunSummary, SelectionMetric, StagePaths, StageSettings,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenoiseConfig {
    /// The run's directory: configuration, logs, checkpoints, and at the end the rewriter in `model/`.
    pub output: PathBuf,
    /// Decides initial weights, order and noise. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Pictures and captions.
    pub data: CorpusConfig,
    /// Files of recorded rewrites whose texts are learned from, too. Default none.
    #[serde(default)]
    pub extra_texts: Vec<PathBuf>,
    /// The rewriter to go on with; without it, a fresh one of the sizes in `fresh` begins.
    #[serde(default)]
    pub start_from: Option<PathBuf>,
    /// Sizes of a fresh model.
    #[serde(default)]
    pub fresh: FreshModel,
    /// How the finished directory says that it should be used.
    #[serde(default)]
    pub rewriter: RewriterSettings,
    /// What is done to captions.
    #[serde(default)]
    pub noise: NoiseConfig,
    /// Share of examples that write another caption of the same picture. Default 0.5, range [0, 1].
    #[serde(default = "half")]
    pub paraphrase: f64,
    /// Share of examples whose text is no caption but three to nine words of the corpus in random order. No language model
    /// can guess them: they can only be copied, which is what a rewriter does most. Default 0, range [0, 1].
    #[serde(default)]
    pub random_words: f64,
    /// Peak learning rate. Default 1e-3.
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    /// Factor on the learning rate of the embedding table, whose numbers are about 16 times as large as those of other
    /// weights at the start. Default 10, range [0, 100].
    #[serde(default = "embedding_rate")]
    pub embedding_rate: f64,
    /// Passes over the texts. Default 10.
    #[serde(default = "epochs")]
    pub epochs: f64,
    /// Stop after this many steps; 0 for no limit. Default 0.
    #[serde(default)]
    pub max_steps: u64,
    /// Examples of an update. Default 64.
    #[serde(default = "batch_size")]
    pub batch_size: usize,
    /// How gradients become updates.
    #[serde(default)]
    pub optimization: OptimizationSettings,
    /// Measuring; `metric` is `loss` unless set otherwise.
    #[serde(default = "by_loss")]
    pub evaluation: EvaluationSettings,
    /// The retriever, where a recall chooses the checkpoint.
    #[serde(default)]
    pub retriever: RetrieverSettings,
}

/// Sizes of a T5 from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FreshModel {
    /// Tokens of the vocabulary, learned from training captions. Default 6000.
    pub vocabulary_size: usize,
    /// Width of the hidden states. Default 256.
    pub d_model: usize,
    /// Width of a head. Default 64.
    pub d_kv: usize,
    /// Width inside the feed-forward parts. Default 1024.
    pub d_ff: usize,
    /// Encoder layers. Default 4.
    pub layers: usize,
    /// Decoder layers. Default 4.
    pub decoder_layers: usize,
    /// Heads. Default 4.
    pub heads: usize,
    /// `relu` (T5 1.0) or `gated-gelu` (T5 1.1). Default `relu`.
    pub feed_forward: String,
    /// Dropout while training. Default 0.1.
    pub dropout: f64,
    /// Most tokens of a prompt, and of a target. Default 128.
    pub positions: usize,
    /// Write an induction head into the initial weights, which copies the prompt (see `copying_head`). A rewriter repeats
    /// most of its query, and a small T5 finds out how only late, if ever. Default false.
    pub copying_head: bool,
}

impl Default for FreshModel {
    fn default() -> Self {
        Self {
            vocabulary_size: 6000,
            d_model: 256,
            d_kv: 64,
            d_ff: 1024,
            layers: 4,
            decoder_layers: 4,
            heads: 4,
            feed_forward: "relu".to_owned(),
            dropout: 0.1,
            positions: 128,
            copying_head: false,
        }
    }
}

fn half() -> f64 {
    0.5
}

fn learning_rate() -> f64 {
    1e-3
}

fn embedding_rate() -> f64 {
    10.0
}

fn epochs() -> f64 {
    10.0
}

fn batch_size() -> usize {
    64
}

fn by_loss() -> EvaluationSettings {
    EvaluationSettings { metric: SelectionMetric::Loss, ..EvaluationSettings::default() }
}

impl RewriterStage for DenoiseConfig {
    fn read(path: &Path) -> Result<Self> {
        let config: Self = read_toml(path)?;
        config.check()?;
        Ok(config)
    }

    fn paths(&mut self) -> StagePaths<'_> {
        StagePaths {
            output: &mut self.output,
            annotations: &mut self.data.annotations,
            images: &mut self.data.images,
            retriever: &mut self.retriever.model,
            start_from: None,
            mined: None,
        }
    }

    fn plan(&self) -> Result<Plan> {
        // A fresh model has no directory yet: its sizes are written where nobody looks, and read as any other's.
        let sizes = tempfile::tempdir()?;
        let policy = match &self.start_from {
            Some(directory) => PolicySettings::of(directory),
            None => {
                fs_err::write(sizes.path().join("config.json"), super::fresh::model_config(&self.fresh))?;
                PolicySettings::of(sizes.path())
            }
        };
        let examples = queries_at_hand(None, &self.data)?;
        let (epochs, max_steps) = (self.epochs, self.max_steps);
        let shape = PlanShape { examples, epochs, max_steps, targets: 1, updates: 1, samples: false };
        let mut found = plan(&self.stage(&policy), shape)?;
        if self.start_from.is_none() {
            found.model = "a fresh T5".to_owned();
        }
        Ok(found)
    }

    fn run(&self, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(self, progress)
    }
}

impl DenoiseConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        self.noise.check()?;
        in_range("paraphrase", self.paraphrase, 0.0, 1.0)?;
        in_range("random_words", self.random_words, 0.0, 1.0)?;
        in_range("embedding_rate", self.embedding_rate, 0.0, 100.0)?;
        in_range("epochs", self.epochs, 0.0, 1e6)?;
        in_range("fresh.dropout", self.fresh.dropout, 0.0, 0.9)?;
        let sizes = [
            ("d_model", self.fresh.d_model),
            ("d_kv", self.fresh.d_kv),
            ("d_ff", self.fresh.d_ff),
            ("layers", self.fresh.layers),
            ("decoder_layers", self.fresh.decoder_layers),
            ("heads", self.fresh.heads),
            ("positions", self.fresh.positions),
        ];
        for (field, size) in sizes {
            if !(1..=65_536).contains(&size) {
                return Err(TrainingError::setting(format!("fresh.{field}"), "in [1, 65536]", &size));
            }
        }
        if self.fresh.copying_head {
            super::copying_head::check(&self.fresh)?;
        }
        self.rewriter.check("rewriter")?;
        self.stage(&PolicySettings::of(Path::new(""))).check()
    }

    /// What the loop needs of the settings.
    pub(super) fn stage<'a>(&'a self, policy: &'a PolicySettings) -> StageSettings<'a> {
        StageSettings {
            name: "denoise",
            output: &self.output,
            seed: self.seed,
            data: &self.data,
            policy,
            retriever: &self.retriever,
            evaluation: &self.evaluation,
            optimization: &self.optimization,
            learning_rate: self.learning_rate,
            batch_size: self.batch_size,
        }
    }
}
