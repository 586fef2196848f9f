//! What a rewriter learns from, mixed anew in every epoch: recorded answers of a strong writer, captions made hard, and
//! captions as they are.
//!
//! A mixture draws pairs of a query and the text that it should become. Nothing of it is written down: a seed and the
//! number of an epoch give the same pairs again. Texts stand in lower case without punctuation, which costs a retriever
//! nothing and spares the rewriter a choice.

mod config;
mod sources;

use std::collections::{HashMap, HashSet};

use rand::{Rng, RngExt};
use relens::dataset::rewrites::{CAPTION, CONCEPT, RewrittenQuery, for_each_record};
use relens::enhancer::rewriter::glosses::plain;
use relens::progress::Progress;

pub use config::{DevelopmentConfig, MixtureConfig, MixtureSource};

use self::sources::{OpenSource, caption_of};
use super::corpus::RewritingCorpus;
use crate::{Result, TrainingError};

/// How often a source is asked again that had nothing to say.
const TRIES: usize = 20;

/// A query and the text that it should become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixturePair {
    /// The query.
    pub query: String,
    /// The text.
    pub target: String,
}

/// Captions and what they are learned as.
struct LearnedCaptions {
    /// The picture's number and the caption, of all pictures that are learned from.
    all: Vec<(u64, String)>,
    /// What a strong writer made of a caption.
    better: HashMap<(u64, String), String>,
}

impl LearnedCaptions {
    /// What is learned for a caption: a strong writer's version, or else the caption.
    fn target(&self, picture: u64, caption: &str) -> String {
        let own = plain(caption);
        self.better.get(&(picture, own.clone())).cloned().unwrap_or(own)
    }
}

/// An opened mixture.
pub struct Mixture {
    sources: Vec<(f64, OpenSource)>,
    captions: LearnedCaptions,
    development: Vec<MixturePair>,
}

impl Mixture {
    /// Opens all sources. Records of pictures that are not learned from are passed over, and `progress` hears how many.
    ///
    /// # Errors
    /// A broken line, with its file and number; a source without a single query.
    pub fn open(
        config: &MixtureConfig,
        corpus: &RewritingCorpus,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let kept_out = match &config.development {
            Some(development) => last_queries(development)?,
            None => Vec::new(),
        };
        let kept_pictures: HashSet<u64> = kept_out.iter().filter_map(|query| query.imgid).collect();
        let learned: HashSet<u64> = corpus
            .training
            .iter()
            .map(|picture| picture.id)
            .filter(|id| !kept_pictures.contains(id))
            .collect();
        let mut captions = LearnedCaptions { all: Vec::new(), better: HashMap::new() };
        for picture in corpus.training.iter().filter(|picture| learned.contains(&picture.id)) {
            captions.all.extend(picture.captions.iter().map(|caption| (picture.id, caption.clone())));
        }
        for path in &config.better_captions {
            for query in records(path)? {
                let concept = query.rewrites.iter().find(|rewrite| rewrite.kind == CONCEPT);
                if let (Some(picture), Some(concept)) = (query.imgid, concept) {
                    let caption = plain(caption_of(&query).unwrap_or(&query.query));
                    captions.better.entry((picture, caption)).or_insert_with(|| plain(&concept.text));
                }
            }
        }
        let mut sources = Vec::with_capacity(config.sources.len());
        for source in &config.sources {
            let opened = OpenSource::open(source, &learned, corpus, progress)?;
            sources.push((source.share(), opened));
        }
        let development = kept_out
            .iter()
            .filter(|query| query.wording != CAPTION)
            .map(|query| MixturePair { query: query.query.clone(), target: captions.target_of(query) })
            .collect();
        Ok(Self { sources, captions, development })
    }

    /// The next pair.
    ///
    /// # Errors
    /// No source had anything to say in many tries.
    pub fn draw(&self, rng: &mut impl Rng) -> Result<MixturePair> {
        let total: f64 = self.sources.iter().map(|(share, _)| share).sum();
        for _ in 0..TRIES {
            let mut place = rng.random::<f64>() * total;
            let chosen = self.sources.iter().find(|(share, _)| {
                place -= share;
                place < 0.0
            });
            let Some((_, source)) = chosen.or(self.sources.last()) else { break };
            let pair = source.draw(&self.captions, rng);
            if let Some(pair) = pair.filter(|pair| !pair.query.is_empty() && !pair.target.is_empty()) {
                return Ok(pair);
            }
        }
        Err(TrainingError::setting("mixture.sources", "sources that give queries", &"none in 20 tries"))
    }

    /// What is kept from learning, to choose a checkpoint by.
    pub fn development(&self) -> &[MixturePair] {
        &self.development
    }

    /// All texts of strong writers, which a rewriter should be able to write.
    ///
    /// # Errors
    /// A broken line, with its file and number.
    pub fn better_texts(config: &MixtureConfig) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for path in &config.better_captions {
            for query in records(path)? {
                texts.extend(query.rewrites.into_iter().map(|rewrite| plain(&rewrite.text)));
            }
        }
        Ok(texts)
    }
}

impl LearnedCaptions {
    /// What is learned for a recorded query: its own concept, or what is learned for the caption that it asks for.
    fn target_of(&self, query: &RewrittenQuery) -> String {
        let concept = query.rewrites.iter().find(|rewrite| rewrite.kind == CONCEPT);
        match (concept, query.imgid) {
            (Some(concept), _) => plain(&concept.text),
            (None, Some(picture)) => self.target(picture, caption_of(query).unwrap_or(&query.query)),
            (None, None) => plain(caption_of(query).unwrap_or(&query.query)),
        }
    }
}

/// All queries of a file.
fn records(path: &std::path::Path) -> Result<Vec<RewrittenQuery>> {
    let mut queries = Vec::new();
    for_each_record(path, |place, query| {
        place.refuse_blank_texts(&query)?;
        query.imgid.ok_or_else(|| place.error("`imgid`, the image's number", "none"))?;
        queries.push(query);
        Ok(())
    })?;
    Ok(queries)
}

/// All wordings of the last captions of a file.
fn last_queries(config: &DevelopmentConfig) -> Result<Vec<RewrittenQuery>> {
    let queries = records(&config.records)?;
    let mut captions: Vec<(Option<u64>, Option<u64>)> =
        queries.iter().map(|query| (query.imgid, query.sentid)).collect();
    captions.dedup();
    let first = captions.len().saturating_sub(config.last);
    let last: HashSet<_> = captions.split_off(first).into_iter().collect();
    Ok(queries.into_iter().filter(|query| last.contains(&(query.imgid, query.sentid))).collect())
}

#[cfg(test)]
mod tests;
