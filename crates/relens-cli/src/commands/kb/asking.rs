//! The part of `relens kb build` that asks a language model.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use relens::knowledge::Entity;
use relens::knowledge::collection;
use relens::knowledge::collection::{
    AnswerPrompts, Asking, ChatAnswers, CollectionSettings, Recorded, Replies, Usage,
};
use relens::llm::{Budget, ClientSettings, LlmClient, Prices};

use crate::interrupt;
use crate::llm_endpoint::EndpointOptions;
use crate::progress::{self, Progress};
use crate::usage::usage_error;

/// The log of replies in the output directory.
const REPLIES_FILE: &str = "replies.jsonl";

/// Who is asked, where replies are, and what they cost.
#[derive(Debug, Args)]
pub(super) struct AskingOptions {
    /// Ask this language model which entities the captions name and what they look like.
    #[arg(long, value_name = "NAME")]
    llm: Option<String>,

    /// The model's replies, {"prompt", "reply", "prompt_tokens", "completion_tokens"} a line. Default with --llm:
    /// replies.jsonl in the output.
    #[arg(long, value_name = "FILE")]
    replies: Option<PathBuf>,

    #[command(flatten)]
    endpoint: EndpointOptions,
}

impl AskingOptions {
    /// The entities that the captions name at least `floor` times, described; `None` where nobody is to be asked.
    pub(super) fn collect(
        &self,
        captions: &[&str],
        floor: u64,
        output: &Path,
    ) -> Result<Option<Vec<Entity>>> {
        let path = match (&self.replies, &self.llm) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => output.join(REPLIES_FILE),
            (None, None) => return Ok(None),
        };
        interrupt::watch();
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        let mut replies = Replies::open(&path)?;
        let client = self.client(&replies)?;
        let answers = client.as_ref().map(|client| ChatAnswers::new(client));
        let model: &dyn AnswerPrompts = match &answers {
            Some(answers) => answers,
            None => &Recorded,
        };
        let mut bars = Bars { task: None, told: None, options: self };
        let mut asking = Asking::new(model, &mut replies, &mut bars);
        let settings = CollectionSettings { floor, concurrency: self.endpoint.in_flight };
        let collected = collection::collect(captions, settings, &mut asking);
        let usage = asking.usage();
        bars.finish();
        progress::note(&self.told(&usage));
        let stopped = || format!("asking stopped; {} has all replies so far", path.display());
        Ok(Some(collected.with_context(stopped)?))
    }

    /// The model; none where all replies have to be there.
    fn client(&self, replies: &Replies) -> Result<Option<LlmClient>> {
        let Some(llm) = &self.llm else { return Ok(None) };
        let settings = self.endpoint.settings(llm)?;
        if settings.replay {
            return Ok(None);
        }
        let (prompt_tokens, completion_tokens) = replies.tokens();
        let budget = left(settings.budget, settings.prices, prompt_tokens, completion_tokens)?;
        let settings = ClientSettings { budget, ..settings };
        Ok(Some(LlmClient::start(settings, self.endpoint.key(), None)?))
    }

    fn told(&self, usage: &Usage) -> String {
        let Usage { asked, recorded, prompt_tokens, completion_tokens } = usage;
        let cost = self.endpoint.prices().cost(*prompt_tokens, *completion_tokens);
        let price = if cost > 0.0 { format!(", costing {cost:.4}") } else { String::new() };
        format!(
            "{asked} questions asked, {recorded} replies recorded before; {prompt_tokens} tokens of prompts, \
             {completion_tokens} of replies{price}"
        )
    }
}

/// What is left of a budget after the recorded replies.
fn left(budget: Budget, prices: Prices, prompt_tokens: u64, completion_tokens: u64) -> Result<Budget> {
    let spent = prices.cost(prompt_tokens, completion_tokens);
    if budget.cost.is_some_and(|cost| cost.is_nan() || cost < 0.0) {
        return Err(usage_error("--budget: expected an amount of at least 0"));
    }
    Ok(Budget {
        cost: budget.cost.map(|cost| (cost - spent).max(0.0)),
        tokens: budget.tokens.map(|tokens| tokens.saturating_sub(prompt_tokens + completion_tokens)),
    })
}

/// A bar for each kind of question.
struct Bars<'a> {
    task: Option<(String, Progress)>,
    /// The number of questions asked when the log last told of it.
    told: Option<u64>,
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
        if self.told.replace(usage.asked) != Some(usage.asked) {
            tracing::info!(what, done, total, usage = self.options.told(usage));
        }
        !interrupt::requested()
    }
}
