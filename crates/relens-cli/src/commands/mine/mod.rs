//! `relens mine`: training data for rewriters, from the retriever's own mistakes.

mod asking;
mod compose;
mod import;
mod judged;
mod llm_strategies;
mod preferences;
mod run;

use anyhow::Result;
use clap::Subcommand;

/// Mine training data for rewriters.
///
/// Captions whose picture the retriever ranks badly are rewritten, the rewrites are ranked by the same retriever, and
/// those that it likes better are kept. Each run is a directory: mined.jsonl grows by one finished query a line, so that
/// a run that was stopped goes on where it was; pro.jsonl, summary.json and report.html are made when it ends.
///
/// The key of a language model is read from the environment and never shown or stored.
#[derive(Debug, Subcommand)]
pub(crate) enum MineCommand {
    Challenge(Box<llm_strategies::ChallengeArguments>),
    Direct(Box<llm_strategies::DirectArguments>),
    Feedback(Box<llm_strategies::FeedbackArguments>),
    Blur(Box<llm_strategies::BlurArguments>),
    Eqr(Box<llm_strategies::EqrArguments>),
    Compose(compose::ComposeArguments),
    Import(import::RecordedRewritesArguments),
    Preferences(preferences::PreferencesArguments),
    Judged(judged::JudgedArguments),
}

impl MineCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Challenge(arguments) => arguments.run(),
            Self::Direct(arguments) => arguments.run(),
            Self::Feedback(arguments) => arguments.run(),
            Self::Blur(arguments) => arguments.run(),
            Self::Eqr(arguments) => arguments.run(),
            Self::Compose(arguments) => arguments.run(),
            Self::Import(arguments) => arguments.run(),
            Self::Judged(arguments) => arguments.run(),
            Self::Preferences(arguments) => arguments.run(),
        }
    }
}
