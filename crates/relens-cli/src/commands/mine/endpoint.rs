//! The options that say which language model is asked, and how.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::llm::{ClientSettings, ImageMode, LlmClient, RecordStore};
use relens_training::mining::prompts::Prompt;
use relens_training::mining::record::PictureForm;
use relens_training::mining::strategy::{AskSettings, Asking};

use crate::llm_endpoint::EndpointOptions;

/// The model, its endpoint, and what may be spent.
#[derive(Debug, Args)]
pub(super) struct ModelOptions {
    #[command(flatten)]
    pub(super) endpoint: EndpointOptions,

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
    ask: AskOptions,
}

/// How the model is asked.
#[derive(Debug, Args)]
struct AskOptions {
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

impl ModelOptions {
    /// The model's name.
    pub(super) fn model(&self) -> &str {
        &self.llm
    }

    /// Starts the client; `output` is where replies are recorded unless another file is named.
    pub(super) fn client(&self, output: &Path) -> Result<LlmClient> {
        let settings = ClientSettings {
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
    pub(super) fn asking(&self, name: &str, turns: TurnSettings) -> Result<Asking> {
        let AskOptions { rewrites, text_only, temperature, seed, max_tokens, .. } = self.ask;
        let TurnSettings { turns, enough, negatives } = turns;
        let pictures = if text_only { PictureForm::Captions } else { PictureForm::Images };
        let settings = AskSettings {
            count: rewrites,
            turns,
            enough,
            negatives,
            pictures,
            temperature,
            seed,
            max_tokens,
        };
        Ok(Asking { prompt: Prompt::load(name, self.ask.prompts.as_deref())?, settings })
    }
}

/// What only strategies of several turns have.
#[derive(Debug, Clone, Copy)]
pub(super) struct TurnSettings {
    pub(super) turns: u32,
    pub(super) enough: usize,
    pub(super) negatives: usize,
}

impl TurnSettings {
    /// One turn, nothing recalled.
    pub(super) const ONE: Self = Self { turns: 1, enough: 1, negatives: 0 };
}
