//! The part of `relens kb build` that asks a language model.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens::evd::Entity;
use relens::evd::collection::{self, Asking, CollectionSettings, Recorded, Replies, Usage};

use crate::interrupt;
use crate::progress::{self, Progress};

/// Where replies are and what they cost.
#[derive(Debug, Args)]
pub(super) struct AskingOptions {
    /// The language model's replies, {"prompt", "reply", "prompt_tokens", "completion_tokens"} a line.
    #[arg(long, value_name = "FILE")]
    replies: Option<PathBuf>,

    /// The price of a million tokens of prompts, for the cost that is shown.
    #[arg(long, value_name = "PRICE", default_value_t = 0.0, requires = "replies")]
    prompt_price: f64,

    /// The price of a million tokens of replies.
    #[arg(long, value_name = "PRICE", default_value_t = 0.0, requires = "replies")]
    completion_price: f64,

    /// How many questions are asked at the same time.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, requires = "replies")]
    concurrency: usize,
}

impl AskingOptions {
    /// The entities that the captions name at least `floor` times, described; `None` where nobody is to be asked.
    pub(super) fn collect(&self, captions: &[&str], floor: u64) -> Result<Option<Vec<Entity>>> {
        let Some(path) = &self.replies else { return Ok(None) };
        interrupt::watch();
        let mut replies = Replies::open(path)?;
        let mut bars = Bars { task: None, options: self };
        let mut asking = Asking::new(&Recorded, &mut replies, &mut bars);
        let settings = CollectionSettings { floor, concurrency: self.concurrency };
        let collected = collection::collect(captions, settings, &mut asking);
        let usage = asking.usage();
        bars.finish();
        progress::note(&self.told(&usage));
        Ok(Some(
            collected
                .with_context(|| format!("asking stopped; {} has all replies so far", path.display()))?,
        ))
    }

    fn told(&self, usage: &Usage) -> String {
        let Usage { asked, recorded, prompt_tokens, completion_tokens } = usage;
        let cost = usage.cost(self.prompt_price, self.completion_price);
        let price = if cost > 0.0 { format!(", costing {cost:.2}") } else { String::new() };
        format!(
            "{asked} questions asked, {recorded} replies recorded before; {prompt_tokens} tokens of prompts, \
             {completion_tokens} of replies{price}"
        )
    }
}

/// A bar for each kind of question.
struct Bars<'a> {
    task: Option<(String, Progress)>,
    options: &'a AskingOptions,
}

impl Bars<'_> {
    fn finish(&mut self) {
        if let Some((_, bar)) = self.task.take() {
            bar.finish();
        }
    }
}

impl collection::Progress for Bars<'_> {
    fn advance(&mut self, what: &str, done: usize, total: usize, usage: &Usage) -> bool {
        if self.task.as_ref().is_none_or(|(task, _)| task != what) {
            self.finish();
            self.task = Some((what.to_owned(), Progress::start(what, total as u64)));
        }
        if let Some((_, bar)) = &self.task {
            bar.update(done as u64, total as u64);
        }
        tracing::info!(what, done, total, usage = self.options.told(usage));
        !interrupt::requested()
    }
}
