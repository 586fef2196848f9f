//! `relens mine import`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::error::Error;
use relens::progress::Progress;
use relens_training::mining::import::{self, ImportConfig};
use serde::Serialize;

use super::run::{DataArguments, finish};
use crate::interrupt;
use crate::reporter::Reporter;

/// Answers that are scored together.
const ANSWERS_PER_BATCH: usize = 64;

/// Take in a language model's recorded rewrites, ranked by the retriever.
///
/// A record is {"imgid", "sentid", "query", "rewrites": [{"kind", "text"}], "blurred"} a line. The rewrites of a query of
/// low quality are ranked against it; a query of high quality becomes the rewrite of its blurred form.
#[derive(Debug, Args)]
pub(crate) struct RecordedRewritesArguments {
    #[command(flatten)]
    data: DataArguments,

    /// Recorded rewrites.
    #[arg(required = true, value_name = "FILE")]
    records: Vec<PathBuf>,

    /// How much similarity to the picture a blurred query must have lost.
    #[arg(long, value_name = "COSINE", default_value_t = 0.03, allow_negative_numbers = true)]
    margin: f32,

    /// The model that wrote the records, for the output.
    #[arg(long, value_name = "NAME", default_value = "recorded")]
    llm: String,

    /// Stop after this many records.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,

    /// Print the numbers as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ImportRunConfig {
    margin: f32,
    llm: String,
}

impl RecordedRewritesArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        let opened = self.data.open()?;
        let settings = ImportRunConfig { margin: self.margin, llm: self.llm.clone() };
        let mut run = self.data.open_run(&opened, "import", settings)?;
        let paths: Vec<&Path> = self.records.iter().map(PathBuf::as_path).collect();
        let mut answers = import::read(&paths, &opened.pool)?;
        answers.truncate(self.limit.unwrap_or(usize::MAX));
        let settings = ImportConfig {
            acceptance: opened.acceptance,
            blur_margin: self.margin,
            model: self.llm,
            prompt: "recorded".to_owned(),
        };
        let judge = opened.judge();
        let (mut progress, mut done) = (Reporter::default(), 0);
        progress.begin("queries", answers.len() as u64);
        for block in answers.chunks(ANSWERS_PER_BATCH) {
            let fresh: Vec<_> =
                block.iter().filter(|(caption, _)| !run.is_finished(&caption.id)).cloned().collect();
            for mined in import::score(&judge, &settings, &fresh)? {
                run.append(&mined)?;
            }
            done += block.len() as u64;
            progress.advance(done);
            if progress.cancelled() {
                return Err(Error::Cancelled.into());
            }
        }
        progress.end();
        finish(&run, &self.data, opened.acceptance.k, self.json)
    }
}
