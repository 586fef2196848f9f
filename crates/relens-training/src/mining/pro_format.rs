//! Mined queries for preference ranking optimisation: `{"prompt", "candidates": […], "rewards": […]}` a line.

use std::collections::HashSet;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::filters::comparable;
use super::record::MinedQuery;
use crate::Result;

/// One list to be ranked; rewards never rise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProExample {
    /// The query.
    pub prompt: String,
    /// Its rewrites and the query itself, best first.
    pub candidates: Vec<String>,
    /// Their similarities to the picture, as the retriever gives them; stages standardise them.
    pub rewards: Vec<f32>,
}

impl ProExample {
    /// The list of a query, itself among its rewrites; `None` if that is no list of two.
    pub fn of(mined: &MinedQuery) -> Option<Self> {
        let query = (mined.query.as_str(), mined.low_score);
        let rewrites = mined.rewrites.iter().map(|rewrite| (rewrite.text.as_str(), rewrite.score));
        let mut seen = HashSet::new();
        let mut list: Vec<(&str, f32)> =
            rewrites.chain([query]).filter(|(text, _)| seen.insert(comparable(text))).collect();
        list.sort_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        (list.len() > 1).then(|| Self {
            prompt: mined.query.clone(),
            candidates: list.iter().map(|(text, _)| (*text).to_owned()).collect(),
            rewards: list.iter().map(|(_, reward)| *reward).collect(),
        })
    }
}

/// Writes one line.
///
/// # Errors
/// An I/O error.
pub fn write_example(example: &ProExample, writer: &mut impl Write) -> Result<()> {
    serde_json::to_writer(&mut *writer, example).map_err(std::io::Error::from)?;
    Ok(writer.write_all(b"\n")?)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::mined;
    use super::*;

    #[test]
    fn rewards_never_rise_and_no_candidate_is_there_twice() {
        let mut query = mined("a#0");
        query.low_score = 0.32;
        query.rewrites.push(query.rewrites[0].clone());
        let example = ProExample::of(&query).unwrap();
        assert_eq!(example.candidates, ["a wet dog", "a dog", "a brown dog"]);
        assert_eq!(example.rewards, [0.35, 0.32, 0.3]);
        query.rewrites.clear();
        assert_eq!(ProExample::of(&query), None);
    }
}
