//! A language model that was trained on this retriever's feedback writes the query anew.
//!
//! Its directory has the Hugging Face layout and [`settings::SETTINGS_FILE`] beside it; training makes such directories.
//! Rewrites are remembered, in memory and on disk, and a [`gate`] may keep the original where a rewrite is predicted to
//! hurt.

pub mod cache;
pub mod gate;
pub mod glosses;
pub mod model;
pub mod prompt;
pub mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

pub use cache::RewriteCache;
pub use gate::{Gate, GateFeatures};
pub use glosses::{GlossConfig, GlossedQuery, Glosses};
pub use model::{Rewrite, RewriterModel};
pub use prompt::PromptBuilder;
pub use settings::{DecodingConfig, DecodingMethod, PromptConfig, RewriterModelConfig};

use super::mix::{Mix, equally_weighted};
use super::open::{EnhancerContext, EnhancerTable};
use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry, WeightedText};
use crate::embed::TextEmbedder;
use crate::error::Result;
use crate::index::Index;
use crate::knowledge::Knowledge;
use crate::model_hub::bundled;

/// The bundled rewriter's name.
pub const BUNDLED: &str = "relens-mini-rewriter";

/// The name of the cache in relens's home directory.
pub const CACHE_FILE: &str = "rewrites.db";

/// Files of a model directory that decide what it writes.
const DECISIVE: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// What `rewriter` can be set to where it is used; what the directory itself says is in [`RewriterModelConfig`].
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewriterEnhancerConfig {
    /// The rewriter's directory; default: the bundled one.
    pub directory: Option<PathBuf>,
    /// How much the query itself counts; default: as the directory says.
    pub mix: Option<Mix>,
    /// How rewrites are chosen, and how many; default: as the directory says.
    pub decoding: Option<DecodingConfig>,
    /// Use every rewrite, whatever the directory's gate predicts.
    pub without_gate: bool,
    /// Where rewrites are remembered; default: in the home directory.
    pub cache: Option<PathBuf>,
    /// The knowledge base, for rewriters whose prompts hold descriptions.
    pub knowledge: Option<PathBuf>,
}

/// How a rewriter is opened.
#[derive(Clone, Default)]
pub struct RewriterOptions {
    /// In place of the directory's own combination.
    pub mix: Option<Mix>,
    /// In place of the directory's own decoding.
    pub decoding: Option<DecodingConfig>,
    /// Leave the gate out, if there is one.
    pub without_gate: bool,
    /// The file that remembers rewrites for later processes; none for this process alone.
    pub cache: Option<PathBuf>,
    /// The retriever's text side, which the gate asks.
    pub embedder: Option<Arc<dyn TextEmbedder>>,
}

/// The enhancer.
pub struct Rewriter {
    model: RewriterModel,
    mix: Mix,
    familiar_share: Option<f32>,
    cache: RewriteCache,
    gate: Option<OpenGate>,
}

/// A gate with what it asks.
struct OpenGate {
    gate: Gate,
    embedder: Arc<dyn TextEmbedder>,
}

/// A query's rewrites behind the gate.
struct Gated {
    kept: Vec<Rewrite>,
    /// How much each counts where the query counts 1, if the gate says so.
    weights: Option<Vec<f32>>,
    /// How many were kept out.
    out: usize,
}

impl Rewriter {
    /// Opens a rewriter's directory.
    ///
    /// # Errors
    /// A file is missing or malformed; the cache cannot be opened.
    pub fn open(
        directory: &Path,
        options: RewriterOptions,
        knowledge: impl FnOnce() -> Result<Arc<Knowledge>>,
    ) -> Result<Self> {
        let mut settings = RewriterModelConfig::open(directory)?;
        // Who sets the combination means it for every query.
        settings.familiar_share = settings.familiar_share.filter(|_| options.mix.is_none());
        settings.mix = options.mix.unwrap_or(settings.mix);
        settings.decoding = options.decoding.unwrap_or(settings.decoding);
        settings.check("rewriter")?;
        let model = fingerprint(directory, &settings)?;
        let cache = match &options.cache {
            Some(path) => RewriteCache::open(path, &model)?,
            None => RewriteCache::in_memory(&model),
        };
        let gate = match &settings.gate {
            Some(file) if !options.without_gate => {
                open_gate(&directory.join(file), options.embedder.clone())?
            }
            _ => None,
        };
        let model = RewriterModel::open(directory, &settings, knowledge, options.embedder)?;
        Ok(Self { model, mix: settings.mix, familiar_share: settings.familiar_share, cache, gate })
    }

    pub(super) fn open_table(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let config: RewriterEnhancerConfig = table.parse()?;
        let directory = match &config.directory {
            Some(directory) => table.path(directory),
            None => bundled::model(BUNDLED)?,
        };
        let own = config.cache.as_ref().map(|path| table.path(path));
        let options = RewriterOptions {
            mix: config.mix,
            decoding: config.decoding,
            without_gate: config.without_gate,
            cache: own
                .or_else(|| context.home.as_ref().map(|home| home.join(CACHE_FILE)))
                .filter(|_| !context.forgetful),
            embedder: context.embedder.clone(),
        };
        Self::open(&directory, options, || table.knowledge(config.knowledge.as_ref(), context))
    }

    /// The rewrites of queries, best first, before any gate; remembered ones cost a look-up.
    ///
    /// # Errors
    /// Those of the language model.
    pub fn rewrites(&self, queries: &[Query]) -> Result<Vec<Vec<Rewrite>>> {
        let prompts = self.model.prompts(queries)?;
        let mut found: Vec<Option<Vec<Rewrite>>> =
            prompts.iter().map(|prompt| self.cache.get(prompt)).collect();
        let mut fresh: Vec<&str> = prompts
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(prompt, _)| prompt.as_str())
            .collect();
        fresh.sort_unstable();
        fresh.dedup();
        if !fresh.is_empty() {
            let made: Vec<(&str, Vec<Rewrite>)> =
                fresh.iter().copied().zip(self.model.rewrite(&fresh)?).collect();
            self.cache.put(&made);
            for (prompt, found) in prompts.iter().zip(&mut found) {
                if found.is_none() {
                    let place = made.binary_search_by(|(known, _)| (*known).cmp(prompt.as_str()));
                    *found = place.ok().and_then(|place| made.get(place)).map(|(_, made)| made.clone());
                }
            }
        }
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// How much of what a query is about is unfamiliar to the retriever, 0 to 1; none where prompts have no glosses.
    pub fn unfamiliarity(&self, query: &Query) -> Option<f32> {
        self.model.unfamiliarity(query)
    }

    /// How much a query counts beside its rewrites.
    fn mix_of(&self, query: &Query) -> Mix {
        let unfamiliarity = self.familiar_share.zip(self.unfamiliarity(query));
        unfamiliarity.map_or(self.mix, |(share, unfamiliar)| Mix {
            original_share: share * (1.0 - unfamiliar),
            ..self.mix
        })
    }

    /// Why a query stays as it was typed, though the gate kept only `out` rewrites away.
    fn why_unchanged(&self, query: &Query, out: usize) -> Result<&'static str> {
        if out > 0 {
            return Ok("its rewrite is predicted to hurt");
        }
        for prompt in self.model.prompts(std::slice::from_ref(query))? {
            if !self.model.can_read(&prompt)? {
                return Ok("it is longer than the rewriter reads, or has characters that it does not know");
            }
        }
        Ok("the rewriter wrote nothing")
    }

    /// The rewrites that the gate lets through, for every query. Without `images` it judges by the texts alone.
    fn gated(
        &self,
        queries: &[Query],
        rewrites: Vec<Vec<Rewrite>>,
        images: Option<&dyn Index>,
    ) -> Result<Vec<Gated>> {
        let Some(open) = &self.gate else {
            let all = |kept| Gated { kept, weights: None, out: 0 };
            return Ok(rewrites.into_iter().map(all).collect());
        };
        let texts: Vec<&str> = queries
            .iter()
            .zip(&rewrites)
            .flat_map(|(query, rewrites)| {
                std::iter::once(query.text()).chain(rewrites.iter().map(|rewrite| rewrite.text.as_str()))
            })
            .collect();
        let vectors = open.embedder.embed_texts(&texts)?;
        let mut row = 0;
        let mut gated = Vec::with_capacity(queries.len());
        for (query, rewrites) in queries.iter().zip(rewrites) {
            let (own, total) = (row, rewrites.len());
            let unfamiliarity = self.unfamiliarity(query);
            row += 1;
            let (mut kept, mut measured) = (Vec::with_capacity(total), Vec::with_capacity(total));
            for rewrite in rewrites {
                let (before, after) = (vectors.row(own), vectors.row(row));
                row += 1;
                let text = query.text();
                let features = GateFeatures::measure(text, unfamiliarity, &rewrite, before, after, images)?;
                if open.gate.lets_through(&features) {
                    kept.push(rewrite);
                    measured.push(features);
                }
            }
            gated.push(Gated { out: total - kept.len(), weights: open.gate.weights(&measured), kept });
        }
        Ok(gated)
    }
}

fn open_gate(path: &Path, embedder: Option<Arc<dyn TextEmbedder>>) -> Result<Option<OpenGate>> {
    let gate = Gate::open(path)?;
    let Some(embedder) = embedder else {
        tracing::warn!("without a retriever the rewriter's gate stays open");
        return Ok(None);
    };
    if embedder.fingerprint() != gate.retriever {
        tracing::warn!(
            retriever = embedder.name(),
            "the rewriter's gate was fitted for another retriever and stays open"
        );
        return Ok(None);
    }
    Ok(Some(OpenGate { gate, embedder }))
}

/// A hash of everything that decides what a prompt's rewrites are.
fn fingerprint(directory: &Path, settings: &RewriterModelConfig) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for file in DECISIVE {
        let path = directory.join(file);
        // Sharded weights have an index in place of the one file.
        if path.is_file() {
            hasher.update(file.as_bytes());
            hasher.update(&fs_err::read(&path)?);
        }
    }
    let decoding = serde_json::to_vec(&(settings.decoding, settings.prompt.max_tokens));
    hasher.update(&decoding.map_err(std::io::Error::from)?);
    Ok(hasher.finalize().to_hex().to_string())
}

impl QueryEnhancer for Rewriter {
    fn name(&self) -> &str {
        "rewriter"
    }

    fn enhance_batch(&self, queries: &[Query], images: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let rewrites = self.rewrites(queries)?;
        let gated = self.gated(queries, rewrites, images)?;
        let enhance = |(query, gated): (&Query, Gated)| -> Result<EnhancedQuery> {
            if gated.kept.is_empty() {
                return Ok(EnhancedQuery::unchanged(query, self.why_unchanged(query, gated.out)?));
            }
            let texts: Vec<String> = gated.kept.into_iter().map(|rewrite| rewrite.text).collect();
            let added =
                |text: &String| TraceEntry::TextAdded { text: text.clone(), source: self.name().to_owned() };
            let trace = texts.iter().map(added).collect();
            let Some(weights) = gated.weights else {
                return Ok(self.mix_of(query).with_rewrites(query, equally_weighted(texts), trace));
            };
            let mix = Mix { original_share: 1.0 / (1.0 + weights.iter().sum::<f32>()), ..self.mix };
            let weighted = texts.into_iter().zip(weights);
            let rewrites = weighted.map(|(text, weight)| WeightedText { text, weight }).collect();
            Ok(mix.with_rewrites(query, rewrites, trace))
        };
        queries.iter().zip(gated).map(enhance).collect()
    }
}
