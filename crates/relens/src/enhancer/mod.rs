//! From what people type to what the retriever reads.
//!
//! A [`QueryEnhancer`] turns one [`Query`] into texts with weights, a [`Combination`] and a trace of why.
//! [`identity`] is the baseline that every other enhancer is compared with; each of the others is a method of the
//! literature, in a file of its own. [`spec`] opens them by name or from a small TOML.

pub mod arithmetic;
pub mod baselines;
pub mod combination;
pub mod composer;
pub mod descriptions;
pub mod ensemble;
pub mod entity_finder;
pub mod identity;
pub mod mix;
mod query;
mod rank_fusion;
pub mod referenced;
pub mod refinement;
pub mod reweighted;
pub mod rewriter;
pub mod soft;
pub mod spec;
pub mod spelling;

use serde::Serialize;

pub use combination::{Combination, CombinedQueries};
pub use identity::Identity;
pub use query::{LONGEST_QUERY, Query};
pub use refinement::{RefineEmbeddings, Refinement};

use crate::error::{Error, Result};
use crate::ranking::hubness::HubnessCalibration;

/// Turns queries into texts for the retriever.
///
/// For image→text search the candidates' captions are enhanced, each as a query.
pub trait QueryEnhancer: Send + Sync {
    /// What `--enhancer` calls it.
    fn name(&self) -> &str;

    /// Enhances one query.
    ///
    /// # Errors
    /// [`Error::Enhancer`] with the reason.
    fn enhance(&self, query: &Query) -> Result<EnhancedQuery>;

    /// Enhances many queries, in order; an enhancer with a model of its own overrides this to batch.
    ///
    /// # Errors
    /// As for [`enhance`](Self::enhance): one failure fails all.
    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        queries.iter().map(|query| self.enhance(query)).collect()
    }

    /// What is taken from the scores of its queries; default: nothing.
    fn calibration(&self) -> Option<&HubnessCalibration> {
        None
    }
}

/// A text for the retriever and how much it counts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightedText {
    /// The text.
    pub text: String,
    /// Its weight, relative to the query's other texts: finite, and below 0 only in a [`Combination::WeightedSum`].
    pub weight: f32,
}

/// What an enhancer made of a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnhancedQuery {
    /// The texts to embed; the original is among them if it is to count.
    pub texts: Vec<WeightedText>,
    /// How the texts make one score.
    pub combination: Combination,
    /// Why, in the order in which it happened.
    pub trace: Vec<TraceEntry>,
    /// What happens to the texts' embeddings before they are combined.
    #[serde(skip)]
    pub refinements: Vec<Refinement>,
}

/// One step of an enhancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TraceEntry {
    /// A visual entity was found in the query.
    EntityFound {
        /// The words as they stand in the query.
        surface: String,
        /// The entity's name in the knowledge base.
        entity: String,
        /// Which of its senses was meant, where there are several.
        #[serde(skip_serializing_if = "Option::is_none")]
        sense: Option<String>,
        /// The descriptions that were used.
        descriptions: Vec<String>,
    },
    /// A text was added beside the query.
    TextAdded {
        /// The text.
        text: String,
        /// Where it comes from.
        source: String,
    },
    /// Words were replaced.
    Replaced {
        /// What stood there.
        from: String,
        /// What stands there now.
        to: String,
    },
    /// Words that the retriever has hardly seen were replaced by words that it knows.
    Reworded {
        /// What stood there.
        from: String,
        /// What stands there now.
        to: String,
        /// How often captions use the rarest of the words.
        seen: u64,
    },
    /// The query was left as it is.
    Kept {
        /// Why.
        reason: String,
    },
}

impl EnhancedQuery {
    /// The query as it was typed, alone.
    pub fn unchanged(query: &Query, reason: &str) -> Self {
        Self {
            texts: vec![WeightedText { text: query.text().to_owned(), weight: 1.0 }],
            combination: Combination::Replace,
            trace: vec![TraceEntry::Kept { reason: reason.to_owned() }],
            refinements: Vec::new(),
        }
    }

    /// `rewrites`, each with weight 1, combined with the original, which counts `original_weight`; where they replace
    /// it, they stand alone.
    pub fn with_original(
        query: &Query,
        original_weight: f32,
        rewrites: Vec<String>,
        combination: Combination,
        trace: Vec<TraceEntry>,
    ) -> Self {
        let original = WeightedText { text: query.text().to_owned(), weight: original_weight };
        let original = (combination != Combination::Replace || rewrites.is_empty()).then_some(original);
        let rewrites = rewrites.into_iter().map(|text| WeightedText { text, weight: 1.0 });
        Self {
            texts: original.into_iter().chain(rewrites).collect(),
            combination,
            trace,
            refinements: Vec::new(),
        }
    }

    /// Refuses texts that make no score.
    ///
    /// # Errors
    /// [`Error::Enhancer`] in the name of `enhancer` if there is no text, an empty one, or weights that are negative,
    /// not finite or all 0.
    pub fn ensure_usable(&self, enhancer: &str) -> Result<()> {
        let refuse = |reason: String| Err(Error::Enhancer { enhancer: enhancer.to_owned(), reason });
        if let Some(empty) = self.texts.iter().position(|text| text.text.trim().is_empty()) {
            return refuse(format!("text {empty}: expected a text, found an empty one"));
        }
        let signed = self.combination == Combination::WeightedSum;
        let usable = |weight: f32| weight.is_finite() && (signed || weight >= 0.0);
        if let Some(wrong) = self.texts.iter().find(|text| !usable(text.weight)) {
            let (text, weight) = (&wrong.text, wrong.weight);
            return refuse(format!("`{text}`: expected a finite weight of at least 0, found {weight}"));
        }
        let total: f32 = self.texts.iter().map(|text| text.weight.max(0.0)).sum();
        if !(total.is_finite() && total > 0.0) {
            return refuse(format!("expected weights with a sum above 0 and below infinity, found {total}"));
        }
        Ok(())
    }
}

/// What a trace says of the entities that were found.
fn entity_trace(found: &[entity_finder::FoundEntity<'_>]) -> Vec<TraceEntry> {
    if found.is_empty() {
        return vec![TraceEntry::Kept { reason: "it names no entity of the knowledge base".to_owned() }];
    }
    found.iter().map(entity_finder::FoundEntity::trace).collect()
}

/// The one answer of a batch of one query.
fn single(mut enhanced: Vec<EnhancedQuery>, enhancer: &str) -> Result<EnhancedQuery> {
    enhanced.pop().ok_or_else(|| Error::Enhancer {
        enhancer: enhancer.to_owned(),
        reason: "expected an answer for one query, found none".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_sends_the_query_as_typed() {
        let query = Query::new("a dog").unwrap();
        let enhanced = Identity.enhance(&query).unwrap();
        assert_eq!(enhanced.texts, [WeightedText { text: "a dog".to_owned(), weight: 1.0 }]);
        assert_eq!(enhanced.combination, Combination::Replace);
        let json = serde_json::to_value(&enhanced).unwrap();
        let trace = serde_json::json!([{"step": "kept", "reason": "identity"}]);
        assert_eq!((&json["combination"], &json["trace"]), (&"replace".into(), &trace));
    }

    #[test]
    fn the_original_stands_beside_its_rewrites_unless_they_replace_it() {
        let query = Query::new("a dog").unwrap();
        let texts = |rewrites: &[&str], combination| {
            let rewrites = rewrites.iter().map(|&text| text.to_owned()).collect();
            let enhanced = EnhancedQuery::with_original(&query, 2.0, rewrites, combination, Vec::new());
            enhanced.ensure_usable("test").unwrap();
            enhanced.texts.into_iter().map(|text| (text.text, text.weight)).collect::<Vec<_>>()
        };
        let (original, rewrite) = (("a dog".to_owned(), 2.0), ("a brown dog".to_owned(), 1.0));
        assert_eq!(texts(&[], Combination::Replace), vec![original.clone()]);
        assert_eq!(texts(&["a brown dog"], Combination::Replace), vec![rewrite.clone()]);
        assert_eq!(texts(&["a brown dog"], Combination::MeanScore), vec![original, rewrite]);
    }

    #[test]
    fn an_empty_text_is_refused_in_the_enhancers_name() {
        let mut enhanced = EnhancedQuery::unchanged(&Query::new("a dog").unwrap(), "identity");
        enhanced.texts[0].text = " ".to_owned();
        let error = enhanced.ensure_usable("rewriter").unwrap_err().to_string();
        assert_eq!(error, "enhancer `rewriter`: text 0: expected a text, found an empty one");
        enhanced.texts.clear();
        assert!(enhanced.ensure_usable("rewriter").is_err());
    }
}
