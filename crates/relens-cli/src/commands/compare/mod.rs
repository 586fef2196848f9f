//! `relens compare`: enhancers side by side on one captioned dataset.

mod config;
mod fitting;
mod perturbation_run;
mod perturbation_table;
mod rows;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use relens::dataset::Dataset;
use relens::embed::TextEmbedder;
use relens::enhancer::open::EnhancerContext;
use serde::Serialize;

use self::config::Comparison;
use self::fitting::{Aside, Embedded};
use self::perturbation_run::PerturbationRun;
use self::rows::{ComparisonRun, QuerySet};
use crate::enhancer_choice::{self, EnhancerArguments};
use crate::measured_queries::AskedArguments;
use crate::model_choice::ModelArguments;
use crate::output_file::{check_output, write_whole};
use crate::perturbed_captions::{PerturbationArguments, PerturbationList};
use crate::usage::usage_error;
use crate::{interrupt, library_location, progress};
use relens::counted::{by_number, counted};

/// Recall@k is compared for these k.
const RECALL_AT: [usize; 3] = [1, 5, 10];
/// Texts whose vectors are kept while perturbations are measured: what a perturbation shares with the captions.
const TEXTS_REMEMBERED: usize = 1 << 16;

/// Compare enhancers on a captioned dataset.
///
/// Prints a table of Recall@1, 5 and 10, text to image and image to text, each with the difference to `identity` (or
/// to the configuration's `baseline`) and its 95 % interval from a paired bootstrap over pictures. An asterisk marks
/// differences whose interval leaves out 0.
///
/// The configuration names the enhancers or describes them in its rows, and for each, if wanted, the shares of the
/// original query among which the best is chosen on pictures that are kept aside. A row, or the whole configuration,
/// may name a file of `queries` (and a `query_field`) that are asked in place of the captions, as in `relens eval`.
///
/// With --perturb, what perturbations of the captions cost: Recall@1, text to image, of captions as typed before and
/// after each, how much of the difference comes back with --enhancer, and which share of it that is; the last column
/// leaves out what the enhancer gains on captions as they are, too. A share is told where the cost is more than chance.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// What to compare, a TOML file.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "perturb",
        conflicts_with_all =
            ["enhancer", "combine", "arithmetic", "perturb_seed", "synonyms", "back_translated", "split"]
    )]
    config: Option<PathBuf>,

    /// Perturb the captions, as the published robustness benchmark does, in place of a configuration: `all`, `all:LEVEL`,
    /// or some of the names that `relens eval --perturb` takes, separated by commas.
    #[arg(long, value_name = "all[:LEVEL]|NAME[:LEVEL],…", conflicts_with_all = ["config", "queries"])]
    perturb: Option<PerturbationList>,

    #[command(flatten)]
    perturbation: PerturbationArguments,

    /// With --perturb: captions that were translated to another language and back, JSON Lines of {"image", "caption",
    /// "query"} (or "imgid"), `query` being what became of the caption.
    #[arg(long, value_name = "FILE", requires = "perturb", conflicts_with = "queries")]
    back_translated: Option<PathBuf>,

    /// With --perturb: the part of the dataset to measure. Default: all of it.
    #[arg(long, value_name = "NAME", requires = "perturb", conflicts_with = "queries")]
    split: Option<String>,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    /// The captions.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    #[command(flatten)]
    asked: AskedArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// Also write everything as one JSON object.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

impl CompareArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        if let Some(path) = &self.json {
            let files = [self.config.as_deref(), self.back_translated.as_deref(), self.asked.file()];
            let inputs = [self.annotations.as_path(), &self.images].into_iter();
            check_output(path, &inputs.chain(files.into_iter().flatten()).collect::<Vec<_>>())?;
        }
        match (&self.config, &self.perturb) {
            (_, Some(perturbations)) => self.perturbations(perturbations),
            (Some(config), None) => self.rows(config),
            (None, None) => Err(usage_error("expected --config FILE or --perturb NAME")),
        }
    }

    fn rows(&self, config: &Path) -> Result<()> {
        let comparison = Comparison::open(config)?;
        let directory = config.parent().unwrap_or(Path::new("")).to_owned();
        let dataset = Dataset::open(&self.annotations, &self.images)?;
        let split = dataset.split(&comparison.split)?;
        let sets = QuerySet::of(&comparison, self.asked.clone().source().as_ref(), &directory, &split)?;
        let retriever = Arc::new(self.model.open()?);
        let measured = Embedded::new(split, &retriever, usize::MAX)?;
        let aside = comparison.fit.as_ref().map(|fit| Aside::new(fit, &comparison.row, &dataset, &retriever));
        let aside = aside.transpose()?;
        let embedder: Arc<dyn TextEmbedder> = measured.embedder.clone();
        let context = EnhancerContext {
            home: library_location::home().ok(),
            embedder: Some(embedder),
            forgetful: enhancer_choice::forgetful(),
            ..EnhancerContext::default()
        };
        let run = ComparisonRun { comparison: &comparison, directory, measured, aside, context };
        let rows = run.rows(&sets)?;
        let count = run.measured.embedder.len();
        let (texts, were) = (counted(count, "different text"), by_number(&count, "was", "were"));
        progress::note(&format!("{texts} {were} embedded"));
        self.write_json(&rows)?;
        table::show(&rows)
    }

    fn perturbations(&self, perturbations: &PerturbationList) -> Result<()> {
        let mut dataset = Dataset::open(&self.annotations, &self.images)?;
        if let Some(split) = &self.split {
            dataset = dataset.split(split)?;
        }
        let perturber = self.perturbation.open(&dataset)?;
        let retriever = Arc::new(self.model.open()?);
        let measured = Embedded::new(dataset, &retriever, TEXTS_REMEMBERED)?;
        let pipeline = self.enhancer.open(measured.embedder.clone())?;
        let seed = self.perturbation.seed();
        let run = PerturbationRun { measured: &measured, pipeline: &pipeline, perturber, seed };
        let table = run.table(perturbations, self.back_translated.as_deref())?;
        self.write_json(&table)?;
        perturbation_table::show(&table)
    }

    fn write_json(&self, result: &impl Serialize) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        write_whole(path, &serde_json::to_vec_pretty(result)?)
    }
}
