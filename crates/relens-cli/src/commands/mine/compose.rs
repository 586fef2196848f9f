//! `relens mine compose`.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use relens::enhancer::composer::{ComposerConfig, GeneratorConfig};
use relens::enhancer::entity_finder::EntityConfig;
use relens::enhancer::open::EnhancerContext;
use relens::error::Error;
use relens::progress::Progress;
use relens_training::mining::composer::compose;
use relens_training::mining::low_quality::{Quality, RankedCaptions};
use serde::Serialize;

use super::run::{DataArguments, finish};
use crate::reporter::Reporter;
use crate::{interrupt, library_location, model_choice};

/// Queries whose candidates are judged together.
const QUERIES_PER_BATCH: usize = 32;

/// Mine without a language model: candidates of the composer, chosen by the retriever.
///
/// The composer corrects spelling, drops filler, renames entities, and weaves in descriptions from the knowledge base.
#[derive(Debug, Args)]
pub(crate) struct ComposeArguments {
    #[command(flatten)]
    data: DataArguments,

    /// Stop after this many queries of low quality.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,

    /// The most candidates of one query.
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    candidates: usize,

    /// The most descriptions of one entity that candidates are made of.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    descriptions: usize,

    /// Where WordNet is, for other names of entities.
    #[arg(long, value_name = "DIR")]
    wordnet: Option<PathBuf>,

    /// Print the numbers as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct ComposeConfig {
    candidates: usize,
    descriptions: usize,
    wordnet: bool,
}

impl ComposeArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        let opened = self.data.open()?;
        let Self { candidates, descriptions, .. } = self;
        let settings = ComposeConfig { candidates, descriptions, wordnet: self.wordnet.is_some() };
        let mut run = self.data.open_run(&opened, "compose", settings)?;
        let config = ComposerConfig {
            wordnet: self.wordnet.clone(),
            entities: EntityConfig { max_descriptions: descriptions, ..EntityConfig::default() },
            candidates: GeneratorConfig { max_candidates: candidates, ..GeneratorConfig::default() },
            ..ComposerConfig::default()
        };
        let context = EnhancerContext {
            home: library_location::home().ok(),
            embedder: Some(Arc::new(model_choice::open(
                &opened.retriever.encoder().directory().to_string_lossy(),
            )?)),
            ..EnhancerContext::default()
        };
        let generator = config.open_generator(&context)?;
        let judge = opened.judge();
        let mut captions = RankedCaptions::new(&judge, Quality::Low, opened.acceptance.k);
        let limit = self.limit.unwrap_or(usize::MAX);
        let total = self.limit.map_or(0, |limit| limit as u64);
        let (mut progress, mut done) = (Reporter::default(), 0);
        progress.begin("queries", total);
        while done < limit {
            let block = captions.next_block(QUERIES_PER_BATCH.min(limit - done))?;
            if block.is_empty() {
                break;
            }
            done += block.len();
            let fresh: Vec<_> =
                block.into_iter().filter(|ranked| !run.is_finished(&ranked.caption.id)).collect();
            for mined in compose(&judge, &generator, &opened.acceptance, &fresh)? {
                run.append(&mined)?;
            }
            progress.advance(done as u64);
            if progress.cancelled() {
                return Err(Error::Cancelled.into());
            }
        }
        progress.end();
        finish(&run, &self.data, opened.acceptance.k, self.json)
    }
}
