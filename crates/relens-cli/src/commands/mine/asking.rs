//! What `relens mine challenge`, `direct`, `feedback`, `blur` and `eqr` have in common.

use std::io::Write;

use anyhow::Result;
use clap::Args;
use relens::llm::{ChatModel, ChatRequest, LlmClient, Part};
use relens_training::mining::engine::{Engine, preview};
use relens_training::mining::judge::Judge;
use relens_training::mining::strategy::{AskSettings, LlmStrategy};
use serde::Serialize;

use super::data::{DataOptions, Opened};
use super::endpoint::ModelOptions;
use super::working::finish;
use crate::output::Output;
use crate::reporter::Reporter;
use crate::{interrupt, progress};

/// Conversations that are open for each request on its way: enough that a slow one holds nobody up.
const OPEN_PER_REQUEST: usize = 8;
/// Prompts that `--dry-run` prints.
const PROMPTS_SHOWN: usize = 2;

/// Data, model, and how much.
#[derive(Debug, Args)]
pub(super) struct AskingArguments {
    #[command(flatten)]
    pub(super) data: DataOptions,

    #[command(flatten)]
    pub(super) model: ModelOptions,

    /// Stop after so many queries.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// Ask nothing: print the first prompts and what the run would cost.
    #[arg(long)]
    dry_run: bool,

    /// Print the numbers as one JSON object.
    #[arg(long)]
    json: bool,
}

/// What a run with a language model was started with.
#[derive(Serialize)]
struct AskingConfig<'a, S: Serialize> {
    llm: &'a str,
    prompt: String,
    asking: AskSettings,
    strategy: S,
}

impl AskingArguments {
    /// Carries the strategy out; `settings` are those that only it has.
    pub(super) fn run(
        &self,
        opened: &Opened,
        strategy: &dyn LlmStrategy,
        settings: impl Serialize,
    ) -> Result<()> {
        interrupt::watch();
        let judge = opened.judge();
        if self.dry_run {
            return self.estimate(&judge, opened, strategy);
        }
        let config = AskingConfig {
            llm: self.model.model(),
            prompt: strategy.asking().prompt.id(),
            asking: strategy.asking().settings,
            strategy: settings,
        };
        let mut run = self.data.open_run(opened, strategy.strategy().name(), config)?;
        let client = self.model.client(run.directory())?;
        let window = self.model.endpoint.in_flight.saturating_mul(OPEN_PER_REQUEST);
        let worked = {
            let mut engine = Engine::new(&judge, strategy, &client, opened.acceptance, &mut run, window)?;
            engine.work(self.limit, &mut Reporter::default())
        };
        tell_usage(&client);
        let outcome = worked?;
        if outcome.unanswered > 0 {
            let unanswered = outcome.unanswered;
            progress::note(&format!(
                "{unanswered} queries were not answered; the same command asks for them again"
            ));
        }
        finish(&run, &self.data, opened.acceptance.k, self.json)
    }

    fn estimate(&self, judge: &Judge<'_>, opened: &Opened, strategy: &dyn LlmStrategy) -> Result<()> {
        let requests = preview(judge, strategy, opened.acceptance.k, PROMPTS_SHOWN)?;
        let mut output = Output::new();
        for request in &requests {
            show(request, &mut output)?;
        }
        let captions: usize = opened.pool.pictures().iter().map(|picture| picture.captions.len()).sum();
        let queries = self.limit.unwrap_or(captions as u64);
        let mean = |of: &dyn Fn(&ChatRequest) -> u64| {
            requests.iter().map(of).sum::<u64>() / requests.len().max(1) as u64
        };
        let prompt_tokens = mean(&ChatRequest::estimated_prompt_tokens);
        let reply_tokens = mean(&|request| u64::from(request.max_tokens));
        let most = queries * u64::from(strategy.turns());
        let cost = self.model.endpoint.prices().cost(prompt_tokens * most, reply_tokens * most);
        writeln!(
            output.writer,
            "At most {most} requests ({queries} queries, {} turns) of about {prompt_tokens} tokens, with replies of at \
             most {reply_tokens}: {} tokens, cost {cost:.2} at the prices given",
            strategy.turns(),
            (prompt_tokens + reply_tokens) * most
        )?;
        Ok(output.writer.flush()?)
    }
}

fn show(request: &ChatRequest, output: &mut Output) -> Result<()> {
    writeln!(output.writer, "── {} ({})", request.label, request.prompt)?;
    for message in &request.messages {
        writeln!(output.writer, "[{}]", message.role.name())?;
        for part in &message.parts {
            match part {
                Part::Text(text) => writeln!(output.writer, "{text}")?,
                Part::Image(path) => writeln!(output.writer, "(picture {})", path.display())?,
            }
        }
    }
    Ok(writeln!(output.writer)?)
}

/// What was asked and what it cost.
fn tell_usage(client: &LlmClient) {
    let usage = client.usage();
    progress::note(&format!(
        "{}: {} replies in {} attempts, {} from the records, {} lost; {} + {} tokens, cost {:.4}, with those of the records",
        client.model(),
        usage.replies,
        usage.attempts,
        usage.replayed,
        usage.lost,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cost
    ));
}
