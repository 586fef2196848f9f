//! Settings of the denoising stage.

use std::path::PathBuf;

use relens::enhancer::rewriter::RewriterModelConfig;
use serde::{Deserialize, Serialize};

use super::trunk::TrunkConfig;
use crate::config_file::ConfigTable;
use crate::data::noise::NoiseConfig;
use crate::stages::rewriter::config::in_range;
use crate::stages::rewriter::plan::{plan, queries_at_hand};
use crate::stages::rewriter::{
    Plan, PlanShape, PolicyConfig, RewriterConfig, RewriterEvaluation, RewriterMetric, RewritingMethod,
    RunSummary,
};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Settings of one run.
pub type DenoiseConfig = RewriterConfig<DenoiseMethod>;

/// The method's own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DenoiseMethod {
    /// Files of recorded rewrites whose texts are learned from, too. Default none.
    #[serde(default)]
    pub extra_texts: Vec<PathBuf>,
    /// The rewriter to go on with; without it, a fresh one of the sizes in `fresh` begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_from: Option<PathBuf>,
    /// Sizes of a fresh model.
    #[serde(default)]
    pub fresh: FreshModel,
    /// How the finished directory says that it should be used.
    #[serde(default)]
    pub rewriter: RewriterModelConfig,
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
    /// Factor on the learning rate of the embedding table, whose numbers are about 16 times as large as those of other
    /// weights at the start. Default 10, range [0, 100].
    #[serde(default = "embedding_rate")]
    pub embedding_rate: f64,
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
    /// Read with a text trunk that knows words, and leave it as it is; then of the sizes only those of the decoder count,
    /// its width is the trunk's, and its vocabulary those of the trunk's tokens that the texts consist of. Default none:
    /// an encoder from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkConfig>,
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
            trunk: None,
        }
    }
}

impl FreshModel {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`] naming the field.
    pub fn check(&self) -> Result<()> {
        in_range("fresh.dropout", self.dropout, 0.0, 0.9)?;
        let sizes = [
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("layers", self.layers),
            ("decoder_layers", self.decoder_layers),
            ("heads", self.heads),
            ("positions", self.positions),
        ];
        for (field, size) in sizes {
            if !(1..=65_536).contains(&size) {
                return Err(TrainingError::setting(format!("fresh.{field}"), "in [1, 65536]", &size));
            }
        }
        if self.copying_head && self.trunk.is_some() {
            let expected = "false beside `fresh.trunk`, whose decoder copies anyway";
            return Err(TrainingError::setting("fresh.copying_head", expected, &true));
        }
        if self.copying_head {
            super::copying_head::check(self)?;
        }
        Ok(())
    }

    /// What a run that begins with such a model will need.
    ///
    /// # Errors
    /// A trunk's configuration that is missing or malformed.
    pub(crate) fn plan<M: RewritingMethod>(
        &self,
        config: &RewriterConfig<M>,
        shape: PlanShape,
    ) -> Result<Plan> {
        // A fresh model has no directory yet: its sizes are written where nobody looks, and read as any other's.
        let sizes = tempfile::tempdir()?;
        let expected = match &self.trunk {
            Some(trunk) => super::trunk::expected_config(trunk, self)?,
            None => super::fresh::model_config(self),
        };
        fs_err::write(sizes.path().join("config.json"), expected)?;
        let found = plan(config, &PolicyConfig::of(sizes.path()), shape)?;
        let model = if self.trunk.is_some() { "a fresh decoder on a trunk" } else { "a fresh T5" };
        Ok(Plan { model: model.to_owned(), ..found })
    }
}

fn half() -> f64 {
    0.5
}

fn embedding_rate() -> f64 {
    10.0
}

impl RewritingMethod for DenoiseMethod {
    const NAME: &'static str = "denoise";
    const LEARNING_RATE: f64 = 1e-3;
    const EPOCHS: f64 = 10.0;
    const BATCH_SIZE: usize = 64;

    fn evaluation() -> RewriterEvaluation {
        RewriterEvaluation { metric: RewriterMetric::Loss, ..RewriterEvaluation::default() }
    }

    fn read(fields: &mut ConfigTable<'_>) -> Result<Self> {
        fields.take()
    }

    fn check(&self) -> Result<()> {
        self.noise.check()?;
        in_range("paraphrase", self.paraphrase, 0.0, 1.0)?;
        in_range("random_words", self.random_words, 0.0, 1.0)?;
        in_range("embedding_rate", self.embedding_rate, 0.0, 100.0)?;
        self.fresh.check()?;
        self.rewriter.check("rewriter")?;
        Ok(())
    }

    fn plan(config: &DenoiseConfig) -> Result<Plan> {
        let method = &config.method;
        let examples = queries_at_hand(None, &config.run.data)?;
        let shape = PlanShape { examples, targets: 1, updates: 1, samples: false };
        match &method.start_from {
            Some(directory) => plan(config, &PolicyConfig::of(directory), shape),
            None => method.fresh.plan(config, shape),
        }
    }

    fn run(config: &DenoiseConfig, progress: &mut dyn Progress) -> Result<RunSummary> {
        super::run(config, progress)
    }
}
