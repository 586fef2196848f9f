//! How an endpoint is asked.

use std::time::Duration;

use super::accounting::{Budget, Prices};
use super::error::LlmError;

/// How pictures are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageMode {
    /// Inside the request, as `data:` URLs. Every endpoint takes them.
    #[default]
    Data,
    /// As `file:` URLs, for a server that may read the same disk.
    File,
}

/// How a reply in JSON is asked for, beside what the prompt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum JsonMode {
    /// `response_format` of type `json_schema`: OpenAI, vLLM, llama.cpp's own server.
    #[default]
    Schema,
    /// `response_format` of type `json_object` with the schema beside it: llama-cpp-python.
    ObjectWithSchema,
    /// `response_format` of type `json_object`.
    Object,
    /// By the prompt alone.
    Prompt,
}

/// When and how often a request is repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryConfig {
    /// How often a request is tried in all; default 6.
    pub attempts: u32,
    /// The pause after the first failure; it doubles with every further one. Default half a second.
    pub first_pause: Duration,
    /// The longest pause of its own, default a minute. A longer one that the endpoint asks for is kept, up to an hour.
    pub longest_pause: Duration,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: 6, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(60) }
    }
}

/// Everything about an endpoint but the key.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientConfig {
    /// The address that `/chat/completions` is appended to, such as `https://api.example.org/v1`.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The most requests on their way; default 8.
    pub in_flight: usize,
    /// How long an attempt may take; default two minutes.
    pub timeout: Duration,
    /// When requests are repeated.
    pub retry: RetryConfig,
    /// How pictures are handed over.
    pub images: ImageMode,
    /// How JSON is asked for.
    pub json: JsonMode,
    /// What may be spent.
    pub budget: Budget,
    /// What tokens cost.
    pub prices: Prices,
    /// Answer from the records alone, without any network.
    pub replay: bool,
}

impl ClientConfig {
    /// The defaults for a model at an address.
    pub fn new(base_url: &str, model: &str) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            in_flight: 8,
            timeout: Duration::from_secs(120),
            retry: RetryConfig::default(),
            images: ImageMode::default(),
            json: JsonMode::default(),
            budget: Budget::default(),
            prices: Prices::default(),
            replay: false,
        }
    }

    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), LlmError> {
        let refuse = |field, expected: &str, found: String| {
            Err(LlmError::Setting { field, expected: expected.to_owned(), found })
        };
        if !self.replay {
            let url = reqwest::Url::parse(&self.base_url);
            let usable =
                url.as_ref().is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            if !usable {
                return refuse("base URL", "an http:// or https:// address", format!("`{}`", self.base_url));
            }
            // It would be shown in errors and records.
            if url.is_ok_and(|url| !url.username().is_empty() || url.password().is_some()) {
                return refuse("base URL", "an address without a password in it", "one with it".to_owned());
            }
        }
        if self.model.trim().is_empty() {
            return refuse("model", "a name", "empty".to_owned());
        }
        if self.in_flight == 0 || self.retry.attempts == 0 {
            return refuse("in flight, attempts", "numbers of at least 1", "0".to_owned());
        }
        self.budget.check()?;
        self.prices.check()
    }
}
