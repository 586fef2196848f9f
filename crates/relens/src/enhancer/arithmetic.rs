//! Queries as sums: `dog + beach*0.5 - people`.
//!
//! Each term is embedded alone; the query's vector is the sum of the terms' vectors with their signs and weights. The
//! signs stand between blanks (or first), so that hyphens inside of words are what they are: `t-shirt - stripes`. A
//! weight follows its term behind `*`.

use super::{Combination, EnhancedQuery, Query, QueryEnhancer, TraceEntry, WeightedText};
use crate::error::{Error, Result};
use crate::index::Index;

/// What `--enhancer` calls it.
pub const NAME: &str = "arithmetic";

/// The largest weight that a person may mean.
const LARGEST_WEIGHT: f32 = 100.0;

/// Reads queries as sums.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arithmetic;

impl QueryEnhancer for Arithmetic {
    fn name(&self) -> &str {
        NAME
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        queries.iter().map(enhance).collect()
    }
}

fn enhance(query: &Query) -> Result<EnhancedQuery> {
    let texts = parse(query.text())?;
    if let [WeightedText { text, .. }] = texts.as_slice()
        && text == query.text()
    {
        return Ok(EnhancedQuery::unchanged(query, "it is a single term"));
    }
    let added = |text: &WeightedText| TraceEntry::TextAdded {
        text: text.text.clone(),
        source: format!("{:+}", text.weight),
    };
    let trace = texts.iter().map(added).collect();
    Ok(EnhancedQuery { texts, combination: Combination::WeightedSum, trace, refinements: Vec::new() })
}

/// The terms of a sum with their weights, negative behind a minus.
///
/// # Errors
/// [`Error::Enhancer`] naming the term: one without text, a weight that is no number, nothing that is added.
pub fn parse(text: &str) -> Result<Vec<WeightedText>> {
    let mut terms: Vec<(f32, Vec<&str>)> = Vec::new();
    for word in text.split_whitespace() {
        match (word, terms.last_mut()) {
            ("+", _) => terms.push((1.0, Vec::new())),
            ("-" | "−" | "–", _) => terms.push((-1.0, Vec::new())),
            (word, Some((_, words))) => words.push(word),
            (word, None) => terms.push((1.0, vec![word])),
        }
    }
    let terms = terms.into_iter().map(|(sign, words)| term(sign, &words.join(" ")));
    let terms: Vec<WeightedText> = terms.collect::<Result<_>>()?;
    if !terms.iter().any(|term| term.weight > 0.0) {
        return Err(refuse(
            "expected a term that is added, found none: say what the pictures should show".to_owned(),
        ));
    }
    Ok(terms)
}

fn term(sign: f32, term: &str) -> Result<WeightedText> {
    let name = if sign < 0.0 { "-" } else { "+" };
    let (text, weight) = match term.rsplit_once('*') {
        None => (term, 1.0),
        Some((text, weight)) => {
            let number = weight.trim().parse::<f32>().ok();
            let usable = number.filter(|number| (0.0..=LARGEST_WEIGHT).contains(number) && *number > 0.0);
            let weight = usable.ok_or_else(|| {
                let expected = format!("expected a weight above 0 and up to {LARGEST_WEIGHT} behind `*`");
                refuse(format!("`{term}`: {expected}, found `{}`", weight.trim()))
            })?;
            (text.trim(), weight)
        }
    };
    if text.is_empty() {
        return Err(refuse(format!("expected a text behind `{name}`, found none")));
    }
    Ok(WeightedText { text: text.to_owned(), weight: sign * weight })
}

fn refuse(reason: String) -> Error {
    Error::Enhancer { enhancer: NAME.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::pipeline::tests::WordCounts;
    use crate::ranking::{CombinedQueries, Pipeline};

    fn terms(text: &str) -> Vec<(String, f32)> {
        parse(text).unwrap().into_iter().map(|term| (term.text, term.weight)).collect()
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string().replace("enhancer `arithmetic`: ", "")
    }

    #[test]
    fn sums_are_read_as_they_are_typed() {
        let expected = |terms: &[(&str, f32)]| -> Vec<(String, f32)> {
            terms.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect()
        };
        let cases: [(&str, &[(&str, f32)]); 7] = [
            ("dog + beach - people", &[("dog", 1.0), ("beach", 1.0), ("people", -1.0)]),
            ("a dog*0.5 + the beach * 2", &[("a dog", 0.5), ("the beach", 2.0)]),
            ("- people + beach", &[("people", -1.0), ("beach", 1.0)]),
            ("a red t-shirt - black-and-white", &[("a red t-shirt", 1.0), ("black-and-white", -1.0)]),
            ("C++ on a screen", &[("C++ on a screen", 1.0)]),
            ("beach − people*.5", &[("beach", 1.0), ("people", -0.5)]),
            ("dog+cat", &[("dog+cat", 1.0)]),
        ];
        for (text, wanted) in cases {
            assert_eq!(terms(text), expected(wanted), "{text}");
        }
    }

    #[test]
    fn malformed_sums_are_refused_by_the_term() {
        assert_eq!(refusal("dog + - cat"), "expected a text behind `+`, found none");
        assert_eq!(refusal("dog -"), "expected a text behind `-`, found none");
        assert!(refusal("- dog").starts_with("expected a term that is added"));
        for weight in ["x", "", "-1", "0", "1e9", "NaN", "inf"] {
            let refused = refusal(&format!("dog*{weight} + cat"));
            assert!(refused.ends_with(&format!("behind `*`, found `{weight}`")), "{refused}");
        }
        assert_eq!(refusal("*2"), "expected a text behind `+`, found none");
    }

    const WORDS: WordCounts = WordCounts { words: &["dog", "cat", "red", "blue"] };

    fn combined(text: &str) -> Result<CombinedQueries> {
        let pipeline = Pipeline::new(Box::new(Arithmetic));
        Ok(pipeline.embed(&[Query::new(text)?], &WORDS, None)?.vectors)
    }

    #[test]
    fn the_vector_is_the_sum_of_the_terms() {
        let found = combined("dog + red*0.5 - blue*0.5").unwrap();
        let length = 1.5f32.sqrt();
        let expected = [1.0, 0.0, 0.5, -0.5].map(|value: f32| value / length);
        let near = found.vectors().row(0).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near, "{found:?}");
        assert_eq!(combined("dog").unwrap().vectors().row(0), [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn terms_that_cancel_are_refused() {
        let error = combined("dog - dog").unwrap_err().to_string();
        assert!(error.contains("cancel"), "{error}");
    }
}
