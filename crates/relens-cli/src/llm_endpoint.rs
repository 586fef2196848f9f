//! The arguments that say how a language model is reached, and how much it may cost.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::llm::{ApiKey, Budget, ClientConfig, JsonMode, Prices, RetryConfig};

use crate::usage::usage_error;

/// The endpoint.
#[derive(Debug, Args)]
pub(crate) struct EndpointArguments {
    /// The address of an OpenAI-compatible endpoint, up to `/v1`.
    #[arg(long, value_name = "URL", env = "RELENS_LLM_URL", default_value = "")]
    endpoint: String,

    /// The environment variable that holds the key; local servers need none.
    #[arg(long, value_name = "NAME", default_value = "OPENAI_API_KEY")]
    key_variable: String,

    /// Answer from the recorded replies alone, without any network.
    #[arg(long)]
    pub(crate) replay: bool,

    /// The most requests on their way.
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    pub(crate) in_flight: usize,

    /// Seconds that an attempt may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120.0)]
    timeout: f64,

    /// How often a request is tried.
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    attempts: u32,

    /// How JSON is asked for, beside the prompt.
    #[arg(long, value_enum, default_value = "schema")]
    json_mode: JsonChoice,

    /// Never spend more than this, in the currency of the prices. The cost of recorded replies counts.
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

impl EndpointArguments {
    /// The settings of a client for the model `llm`.
    pub(crate) fn settings(&self, llm: &str) -> Result<ClientConfig> {
        if self.endpoint.is_empty() && !self.replay {
            return Err(usage_error("--endpoint: expected an address, or --replay"));
        }
        if !(self.timeout.is_finite() && self.timeout > 0.0 && self.timeout <= 86_400.0) {
            return Err(usage_error(format!("--timeout: expected seconds above 0, found {}", self.timeout)));
        }
        Ok(ClientConfig {
            in_flight: self.in_flight,
            timeout: Duration::from_secs_f64(self.timeout),
            retry: RetryConfig { attempts: self.attempts, ..RetryConfig::default() },
            json: match self.json_mode {
                JsonChoice::Schema => JsonMode::Schema,
                JsonChoice::ObjectWithSchema => JsonMode::ObjectWithSchema,
                JsonChoice::Object => JsonMode::Object,
                JsonChoice::Prompt => JsonMode::Prompt,
            },
            budget: self.budget(),
            prices: self.prices(),
            replay: self.replay,
            ..ClientConfig::new(&self.endpoint, llm)
        })
    }

    /// The key, from the environment.
    pub(crate) fn key(&self) -> ApiKey {
        ApiKey::from_environment(&self.key_variable)
    }

    /// What may be spent.
    pub(crate) fn budget(&self) -> Budget {
        Budget { cost: self.budget, tokens: self.token_budget }
    }

    /// What tokens cost.
    pub(crate) fn prices(&self) -> Prices {
        Prices { prompt: self.prompt_price, completion: self.reply_price }
    }
}
