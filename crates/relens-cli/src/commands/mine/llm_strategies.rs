//! The `relens mine` commands that ask a language model.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use relens::enhancer::entity_finder::{EntityConfig, EntityFinder};
use relens::knowledge::Knowledge;
use relens_training::mining::low_quality::Quality;
use relens_training::mining::strategy::{
    Blurring, ChallengeResponse, DirectGeneration, EvdRewrites, FeedbackEnhancement,
};
use serde_json::json;

use super::asking::{LlmMiningArguments, TurnConfig};
use crate::library_location;

/// Mine by challenge response: a model compares the right picture with those that beat it, and its rewrites are retested.
///
/// For each query of low quality: recall what beats its picture, submit the hard negatives beside the right picture,
/// let the model review what the retriever fails on and rewrite just that, retest; for several turns.
#[derive(Debug, Args)]
pub(crate) struct ChallengeArguments {
    #[command(flatten)]
    common: LlmMiningArguments,

    #[command(flatten)]
    turns: TurnArguments,

    /// Hard negatives that are submitted beside the right picture.
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    negatives: usize,
}

/// Mine by direct generation: a model rewrites from the right picture alone, once.
#[derive(Debug, Args)]
pub(crate) struct DirectArguments {
    #[command(flatten)]
    common: LlmMiningArguments,
}

/// Mine by feedback enhancement: a model rewrites, and refines by the similarity alone.
#[derive(Debug, Args)]
pub(crate) struct FeedbackArguments {
    #[command(flatten)]
    common: LlmMiningArguments,

    #[command(flatten)]
    turns: TurnArguments,
}

/// Blur queries of high quality into partners of low quality.
#[derive(Debug, Args)]
pub(crate) struct BlurArguments {
    #[command(flatten)]
    common: LlmMiningArguments,

    /// How much similarity to the picture a blurred query must have lost.
    #[arg(long, value_name = "COSINE", default_value_t = 0.03, allow_negative_numbers = true)]
    margin: f32,
}

/// Mine rewrites with visual descriptions woven in (EvdCLIP's D_EQR), and keep those that raise the similarity.
#[derive(Debug, Args)]
pub(crate) struct EqrArguments {
    #[command(flatten)]
    common: LlmMiningArguments,

    /// Work on queries of low quality only, instead of all captions.
    #[arg(long)]
    low_only: bool,

    /// The knowledge base whose descriptions are woven in: a file, or a directory that `relens kb build` has filled.
    /// Default: that of the home directory, or else the bundled one.
    #[arg(long, value_name = "FILE|DIR")]
    knowledge: Option<PathBuf>,
}

/// How long a conversation may get.
#[derive(Debug, Args)]
struct TurnArguments {
    /// The most turns.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    turns: u32,

    /// A conversation ends early after this many rewrites of high quality.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    enough: usize,
}

impl ChallengeArguments {
    pub(crate) fn run(self) -> Result<()> {
        let TurnArguments { turns, enough } = self.turns;
        let turns = TurnConfig { turns, enough, negatives: self.negatives };
        let strategy = ChallengeResponse(self.common.model.asking("challenge_response", turns)?);
        self.common.run(&self.common.data.open()?, &strategy, json!({}))
    }
}

impl DirectArguments {
    pub(crate) fn run(self) -> Result<()> {
        let asking = self.common.model.asking("direct_generation", TurnConfig::ONE)?;
        self.common.run(&self.common.data.open()?, &DirectGeneration(asking), json!({}))
    }
}

impl FeedbackArguments {
    pub(crate) fn run(self) -> Result<()> {
        let TurnArguments { turns, enough } = self.turns;
        let turns = TurnConfig { turns, enough, negatives: 0 };
        let asking = self.common.model.asking("feedback_enhancement", turns)?;
        self.common.run(&self.common.data.open()?, &FeedbackEnhancement(asking), json!({}))
    }
}

impl BlurArguments {
    pub(crate) fn run(self) -> Result<()> {
        let asking = self.common.model.asking("blur", TurnConfig::ONE)?;
        let strategy = Blurring { asking, margin: self.margin };
        self.common.run(&self.common.data.open()?, &strategy, json!({"margin": self.margin}))
    }
}

impl EqrArguments {
    pub(crate) fn run(self) -> Result<()> {
        let asking = self.common.model.asking("evd_rewrites", TurnConfig::ONE)?;
        let opened = self.common.data.open()?;
        let knowledge = match (&self.knowledge, library_location::home()) {
            (Some(path), _) => Knowledge::load(path)?,
            (None, Ok(home)) => Knowledge::of_home(&home)?,
            (None, Err(_)) => Knowledge::bundled()?,
        };
        let finder = EntityFinder::new(Arc::new(knowledge), None, EntityConfig::default());
        let quality = if self.low_only { Quality::Low } else { Quality::Any };
        let strategy = EvdRewrites { asking, finder, quality };
        let mut settings = json!({"low_only": self.low_only});
        if let Some(knowledge) = &self.knowledge {
            settings["knowledge"] = json!(knowledge);
        }
        self.common.run(&opened, &strategy, settings)
    }
}
