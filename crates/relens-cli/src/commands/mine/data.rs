//! What every `relens mine` command is told: data, retriever, output.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use relens::dataset::Dataset;
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens::embed::sentence_encoder::SentenceEncoder;
use relens::model_hub::bundled;
use relens_training::mining::acceptance::AcceptanceSettings;
use relens_training::mining::filters::FilterSettings;
use relens_training::mining::judge::Judge;
use relens_training::mining::pool::Pool;
use relens_training::mining::run::MiningRun;
use serde::Serialize;

use super::pool_vectors;
use crate::model_choice::ModelOption;

/// The captions, the pictures, the retriever, and where the results go.
#[derive(Debug, Args)]
pub(super) struct DataOptions {
    /// The captions, in any format that `eval` reads.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    /// The part of the data set to mine: its captions are the queries, and its pictures compete. What models are
    /// measured on has to stay out.
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,

    /// Let only the first so many pictures compete, and mine only their captions.
    #[arg(long, value_name = "NUMBER")]
    pool: Option<usize>,

    #[command(flatten)]
    model: ModelOption,

    /// The sentence encoder that tells whether a rewrite still means what the query does: a directory in the Hugging
    /// Face layout, or a retriever whose text trunk is a BERT. Default: the bundled retriever's trunk.
    #[arg(long, value_name = "DIR")]
    sentence_model: Option<PathBuf>,

    /// The directory of this run; made if it is not there, gone on with if it is.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    acceptance: AcceptanceOptions,
}

/// What is kept.
#[derive(Debug, Args)]
struct AcceptanceOptions {
    /// A query is of high quality if its picture is among the first so many.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,

    /// Keep at most so many rewrites of a query that the retriever likes better than the query.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    keep: usize,

    /// Keep at most so many that it likes less, for rankings to learn from.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    contrast: usize,

    /// The least cosine of a rewrite's sentence embedding with the query's.
    #[arg(long, value_name = "COSINE", default_value_t = 0.5, allow_negative_numbers = true)]
    min_similarity: f32,

    /// The most words of a rewrite.
    #[arg(long, value_name = "NUMBER", default_value_t = 48)]
    max_words: usize,
}

/// What a run was started with, for its `config.toml`: a run that goes on has to agree with it.
#[derive(Debug, Serialize)]
struct RunConfig<'a, S: Serialize> {
    strategy: &'a str,
    annotations: String,
    split: &'a str,
    pictures: usize,
    retriever: &'a str,
    retriever_fingerprint: &'a str,
    sentence_model: String,
    acceptance: AcceptanceSettings,
    settings: S,
}

/// Everything opened.
pub(super) struct Opened {
    pub(super) retriever: Retriever,
    pub(super) sentences: SentenceEncoder,
    pub(super) pool: Pool,
    pub(super) acceptance: AcceptanceSettings,
}

impl Opened {
    /// The retriever's feedback.
    pub(super) fn judge(&self) -> Judge<'_> {
        Judge { retriever: &self.retriever, sentences: &self.sentences, pool: &self.pool }
    }
}

impl DataOptions {
    /// Where the pictures are.
    pub(super) fn images(&self) -> &std::path::Path {
        &self.images
    }

    /// Opens data and models; embeds the pictures unless that was done before.
    pub(super) fn open(&self) -> Result<Opened> {
        let mut dataset = Dataset::open(&self.annotations, &self.images)?.split(&self.split)?;
        if let Some(pool) = self.pool {
            if pool == 0 {
                bail!("--pool: expected a number of at least 1, found 0");
            }
            dataset.images.truncate(pool);
        }
        dataset.ensure_images_exist()?;
        let retriever = self.model.open()?;
        let vectors = pool_vectors::of(&dataset, &retriever)?;
        let AcceptanceOptions { k, keep, contrast, min_similarity, max_words } = self.acceptance;
        let filters = FilterSettings { max_words, min_similarity };
        Ok(Opened {
            retriever,
            sentences: SentenceEncoder::open(&self.sentence_directory()?)?,
            pool: Pool::new(&dataset, vectors)?,
            acceptance: AcceptanceSettings { k, keep, contrast, filters },
        })
    }

    /// Opens the run's directory; `settings` are the strategy's own.
    pub(super) fn open_run(
        &self,
        opened: &Opened,
        strategy: &str,
        settings: impl Serialize,
    ) -> Result<MiningRun> {
        let config = RunConfig {
            strategy,
            annotations: self.annotations.display().to_string(),
            split: &self.split,
            pictures: opened.pool.pictures().len(),
            retriever: opened.retriever.name(),
            retriever_fingerprint: opened.retriever.fingerprint(),
            sentence_model: self.sentence_directory()?.display().to_string(),
            acceptance: opened.acceptance,
            settings,
        };
        Ok(MiningRun::open(&self.output, &config)?)
    }

    fn sentence_directory(&self) -> Result<PathBuf> {
        match &self.sentence_model {
            Some(directory) => Ok(directory.clone()),
            None => Ok(bundled::model(DEFAULT_MODEL)?),
        }
    }
}
