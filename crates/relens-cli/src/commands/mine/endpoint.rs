//! The options that say which language model is asked, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::llm::{
    ApiKey, Budget, ClientSettings, ImageMode, JsonMode, LlmClient, Prices, RecordStore, RetrySettings,
};
use relens_training::mining::prompts::Prompt;
use relens_training::mining::record::PictureForm;
use relens_training::mining::strategy::{AskSettings, Asking};

use crate::cli::usage_error;

/// The model, its endpoint, and what may be spent.
#[derive(Debug, Args)]
pub(super) struct EndpointOptions {
    /// The address of an OpenAI-compatible endpoint, up to `/v1`.
    #[arg(long, value_name = "URL", env = "RELENS_LLM_URL", default_value = "")]
    endpoint: String,

    /// The model's name there.
    #[arg(long, value_name = "NAME", env = "RELENS_LLM")]
    llm: String,

    /// The environment variable that holds the key; local servers need none.
    #[arg(long, value_name = "NAME", default_value = "OPENAI_API_KEY")]
    key_variable: String,

    /// The file of recorded replies: what was asked before is not asked again. Default: replies.jsonl in the output.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,

    /// Answer from the recorded replies alone, without any network.
    #[arg(long)]
    replay: bool,

    /// The most requests on their way.
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    pub(super) in_flight: usize,

    /// Seconds that an attempt may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,

    /// How often a request is tried.
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    attempts: u32,

    /// How JSON is asked for, beside the prompt.
    #[arg(long, value_enum, default_value = "schema")]
    json_mode: JsonChoice,

    /// How pictures are handed over: in the request, or by their place on a disk that the server can read.
    #[arg(long, value_enum, default_value = "data")]
    image_urls: ImageChoice,

    /// Never spend more than this, in the currency of the prices; what the records cost counts.
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<f64>,

    /// Never use more tokens than this, prompts and replies together; those of the records count.
    #[arg(long, value_name = "NUMBER")]
    token_budget: Option<u64>,

    /// The price of a million tokens of prompts.
    #[arg(long, value_name = "AMOUNT", default_value_t = 0.0)]
    prompt_price: f64,

    /// The price of a million tokens of replies.
    #[arg(long, value_name = "AMOUNT", default_value_t = 0.0)]
    reply_price: f64,

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
enum JsonChoice {
    /// With the schema, as OpenAI, vLLM and llama.cpp's server take it.
    Schema,
    /// With the schema, as llama-cpp-python takes it.
    ObjectWithSchema,
    /// As any JSON object.
    Object,
    /// By the prompt alone.
    Prompt,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ImageChoice {
    /// In the request.
    Data,
    /// By their place.
    File,
}

impl EndpointOptions {
    /// The model's name.
    pub(super) fn model(&self) -> &str {
        &self.llm
    }

    /// Starts the client; `output` is where replies are recorded unless another file is named.
    pub(super) fn client(&self, output: &Path) -> Result<LlmClient> {
        if self.endpoint.is_empty() && !self.replay {
            return Err(usage_error("--endpoint: expected an address, or --replay"));
        }
        if !(self.timeout.is_finite() && self.timeout > 0.0 && self.timeout <= 86_400.0) {
            return Err(usage_error(format!("--timeout: expected seconds above 0, found {}", self.timeout)));
        }
        let records = self.records.clone().unwrap_or_else(|| output.join("replies.jsonl"));
        let settings = ClientSettings {
            in_flight: self.in_flight,
            timeout: Duration::from_secs_f64(self.timeout),
            retry: RetrySettings { attempts: self.attempts, ..RetrySettings::default() },
            images: match self.image_urls {
                ImageChoice::Data => ImageMode::Data,
                ImageChoice::File => ImageMode::File,
            },
            json: match self.json_mode {
                JsonChoice::Schema => JsonMode::Schema,
                JsonChoice::ObjectWithSchema => JsonMode::ObjectWithSchema,
                JsonChoice::Object => JsonMode::Object,
                JsonChoice::Prompt => JsonMode::Prompt,
            },
            budget: Budget { cost: self.budget, tokens: self.token_budget },
            prices: self.prices(),
            replay: self.replay,
            ..ClientSettings::new(&self.endpoint, &self.llm)
        };
        let key = ApiKey::from_environment(&self.key_variable);
        Ok(LlmClient::start(settings, key, Some(RecordStore::open(&records)?))?)
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

    pub(super) fn prices(&self) -> Prices {
        Prices { prompt: self.prompt_price, completion: self.reply_price }
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
