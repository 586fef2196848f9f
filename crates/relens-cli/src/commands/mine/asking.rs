//! The commands that ask a language model: which one, how, and the work that they have in common.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::llm::{ChatModel, ChatRequest, ClientConfig, ImageMode, LlmClient, Part, RecordStore};
use relens_training::mining::engine::{Engine, preview};
use relens_training::mining::pool::MiningFeedback;
use relens_training::mining::prompts::Prompt;
use relens_training::mining::record::ImageForm;
use relens_training::mining::strategy::{AskConfig, LlmStrategy, PromptedRequest};
use serde::Serialize;

use super::run::finish;
use super::run::{DataArguments, Opened};
use crate::llm_endpoint::EndpointArguments;
use crate::output::Output;
use crate::reporter::Reporter;
use crate::{interrupt, progress};
use relens::counted::{by_number, counted};

/// Conversations that are open for each request on its way: enough that a slow one holds nobody up.
const OPEN_PER_REQUEST: usize = 8;
/// Prompts that `--dry-run` prints.
const PROMPTS_SHOWN: usize = 2;

/// Data, model, and how much.
#[derive(Debug, Args)]
pub(super) struct LlmMiningArguments {
    #[command(flatten)]
    pub(super) data: DataArguments,

    #[command(flatten)]
    pub(super) model: LanguageModelArguments,

    /// Stop after this many queries.
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u64>,

    /// Ask nothing: print the first prompts and what the run would cost.
    #[arg(long)]
    dry_run: bool,

    /// Print the numbers as one JSON object.
    #[arg(long)]
    json: bool,
}

/// The configuration of a run that asks a language model.
#[derive(Serialize)]
struct AskingConfig<'a, S: Serialize> {
    llm: &'a str,
    prompt: String,
    asking: AskConfig,
    strategy: S,
}

impl LlmMiningArguments {
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
            let count = outcome.unanswered;
            let (were, them) = (by_number(&count, "was", "were"), by_number(&count, "it", "them"));
            let unanswered = counted(count, "query");
            progress::note(&format!(
                "{unanswered} {were} not answered; the same command asks for {them} again"
            ));
        }
        finish(&run, &self.data, opened.acceptance.k, self.json)
    }

    fn estimate(
        &self,
        judge: &MiningFeedback<'_>,
        opened: &Opened,
        strategy: &dyn LlmStrategy,
    ) -> Result<()> {
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
            "At most {} ({}, {}) of about {prompt_tokens} tokens,\nwith replies of at most {reply_tokens}: {} tokens, cost {cost:.2} at the prices given",
            counted(most, "request"),
            counted(queries, "query"),
            counted(strategy.turns(), "turn"),
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
        "{}: {} in {}, {} from the records, {} lost; {} + {} tokens, cost {:.4}, with those of the records",
        client.model(),
        counted(usage.replies, "reply"),
        counted(usage.attempts, "attempt"),
        usage.replayed,
        usage.lost,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cost
    ));
}

/// The model, its endpoint, and what may be spent.
#[derive(Debug, Args)]
pub(super) struct LanguageModelArguments {
    #[command(flatten)]
    pub(super) endpoint: EndpointArguments,

    /// The model's name there.
    #[arg(long, value_name = "NAME", env = "RELENS_LLM")]
    llm: String,

    /// The file of recorded replies: what was asked before is not asked again. Default: replies.jsonl in the output.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,

    /// How pictures are handed over: in the request, or by their place on a disk that the server can read.
    #[arg(long, value_enum, default_value = "data")]
    image_urls: ImageChoice,

    #[command(flatten)]
    ask: PromptArguments,
}

/// How the model is asked.
#[derive(Debug, Args)]
struct PromptArguments {
    /// A directory with own prompts, NAME.md, in place of those that come with relens.
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,

    /// Rewrites that are asked for at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    rewrites: usize,

    /// The model cannot see: submit pictures as their known captions. Only for data that nothing is measured on.
    #[arg(long)]
    text_only: bool,

    /// How freely the model chooses.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.7)]
    temperature: f32,

    /// Where its choice begins.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,

    /// The longest reply in tokens.
    #[arg(long, value_name = "NUMBER", default_value_t = 512)]
    max_tokens: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ImageChoice {
    /// In the request.
    Data,
    /// By their place.
    File,
}

impl LanguageModelArguments {
    /// The model's name.
    pub(super) fn model(&self) -> &str {
        &self.llm
    }

    /// Starts the client; `output` is where replies are recorded unless another file is named.
    pub(super) fn client(&self, output: &Path) -> Result<LlmClient> {
        let settings = ClientConfig {
            images: match self.image_urls {
                ImageChoice::Data => ImageMode::Data,
                ImageChoice::File => ImageMode::File,
            },
            ..self.endpoint.settings(&self.llm)?
        };
        let records = self.records.clone().unwrap_or_else(|| output.join("replies.jsonl"));
        Ok(LlmClient::start(settings, self.endpoint.key(), Some(RecordStore::open(&records)?))?)
    }

    /// The prompt `name` with the settings of its requests.
    pub(super) fn asking(&self, name: &str, turns: TurnConfig) -> Result<PromptedRequest> {
        let PromptArguments { rewrites, text_only, temperature, seed, max_tokens, .. } = self.ask;
        let TurnConfig { turns, enough, negatives } = turns;
        let pictures = if text_only { ImageForm::Captions } else { ImageForm::Images };
        let settings =
            AskConfig { count: rewrites, turns, enough, negatives, pictures, temperature, seed, max_tokens };
        Ok(PromptedRequest { prompt: Prompt::load(name, self.ask.prompts.as_deref())?, settings })
    }
}

/// What only strategies of several turns have.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnConfig {
    pub(super) turns: u32,
    pub(super) enough: usize,
    pub(super) negatives: usize,
}

impl TurnConfig {
    /// One turn, nothing recalled.
    pub(super) const ONE: Self = Self { turns: 1, enough: 1, negatives: 0 };
}
