//! What an enhancer made of a query.

use serde::{Deserialize, Serialize};

use super::{Combination, Query, Refinement, TraceEntry};
use crate::error::{Error, Result};

/// A text for the retriever and how much it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightedText {
    /// The text.
    pub text: String,
    /// Its weight, relative to the query's other texts: finite, and below 0 only in a [`Combination::WeightedSum`].
    pub weight: f32,
}

/// What an enhancer made of a query; by default no text.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
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

    /// The English name of the language that the query was found to be in, if that is not English.
    pub fn language(&self) -> Option<&str> {
        self.trace.iter().find_map(|step| match step {
            TraceEntry::ReadWordByWord { language, .. } | TraceEntry::NotRead { language } => {
                Some(language.as_str())
            }
            _ => None,
        })
    }

    /// Gives the text `original` this `share` of all weight, and the other texts the rest in their own proportion.
    ///
    /// A query that stands alone, or is replaced, has no share to change and stays.
    pub fn set_original_share(&mut self, original: &str, share: f32) {
        let others: f32 =
            self.texts.iter().filter(|text| text.text != original).map(|text| text.weight).sum();
        let originals = self.texts.iter().filter(|text| text.text == original).count();
        if others <= 0.0 || originals == 0 {
            return;
        }
        for text in &mut self.texts {
            text.weight = if text.text == original {
                share / originals as f32
            } else {
                text.weight / others * (1.0 - share)
            };
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

#[cfg(test)]
mod tests {
    use super::super::{Identity, enhance_text};
    use super::*;

    #[test]
    fn identity_sends_the_query_as_typed() {
        let enhanced = enhance_text(&Identity, "a dog");
        assert_eq!(enhanced.texts, [WeightedText { text: "a dog".to_owned(), weight: 1.0 }]);
        assert_eq!(enhanced.combination, Combination::Replace);
        let json = serde_json::to_value(&enhanced).unwrap();
        let trace = serde_json::json!([{"step": "kept", "reason": "identity"}]);
        assert_eq!((&json["combination"], &json["trace"]), (&"replace".into(), &trace));
    }

    #[test]
    fn the_original_has_the_share_and_the_rest_their_proportion() {
        let weights = |share: f32, texts: &[(&str, f32)]| {
            let mut enhanced = enhance_text(&Identity, "a");
            let weighted = |&(text, weight): &(&str, f32)| WeightedText { text: text.to_owned(), weight };
            enhanced.texts = texts.iter().map(weighted).collect();
            enhanced.set_original_share("a", share);
            enhanced.texts.iter().map(|text| text.weight).collect::<Vec<_>>()
        };
        let doubled = [("a", 2.0), ("x", 1.0), ("y", 1.0)];
        assert_eq!(weights(0.5, &doubled), [0.5, 0.25, 0.25]);
        assert_eq!(weights(0.0, &doubled), [0.0, 0.5, 0.5]);
        assert_eq!(weights(0.3, &[("a", 1.0)]), [1.0]);
        assert_eq!(weights(0.3, &[("x", 1.0)]), [1.0], "a query that is replaced has no share");
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
