//! Fitting a rewriter's gate: which rewrites help, and which are better left out.
//!
//! The captions of training pictures that the rewriter has not learned from (`data.held_out`) are rewritten and ranked
//! with and without their rewrites. A logistic regression then predicts from what is known at query time whether the
//! rewrite raised the rank of the right picture, and the threshold with the best mean reciprocal rank is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens::enhancer::rewriter::gate::FEATURES;
use relens::enhancer::rewriter::settings::SETTINGS_FILE;
use relens::enhancer::rewriter::{
    Gate, GateFeatures, Rewrite, Rewriter, RewriterModelConfig, RewriterOptions,
};
use relens::enhancer::{EnhancedQuery, Query};
use relens::evaluation::GroundTruthRanks;
use relens::index::ExactIndex;
use relens::knowledge::Knowledge;
use relens::ranking::CombinedQueries;
use relens_models::atomic_file::write_atomically;
use serde::{Deserialize, Serialize};

use super::logistic;
use super::rewriter::{Environment, FeedbackConfig};
use crate::data::corpus::CorpusConfig;
use crate::{Result, TrainingError};
use relens::counted::counted;
use relens::progress::Progress;

/// The gate's file in the rewriter's directory.
const GATE_FILE: &str = "gate.json";
/// Fewer rewrites that change a rank than this decide nothing.
const LEAST_EXAMPLES: usize = 20;

/// Settings of one fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// The rewriter's directory, which gets the gate if no other is named.
    pub rewriter: PathBuf,
    /// A directory for a copy of the rewriter with the gate; `rewriter` then stays as it is. Default none.
    #[serde(default)]
    pub output: Option<PathBuf>,
    /// Pictures and captions; `held_out` says how many training pictures the rewriter has not learned from.
    pub data: CorpusConfig,
    /// The retriever.
    #[serde(default)]
    pub retriever: FeedbackConfig,
    /// Pictures among which ranks are counted: those that are held out, filled up with others. Default 1000.
    #[serde(default = "gallery")]
    pub gallery: usize,
    /// λ of the ridge penalty on the weights. Default 1, range [0, 1e6].
    #[serde(default = "ridge")]
    pub ridge: f64,
}

fn gallery() -> usize {
    1000
}

fn ridge() -> f64 {
    1.0
}

/// What the fit found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GateReport {
    /// Captions that were rewritten.
    pub queries: usize,
    /// Those whose rewrite raised the rank of the right picture.
    pub better: usize,
    /// Those whose rewrite lowered it.
    pub worse: usize,
    /// Chance that a helpful rewrite gets a higher probability than a harmful one.
    pub area_under_curve: f64,
    /// The threshold that was chosen.
    pub threshold: f64,
    /// Share of the rewrites that are used.
    pub let_through: f64,
    /// Mean reciprocal rank of the queries alone.
    pub reciprocal_rank_identity: f64,
    /// With every rewrite.
    pub reciprocal_rank_ungated: f64,
    /// With the rewrites that the gate lets through.
    pub reciprocal_rank_gated: f64,
}

impl GateConfig {
    /// Reads a TOML file. Relative paths in it are taken from the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown or missing field, or a setting outside its range.
    pub fn read(path: &Path) -> Result<Self> {
        let config: Self = crate::config_file::read_toml(path)?;
        super::rewriter::config::in_range("ridge", config.ridge, 0.0, 1e6)?;
        if config.data.held_out < 2 {
            return Err(TrainingError::setting("data.held_out", "at least 2", &config.data.held_out));
        }
        Ok(config)
    }
}

/// Fits the gate and writes it into the rewriter's directory, or into a copy of it.
///
/// # Errors
/// Data, pictures or models that cannot be read; too few rewrites that change a rank; a copy that cannot be written.
pub fn fit(config: &GateConfig, progress: &mut dyn Progress) -> Result<GateReport> {
    let mut environment = Environment::open(&config.data, &config.retriever, 0)?;
    let retriever = environment.retriever()?;
    let pictures = environment.gallery(config.gallery, progress)?;
    let examples = measure(config, &environment, &retriever, &pictures, progress)?;
    let (gate, report) = fitted(config, &examples, retriever.fingerprint())?;
    let directory = config.output.as_deref().unwrap_or(&config.rewriter);
    if directory != config.rewriter {
        copy_files(&config.rewriter, directory)?;
    }
    let text = serde_json::to_vec_pretty(&gate).map_err(std::io::Error::from)?;
    write_atomically(&directory.join(GATE_FILE), &text)?;
    let mut settings = RewriterModelConfig::open(&config.rewriter)?;
    settings.gate = Some(PathBuf::from(GATE_FILE));
    write_atomically(&directory.join(SETTINGS_FILE), settings.to_json()?.as_bytes())?;
    Ok(report)
}

/// Copies a directory's files, not the directories in it.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs_err::create_dir_all(to)?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs_err::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A query with its rewrite's features, and the rank of its picture without and with the rewrite.
#[derive(Debug, Clone, Copy)]
struct MeasuredRewrite {
    features: GateFeatures,
    before: u32,
    after: u32,
}

fn measure(
    config: &GateConfig,
    environment: &Environment,
    retriever: &Arc<Retriever>,
    pictures: &Embeddings,
    progress: &mut dyn Progress,
) -> Result<Vec<MeasuredRewrite>> {
    let (picture_of, queries): (Vec<usize>, Vec<Query>) = environment
        .corpus
        .held_out
        .iter()
        .enumerate()
        .flat_map(|(index, picture)| picture.captions.iter().map(move |caption| (index, caption)))
        .map(|(index, caption)| Ok((index, Query::new(caption)?)))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let settings = RewriterModelConfig::open(&config.rewriter)?;
    let options = RewriterOptions {
        without_gate: true,
        embedder: Some(retriever.clone()),
        ..RewriterOptions::default()
    };
    let rewriter = Rewriter::open(&config.rewriter, options, || Knowledge::bundled().map(Arc::new))?;
    progress.message(&format!("rewriting {} of held-out pictures", counted(queries.len(), "caption")));
    let rewrites: Vec<Option<Rewrite>> =
        rewriter.rewrites(&queries)?.into_iter().map(|all| all.into_iter().next()).collect();
    let texts: Vec<&str> = queries.iter().map(Query::text).collect();
    let own = retriever.embed_texts(&texts)?;
    let written: Vec<&str> = rewrites
        .iter()
        .zip(&texts)
        .map(|(rewrite, text)| rewrite.as_ref().map_or(*text, |rewrite| rewrite.text.as_str()))
        .collect();
    let changed = retriever.embed_texts(&written)?;
    let before = GroundTruthRanks::compute(pictures, &CombinedQueries::single(own.clone()), &picture_of)?;
    let mixed: Vec<EnhancedQuery> = queries
        .iter()
        .zip(&written)
        .map(|(query, text)| {
            let rewrite = relens::enhancer::WeightedText { text: (*text).to_owned(), weight: 1.0 };
            settings.mix.with_rewrites(query, vec![rewrite], Vec::new())
        })
        .collect();
    let all: Vec<&str> =
        mixed.iter().flat_map(|query| query.texts.iter().map(|text| text.text.as_str())).collect();
    let combined = CombinedQueries::combine(&mixed, &retriever.embed_texts(&all)?, "rewriter")?;
    let after = GroundTruthRanks::compute(pictures, &combined, &picture_of)?;
    let ids = (0..pictures.rows() as u64).collect();
    let gallery = ExactIndex::from_parts(retriever.fingerprint(), ids, pictures.clone())?;
    let mut measured = Vec::with_capacity(queries.len());
    for (index, rewrite) in rewrites.iter().enumerate() {
        let Some(rewrite) = rewrite else { continue };
        let (query, row) = (texts.get(index).copied().unwrap_or_default(), own.row(index));
        measured.push(MeasuredRewrite {
            features: GateFeatures::measure(query, rewrite, row, changed.row(index), Some(&gallery))?,
            before: before.text_to_image.get(index).copied().unwrap_or(1),
            after: after.text_to_image.get(index).copied().unwrap_or(1),
        });
    }
    Ok(measured)
}

fn fitted(config: &GateConfig, examples: &[MeasuredRewrite], retriever: &str) -> Result<(Gate, GateReport)> {
    let decided: Vec<&MeasuredRewrite> =
        examples.iter().filter(|example| example.before != example.after).collect();
    let helped: Vec<bool> = decided.iter().map(|example| example.after < example.before).collect();
    let better = helped.iter().filter(|&&helped| helped).count();
    if decided.len() < LEAST_EXAMPLES || better == 0 || better == decided.len() {
        return Err(TrainingError::argument(
            "gate",
            format!("at least {LEAST_EXAMPLES} held-out captions whose rank a rewrite changes, both ways"),
            format!("{better} better, {} worse", decided.len() - better),
        ));
    }
    let rows: Vec<Vec<f64>> = decided
        .iter()
        .map(|example| example.features.values().iter().map(|value| value.unwrap_or(0.0)).collect())
        .collect();
    let model = logistic::fit(&rows, &helped, config.ridge);
    let mut gate = Gate {
        features: FEATURES.map(str::to_owned).into(),
        mean: model.mean,
        deviation: model.deviation,
        weights: model.weights,
        bias: model.bias,
        threshold: 0.0,
        retriever: retriever.to_owned(),
        fitted_on: examples.len(),
    };
    let probabilities: Vec<f64> =
        examples.iter().map(|example| gate.probability(&example.features)).collect();
    let (threshold, gated) = best_threshold(examples, &probabilities);
    gate.threshold = threshold;
    let mean = |rank: fn(&MeasuredRewrite) -> u32| {
        examples.iter().map(|example| 1.0 / f64::from(rank(example))).sum::<f64>() / examples.len() as f64
    };
    let used = probabilities.iter().filter(|&&probability| probability >= threshold).count();
    let decided_probabilities: Vec<f64> =
        decided.iter().map(|example| gate.probability(&example.features)).collect();
    let report = GateReport {
        queries: examples.len(),
        better,
        worse: decided.len() - better,
        area_under_curve: logistic::area_under_curve(&decided_probabilities, &helped),
        threshold,
        let_through: used as f64 / examples.len() as f64,
        reciprocal_rank_identity: mean(|example| example.before),
        reciprocal_rank_ungated: mean(|example| example.after),
        reciprocal_rank_gated: gated,
    };
    Ok((gate, report))
}

/// The threshold with the best mean reciprocal rank, and that rank; of equal ones the lowest.
fn best_threshold(examples: &[MeasuredRewrite], probabilities: &[f64]) -> (f64, f64) {
    let mut best = (0.0, f64::NEG_INFINITY);
    for percent in 0..=100 {
        let threshold = f64::from(percent) / 100.0;
        let total: f64 = examples
            .iter()
            .zip(probabilities)
            .map(|(example, &probability)| {
                1.0 / f64::from(if probability >= threshold { example.after } else { example.before })
            })
            .sum();
        let mean = total / examples.len().max(1) as f64;
        if mean > best.1 {
            best = (threshold, mean);
        }
    }
    best
}
