//! What every `relens mine` command is told (data, retriever, output), and how its run ends.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use relens::dataset::Dataset;
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens::embed::sentence_encoder::SentenceEncoder;
use relens::model_hub::bundled;
use relens_training::mining::acceptance::AcceptanceConfig;
use relens_training::mining::filters::FilterConfig;
use relens_training::mining::pool::MiningFeedback;
use relens_training::mining::pool::Pool;
use relens_training::mining::run::{MINED, MiningRun, REPORT};
use relens_training::mining::summary::Summary;
use serde::Serialize;

use crate::image_embedding::embed_dataset_once;
use crate::model_choice::ModelOption;
use crate::output::Output;
use crate::output_file::write_whole;
use crate::report;

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
    acceptance: AcceptanceConfig,
    settings: S,
}

/// Everything opened.
pub(super) struct Opened {
    pub(super) retriever: Retriever,
    pub(super) sentences: SentenceEncoder,
    pub(super) pool: Pool,
    pub(super) acceptance: AcceptanceConfig,
}

impl Opened {
    /// The retriever's feedback.
    pub(super) fn judge(&self) -> MiningFeedback<'_> {
        MiningFeedback { retriever: &self.retriever, sentences: &self.sentences, pool: &self.pool }
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
        let vectors = embed_dataset_once(&dataset, &retriever)?;
        let AcceptanceOptions { k, keep, contrast, min_similarity, max_words } = self.acceptance;
        let filters = FilterConfig { max_words, min_similarity };
        Ok(Opened {
            retriever,
            sentences: SentenceEncoder::open(&self.sentence_directory()?)?,
            pool: Pool::new(&dataset, vectors)?,
            acceptance: AcceptanceConfig { k, keep, contrast, filters },
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

/// Makes the run's last files and shows its numbers.
pub(super) fn finish(run: &MiningRun, data: &DataOptions, k: u32, json: bool) -> Result<()> {
    let (summary, highlights) = run.finish(k)?;
    let title = run.directory().display().to_string();
    let page = report::mining_page(&title, &summary, &highlights, data.images())?;
    write_whole(&run.directory().join(REPORT), page.as_bytes())?;
    let mut output = Output::new();
    if json {
        serde_json::to_writer(&mut output.writer, &summary)?;
        writeln!(output.writer)?;
    } else {
        show(&summary, run, &mut output)?;
    }
    Ok(output.writer.flush()?)
}

fn show(summary: &Summary, run: &MiningRun, output: &mut Output) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "strategy",
        "queries",
        "low quality",
        "turned high",
        "improved",
        "rewrites",
        "mean rank before",
        "after",
    ]);
    for (name, strategy) in &summary.strategies {
        table.add_row([
            name.clone(),
            strategy.queries.to_string(),
            strategy.low.to_string(),
            format!("{} ({:.1} %)", strategy.turned_high, 100.0 * strategy.turned_share()),
            strategy.improved.to_string(),
            strategy.rewrites.to_string(),
            format!("{:.1}", strategy.mean_rank_before()),
            format!("{:.1}", strategy.mean_rank_after()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(output.writer, "{table}")?;
    let place = |file: &str| run.directory().join(file).display().to_string();
    writeln!(output.writer, "The records are in {}, the report is {}", place(MINED), place(REPORT))?;
    Ok(())
}
