//! How much the query itself counts beside what an enhancer made of it.

use serde::{Deserialize, Serialize};

use super::{Combination, EnhancedQuery, Query, TraceEntry, WeightedText};
use crate::error::{Error, Result};

/// The share of the original query, and how the texts make one score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mix {
    /// How the texts are combined; default `mean_score`, as EvdCLIP does at inference.
    pub combine: Combination,
    /// The original's share of all weight, 0 to 1; default 0.5, EvdCLIP's mean of both. Nothing with `replace`.
    pub original_share: f32,
}

impl Default for Mix {
    fn default() -> Self {
        Self { combine: Combination::MeanScore, original_share: 0.5 }
    }
}

impl Mix {
    /// Refuses a share that is none.
    ///
    /// # Errors
    /// [`Error::Enhancer`] in the name of `enhancer`.
    pub fn ensure_valid(&self, enhancer: &str) -> Result<()> {
        if (0.0..=1.0).contains(&self.original_share) {
            return Ok(());
        }
        Err(Error::Enhancer {
            enhancer: enhancer.to_owned(),
            reason: format!("expected an original_share of 0 to 1, found {}", self.original_share),
        })
    }

    /// The query beside `rewrites`, which share the rest of the weight by their own weights.
    ///
    /// Without rewrites the query stands alone.
    pub fn with_rewrites(
        &self,
        query: &Query,
        rewrites: Vec<WeightedText>,
        trace: Vec<TraceEntry>,
    ) -> EnhancedQuery {
        let total: f32 = rewrites.iter().map(|rewrite| rewrite.weight).sum();
        if rewrites.is_empty() || total <= 0.0 {
            let unchanged = EnhancedQuery::unchanged(query, "there is nothing to add");
            return if trace.is_empty() { unchanged } else { EnhancedQuery { trace, ..unchanged } };
        }
        let share = if self.combine == Combination::Replace { 0.0 } else { self.original_share };
        let original = WeightedText { text: query.text().to_owned(), weight: share };
        let rewrites = rewrites
            .into_iter()
            .map(|rewrite| WeightedText { weight: rewrite.weight / total * (1.0 - share), ..rewrite });
        let texts = (share > 0.0).then_some(original).into_iter().chain(rewrites).collect();
        EnhancedQuery { texts, combination: self.combine, trace, refinements: Vec::new() }
    }
}

/// Texts with the same weight each.
pub(super) fn equally_weighted(texts: Vec<String>) -> Vec<WeightedText> {
    texts.into_iter().map(|text| WeightedText { text, weight: 1.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_has_its_share_whatever_the_number_of_rewrites() {
        let query = Query::new("a dog").unwrap();
        let rewrites = equally_weighted(vec!["x".into(), "y".into(), "z".into(), "w".into()]);
        let mix = Mix { original_share: 0.6, ..Mix::default() };
        let weights: Vec<f32> = mix
            .with_rewrites(&query, rewrites.clone(), Vec::new())
            .texts
            .iter()
            .map(|text| text.weight)
            .collect();
        let expected = [0.6, 0.1, 0.1, 0.1, 0.1];
        assert_eq!(weights.len(), expected.len());
        assert!(
            weights.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6),
            "{weights:?}"
        );
        let replace = Mix { combine: Combination::Replace, ..mix };
        assert_eq!(replace.with_rewrites(&query, rewrites, Vec::new()).texts.len(), 4);
        let alone = replace.with_rewrites(&query, Vec::new(), Vec::new());
        assert_eq!((alone.texts.len(), alone.texts[0].text.as_str()), (1, "a dog"));
    }

    #[test]
    fn a_share_beyond_everything_is_refused() {
        for original_share in [-0.1, 1.1, f32::NAN] {
            assert!(Mix { original_share, ..Mix::default() }.ensure_valid("test").is_err());
        }
    }
}
