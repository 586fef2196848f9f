//! `relens eval`: how well captions find their pictures, and pictures their captions.

mod output;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use relens::dataset::Dataset;
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::enhancer::EnhancedQuery;
use relens::evaluation::perturbation::Perturbation;
use relens::evaluation::{Evaluation, evaluate};
use relens::progress::Progress;
use relens::ranking::Pipeline;

use self::output::EvaluationOutput;
use crate::enhancer_choice::EnhancerArguments;
use crate::image_embedding::{embed_dataset, without_broken};
use crate::measured_queries::{AskedArguments, MeasuredQueries};
use crate::model_choice::ModelArguments;
use crate::output_file::check_output;
use crate::perturbed_captions::PerturbationArguments;
use crate::query_results::QueryResults;
use crate::reporter::Reporter;
use crate::{interrupt, model_choice, progress};
use relens::counted::{by_number, counted};

/// Measure retrieval on a captioned dataset.
///
/// Every caption searches for its picture (text to image) and every picture for its captions (image to text). The
/// numbers are Recall@K over all captions, median and mean rank, and mean reciprocal rank; a tie with a wrong answer
/// counts against us.
///
/// The format of the annotations is recognised: Karpathy JSON, Flickr8k.token.txt, COCO captions JSON,
/// clip_benchmark CSV, MSR-VTT CSV, JSON Lines, a folder of pictures with texts beside them, webdataset tars.
///
/// With --queries it is not the captions that search but what people ask; image to text is left out where not every
/// picture was asked for.
#[derive(Debug, Args)]
pub(crate) struct EvalArguments {
    /// The captions: a file, or a directory of tar archives that hold pictures and captions.
    #[arg(long, value_name = "FILE|DIR")]
    annotations: PathBuf,

    /// Where the pictures or videos that the annotations name are. Default: beside the annotations.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// The part of the dataset to measure, such as val or test. Without it, the whole dataset.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Leave out pictures that are missing or cannot be read, with their captions, and count them; without it they end
    /// the command.
    #[arg(long)]
    skip_broken: bool,

    /// Measure on this many pictures, drawn at random, instead of all.
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    sample: Option<usize>,

    /// What the draw depends on: the same seed draws the same pictures.
    #[arg(long, value_name = "NUMBER", default_value = "0", requires = "sample")]
    sample_seed: u64,

    #[command(flatten)]
    asked: AskedArguments,

    /// Measure captions that are made harder, as the published robustness benchmark does.
    ///
    /// Characters: keyboard, ocr, character-insert, character-replace, character-swap, character-delete. Words:
    /// synonym-replacement, word-insertion, word-swap, word-deletion, insert-punctuation. These have a level from 1 to 5
    /// (default 2): each touches a tenth of the words more. Sentences: formal, casual, passive, active.
    #[arg(long, value_name = "NAME[:LEVEL]", conflicts_with = "queries")]
    perturb: Option<Perturbation>,

    #[command(flatten)]
    perturbation: PerturbationArguments,

    #[command(flatten)]
    model: ModelArguments,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    /// The cut-offs K of Recall@K, separated by commas.
    #[arg(long, value_name = "K,…", value_delimiter = ',', default_value = "1,5,10", value_parser = positive)]
    recall_k: Vec<usize>,

    /// Write the numbers to this file as one JSON object (`-`: standard output) instead of showing a table.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,

    /// Also write every caption with its rank and what the enhancer made of it, and every picture with its rank.
    #[arg(long, requires = "json")]
    per_query: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(0) | Err(_) => Err(format!("expected a number of at least 1, found `{text}`")),
        Ok(number) => Ok(number),
    }
}

impl EvalArguments {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        interrupt::watch();
        if let Some(path) = self.json.as_deref().filter(|path| *path != Path::new("-")) {
            let images = self.images.as_deref();
            let inputs = std::iter::once(self.annotations.as_path()).chain(images).chain(self.asked.file());
            check_output(path, &inputs.collect::<Vec<_>>())?;
        }
        let dataset = self.dataset()?;
        if !self.skip_broken {
            let there = dataset.ensure_images_exist();
            there.map_err(|error| anyhow!("{error}; --skip-broken leaves such pictures out"))?;
        }
        let retriever = Arc::new(self.model.open()?);
        let count = dataset.images.len();
        let (dataset, broken) = without_broken(dataset, &retriever);
        if let Some(first) = broken.first().filter(|_| !self.skip_broken) {
            let broken = broken.len();
            bail!(
                "{broken} of {} cannot be read (first: {first}); --skip-broken leaves {} out",
                counted(count, "picture"),
                by_number(&broken, "it", "them")
            );
        }
        tell_broken(&broken);
        let queries = match self.perturb {
            Some(perturbation) => {
                let perturbed = self.perturbation.open(&dataset)?.perturb(&dataset, perturbation);
                vec![MeasuredQueries::perturbed(perturbed)]
            }
            None => MeasuredQueries::of(self.asked.clone().source().as_ref(), &dataset)?,
        };
        let pipeline = self.enhancer.open(retriever.clone())?;
        let images = embed_dataset(&dataset, &retriever)?;
        let measured = queries.iter().map(|queries| self.measure(queries, &images, &retriever, &pipeline));
        let mut measured = measured.collect::<Result<Vec<EvaluationOutput>>>()?;
        model_choice::tell_truncated(&retriever)?;
        let seconds = start.elapsed().as_secs_f64();
        for found in &mut measured {
            (found.split, found.skipped) = (self.split.clone(), self.skip_broken.then_some(broken.len()));
            if found.kind.is_none() {
                found.report.seconds = seconds;
            }
        }
        match self.json.as_deref() {
            Some(path) => output::write_json(path, &measured, seconds),
            None => output::show(&measured, seconds),
        }
    }

    fn dataset(&self) -> Result<Dataset> {
        let beside = self.annotations.parent().unwrap_or(Path::new(""));
        let mut dataset = Dataset::open(&self.annotations, self.images.as_deref().unwrap_or(beside))?;
        if let Some(split) = &self.split {
            dataset = dataset.split(split)?;
        }
        if let Some(count) = self.sample {
            dataset = dataset.sample(count, self.sample_seed);
        }
        Ok(dataset)
    }

    fn measure(
        &self,
        queries: &MeasuredQueries,
        images: &Embeddings,
        retriever: &Retriever,
        pipeline: &Pipeline,
    ) -> Result<EvaluationOutput> {
        let MeasuredQueries { kind, dataset, image_to_text, effect } = queries;
        let what = kind.as_deref().unwrap_or("captions");
        let mut progress = Reporter::default();
        progress.begin(what, dataset.caption_count() as u64);
        let (mut done, mut texts) = (0, Vec::new());
        let mut watch = |enhanced: Vec<EnhancedQuery>| {
            done += enhanced.len() as u64;
            progress.advance(done);
            if self.per_query {
                texts.extend(enhanced.into_iter().map(|query| query.texts));
            }
        };
        let found = evaluate(dataset, images, retriever, pipeline, &self.recall_k, &mut watch)?;
        progress.end();
        let Evaluation { report, ranks } = if *image_to_text { found } else { found.text_to_image_only() };
        let results = self.per_query.then(|| QueryResults::new(dataset, &ranks, texts));
        let (kind, effect) = (kind.clone(), effect.clone());
        Ok(EvaluationOutput { kind, split: None, skipped: None, report, effect, results })
    }
}

/// How many broken pictures are named.
const NAMED: usize = 5;

/// Says what is left out.
fn tell_broken(broken: &[String]) {
    if broken.is_empty() {
        return;
    }
    progress::note(&format!("left out: {} that cannot be read", counted(broken.len(), "picture")));
    broken.iter().take(NAMED).for_each(|reason| progress::note(&format!("  {reason}")));
}
