//! Fitting a rewriter's gate: which rewrites help, and which are better left out.
//!
//! The captions of training pictures that the rewriter has not learned from (`data.held_out`), what people asked for these
//! pictures and captions made hard are rewritten and ranked with and without their rewrites. A logistic regression then
//! predicts from what is known at query time whether the rewrite raised the rank of the right picture. Of yes and no, the
//! threshold with the best mean reciprocal rank is kept; of shares, the sharpness.

mod measure;

use std::path::{Path, PathBuf};

use relens::enhancer::rewriter::gate::FEATURES;
use relens::enhancer::rewriter::settings::SETTINGS_FILE;
use relens::enhancer::rewriter::{Gate, RewriterModelConfig};
use relens_models::atomic_file::write_atomically;
use serde::{Deserialize, Serialize};

use self::measure::{Measured, MeasuredRewrite, Retrievers};
use super::logistic;
use super::rewriter::{Environment, FeedbackConfig};
use crate::data::corpus::CorpusConfig;
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// The gate's file in the rewriter's directory.
const GATE_FILE: &str = "gate.json";
/// What is tried as a sharpness: from shares that hardly differ to yes and no.
const SHARPNESSES: [f64; 8] = [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0];
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
    /// The retriever. With a `judge` the ranks are the judge's; how scores over the gallery change is then left out, since
    /// the scores of two retrievers are not alike.
    #[serde(default)]
    pub retriever: FeedbackConfig,
    /// Pictures among which ranks are counted: those that are held out, filled up with others. Default 1000.
    #[serde(default = "gallery")]
    pub gallery: usize,
    /// Fits how much a rewrite counts beside its query, in place of whether it is used. Default false.
    #[serde(default)]
    pub share: bool,
    /// Records of what people asked for pictures (`asked-train.jsonl`): the queries for those that are held out are asked
    /// beside the captions. Default none.
    #[serde(default)]
    pub asked: Vec<PathBuf>,
    /// What words are also called: each caption is asked once more in harder words. Default none.
    #[serde(default)]
    pub lexicon: Option<PathBuf>,
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
    /// Queries that were rewritten.
    pub queries: usize,
    /// Those whose rewrite raised the rank of the right picture: beside the query, or alone where shares are fitted.
    pub better: usize,
    /// Those whose rewrite lowered it.
    pub worse: usize,
    /// Chance that a helpful rewrite gets a higher probability than a harmful one.
    pub area_under_curve: f64,
    /// The threshold that was chosen; 0 where shares are fitted.
    pub threshold: f64,
    /// The sharpness that was chosen, where shares are fitted.
    pub sharpness: Option<f64>,
    /// Share of the rewrites that are used.
    pub let_through: f64,
    /// Mean reciprocal rank of the queries alone.
    pub reciprocal_rank_identity: f64,
    /// With every rewrite, or with every rewrite in its query's place where shares are fitted.
    pub reciprocal_rank_ungated: f64,
    /// With the rewrites that the gate lets through, or by their shares.
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
    let judge = environment.judging_retriever()?;
    let pictures = environment.gallery(config.gallery, progress)?;
    let retrievers = Retrievers { judge: &judge, is_used: judge.fingerprint() == retriever.fingerprint() };
    let measured = Measured::new(config, &environment.corpus, retrievers, &pictures, progress)?;
    let (gate, report) = fitted(config, &measured, retriever.fingerprint())?;
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

fn fitted(config: &GateConfig, measured: &Measured<'_>, retriever: &str) -> Result<(Gate, GateReport)> {
    let examples = measured.rewrites.as_slice();
    let decided: Vec<&MeasuredRewrite> =
        examples.iter().filter(|example| example.before != example.after).collect();
    let helped: Vec<bool> = decided.iter().map(|example| example.after < example.before).collect();
    let better = helped.iter().filter(|&&helped| helped).count();
    if decided.len() < LEAST_EXAMPLES || better == 0 || better == decided.len() {
        return Err(TrainingError::argument(
            "gate",
            format!("at least {LEAST_EXAMPLES} held-out queries whose rank a rewrite changes, both ways"),
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
        sharpness: None,
        retriever: retriever.to_owned(),
        fitted_on: examples.len(),
    };
    let probabilities: Vec<f64> =
        examples.iter().map(|example| gate.probability(&example.features)).collect();
    let gated = if config.share {
        let (sharpness, gated) = best_sharpness(measured, &gate)?;
        gate.sharpness = Some(sharpness);
        gated
    } else {
        let (threshold, gated) = best_threshold(examples, &probabilities);
        gate.threshold = threshold;
        gated
    };
    let mean = |rank: fn(&MeasuredRewrite) -> u32| {
        examples.iter().map(|example| 1.0 / f64::from(rank(example))).sum::<f64>() / examples.len() as f64
    };
    let used = probabilities.iter().filter(|&&probability| probability >= gate.threshold).count();
    let decided_probabilities: Vec<f64> =
        decided.iter().map(|example| gate.probability(&example.features)).collect();
    let report = GateReport {
        queries: examples.len(),
        better,
        worse: decided.len() - better,
        area_under_curve: logistic::area_under_curve(&decided_probabilities, &helped),
        threshold: gate.threshold,
        sharpness: gate.sharpness,
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

/// The sharpness whose shares give the best mean reciprocal rank, and that rank; of equal ones the lowest.
fn best_sharpness(measured: &Measured<'_>, gate: &Gate) -> Result<(f64, f64)> {
    let mut best = (1.0, f64::NEG_INFINITY);
    for sharpness in SHARPNESSES {
        let gate = Gate { sharpness: Some(sharpness), ..gate.clone() };
        let mean = measured.reciprocal_rank_by_shares(&gate)?;
        if mean > best.1 {
            best = (sharpness, mean);
        }
    }
    Ok(best)
}
