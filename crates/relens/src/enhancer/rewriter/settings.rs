//! `relens_rewriter.json`: how a language model in a Hugging Face directory is used as a rewriter.

use std::path::{Path, PathBuf};

use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

use super::super::entity_finder::EntityConfig;
use super::super::mix::Mix;
use super::glosses::GlossConfig;
use crate::error::{Error, Result};
use crate::model_hub::bundled;

/// The file's name inside a model directory.
pub const SETTINGS_FILE: &str = bundled::REWRITER_FILE;

/// Where the template takes the query.
pub const QUERY_PLACE: &str = "{query}";

/// Where the template takes what the query's entities look like.
pub const DESCRIPTIONS_PLACE: &str = "{descriptions}";

/// The longest prompt or rewrite that can be asked for, in tokens.
const MOST_TOKENS: usize = 4096;

/// The most tokens of all beams or samples of one query: each holds the keys and values of every layer in memory.
const MOST_SEARCHED_TOKENS: usize = 8192;

/// Everything that a rewriter's directory says beside the language model's own files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewriterModelConfig {
    /// What the language model reads.
    pub prompt: PromptConfig,
    /// How it writes.
    pub decoding: DecodingConfig,
    /// How query and rewrites make one score.
    pub mix: Mix,
    /// With glosses in the prompt: the share of a query of which hardly anything is unfamiliar; it falls to nothing where
    /// all is, for what the retriever cannot read is noise. In place of `mix.original_share`. Range [0, 1]; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub familiar_share: Option<f32>,
    /// The gate's file in the same directory; without it every rewrite is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<PathBuf>,
}

/// What the language model reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptConfig {
    /// The prompt, with `{query}` in it and perhaps `{descriptions}`. Default `{query}`.
    pub template: String,
    /// Which entities are described, where the template asks for it.
    pub entities: EntityConfig,
    /// What unfamiliar words mean is said behind them, and the query stands in lower case without punctuation. Default:
    /// the query stands as it was typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glosses: Option<GlossConfig>,
    /// Most tokens of a prompt; what is longer loses its end. Default 128, range [8, 4096].
    pub max_tokens: usize,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self {
            template: QUERY_PLACE.to_owned(),
            entities: EntityConfig::default(),
            glosses: None,
            max_tokens: 128,
        }
    }
}

/// How rewrites are chosen among everything that the language model could write.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecodingConfig {
    /// How the next token is chosen. Default `greedy`.
    pub method: DecodingMethod,
    /// How many different rewrites of a query are wanted: the best beams, or samples. Greedy decoding gives one.
    /// Default 1, range [1, 64].
    pub rewrites: usize,
    /// Beams that are followed, where there are beams; at least `rewrites`. Default 4, range [1, 64].
    pub beams: usize,
    /// Divides the logits before sampling. Default 1, above 0.
    pub temperature: f64,
    /// Samples come from the likeliest tokens with this probability together. Default 1, range (0, 1].
    pub top_p: f64,
    /// Most tokens of a rewrite. Default 64, range [1, 4096].
    pub max_tokens: usize,
    /// Where sampling begins; the same query gives the same rewrites. Default 0.
    pub seed: u64,
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodingMethod {
    /// The likeliest.
    #[default]
    Greedy,
    /// The likeliest texts as far as beams show them.
    Beam,
    /// Drawn by probability.
    Sample,
}

impl Default for DecodingConfig {
    fn default() -> Self {
        Self {
            method: DecodingMethod::Greedy,
            rewrites: 1,
            beams: 4,
            temperature: 1.0,
            top_p: 1.0,
            max_tokens: 64,
            seed: 0,
        }
    }
}

impl RewriterModelConfig {
    /// Reads the settings of a model directory; the defaults where it has none.
    ///
    /// # Errors
    /// [`Error::Enhancer`] with the file's name and field; an I/O error.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join(SETTINGS_FILE);
        if !path.is_file() {
            return Ok(Self::default());
        }
        let settings: Self =
            serde_json::from_slice(&regular_file::read(&path, FileKind::Settings)?).map_err(|error| {
                Error::Enhancer { enhancer: path.display().to_string(), reason: error.to_string() }
            })?;
        settings.check(&path.display().to_string())?;
        Ok(settings)
    }

    /// Refuses what cannot be used; `source` is what the error calls the settings.
    ///
    /// # Errors
    /// [`Error::Enhancer`] with field, range and value.
    pub fn check(&self, source: &str) -> Result<()> {
        let refuse = |field: &str, expected: &str, found: String| {
            let reason = format!("expected `{field}` {expected}, found {found}");
            Err(Error::Enhancer { enhancer: source.to_owned(), reason })
        };
        if !self.prompt.template.contains(QUERY_PLACE) {
            return refuse("prompt.template", "with {query} in it", format!("`{}`", self.prompt.template));
        }
        if !(8..=MOST_TOKENS).contains(&self.prompt.max_tokens) {
            return refuse("prompt.max_tokens", "in [8, 4096]", self.prompt.max_tokens.to_string());
        }
        let DecodingConfig { rewrites, beams, temperature, top_p, max_tokens, .. } = self.decoding;
        if !(1..=MOST_TOKENS).contains(&max_tokens) {
            return refuse("decoding.max_tokens", "in [1, 4096]", max_tokens.to_string());
        }
        if !(1..=64).contains(&rewrites) {
            return refuse("decoding.rewrites", "in [1, 64]", rewrites.to_string());
        }
        if !(1..=64).contains(&beams) {
            return refuse("decoding.beams", "in [1, 64]", beams.to_string());
        }
        if beams.max(rewrites) * max_tokens > MOST_SEARCHED_TOKENS {
            let expected = format!("of at most {MOST_SEARCHED_TOKENS} together with the beams or samples");
            return refuse("decoding.max_tokens", &expected, (beams.max(rewrites) * max_tokens).to_string());
        }
        if !(temperature.is_finite() && temperature > 0.0) {
            return refuse("decoding.temperature", "above 0", temperature.to_string());
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return refuse("decoding.top_p", "in (0, 1]", top_p.to_string());
        }
        if let Some(share) = self.familiar_share.filter(|share| !(0.0..=1.0).contains(share)) {
            return refuse("familiar_share", "in [0, 1]", share.to_string());
        }
        if self.familiar_share.is_some() && self.prompt.glosses.is_none() {
            return refuse("prompt.glosses", "beside `familiar_share`", "none".to_owned());
        }
        self.mix.ensure_valid(source)
    }

    /// The settings as the file holds them.
    ///
    /// # Errors
    /// They cannot be written as JSON.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_and_faults_name_the_field() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(RewriterModelConfig::open(directory.path()).unwrap(), RewriterModelConfig::default());
        let mut settings = RewriterModelConfig::default();
        settings.prompt.template = "{query} ; {descriptions}".to_owned();
        settings.decoding.rewrites = 3;
        let path = directory.path().join(SETTINGS_FILE);
        fs_err::write(&path, settings.to_json().unwrap()).unwrap();
        assert_eq!(RewriterModelConfig::open(directory.path()).unwrap(), settings);
        for (text, expected) in [
            (r#"{"prompt": {"template": "a"}}"#, "`prompt.template` with {query} in it"),
            (r#"{"decoding": {"beams": 64, "max_tokens": 4096}}"#, "`decoding.max_tokens` of at most 8192"),
            (r#"{"decoding": {"temperature": 0}}"#, "`decoding.temperature` above 0"),
            (r#"{"decoding": {"beam": 2}}"#, "unknown field `beam`"),
            (r#"{"familiar_share": 2.0, "prompt": {"glosses": {}}}"#, "`familiar_share` in [0, 1]"),
            (r#"{"familiar_share": 0.5}"#, "`prompt.glosses` beside `familiar_share`"),
            (r#"{"mix": {"original_share": 2.0}}"#, "original_share of 0 to 1"),
        ] {
            fs_err::write(&path, text).unwrap();
            let message = RewriterModelConfig::open(directory.path()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
