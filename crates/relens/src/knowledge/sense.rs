//! Which of its senses does a word have in a query?
//!
//! "A bat hangs from a branch" and "a bat hits the ball": each sense is described in a text, and the sense whose text
//! is most similar to the query in the retriever's own space is taken. Texts of senses are embedded once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::entity::Entity;
use super::lookup::Mention;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::error::Result;
use crate::knowledge::knowledge_base::Knowledge;

/// How many descriptions of a sense go into its text.
const DESCRIPTIONS: usize = 3;

/// Chooses senses by the context. Without an embedder the first sense is taken, the usual one.
#[derive(Default)]
pub struct SenseChooser {
    embedder: Option<Arc<dyn TextEmbedder>>,
    known: Mutex<HashMap<String, Vec<f32>>>,
}

impl SenseChooser {
    /// With an embedder to compare by, or without.
    pub fn new(embedder: Option<Arc<dyn TextEmbedder>>) -> Self {
        Self { embedder, known: Mutex::default() }
    }

    /// The sense of every mention of every query: `result[query][mention]`.
    ///
    /// Queries with a word of several senses are embedded together with the texts of senses that are met for the first
    /// time; if there are none, nothing is embedded.
    ///
    /// # Errors
    /// Those of the embedder.
    pub fn choose(&self, knowledge: &Knowledge, queries: &[(&str, &[Mention])]) -> Result<Vec<Vec<usize>>> {
        let mut senses: Vec<Vec<usize>> =
            queries.iter().map(|(_, mentions)| vec![0; mentions.len()]).collect();
        let Some(embedder) = &self.embedder else { return Ok(senses) };
        let is_ambiguous = |mention: &Mention| knowledge.entity(mention).senses.len() > 1;
        let ambiguous: Vec<usize> =
            (0..queries.len()).filter(|&query| queries[query].1.iter().any(is_ambiguous)).collect();
        if ambiguous.is_empty() {
            return Ok(senses);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mentioned =
            ambiguous.iter().flat_map(|&query| queries[query].1).filter(|mention| is_ambiguous(mention));
        let mut fresh: Vec<String> = mentioned.flat_map(|mention| texts(knowledge.entity(mention))).collect();
        fresh.sort();
        fresh.dedup();
        fresh.retain(|text| !known.contains_key(text));
        let embedded: Vec<&str> =
            ambiguous.iter().map(|&query| queries[query].0).chain(fresh.iter().map(String::as_str)).collect();
        let embeddings = embedder.embed_texts(&embedded)?;
        let rows = embeddings.iter().skip(ambiguous.len());
        known.extend(fresh.iter().cloned().zip(rows.map(<[f32]>::to_vec)));
        for (row, &query) in ambiguous.iter().enumerate() {
            let Some(context) = embeddings.get(row) else { break };
            for (position, mention) in queries[query].1.iter().enumerate() {
                let entity = knowledge.entity(mention);
                if entity.senses.len() > 1 {
                    senses[query][position] = most_similar(context, entity, &known)?;
                }
            }
        }
        Ok(senses)
    }
}

/// What is embedded for each sense.
fn texts(entity: &Entity) -> Vec<String> {
    let text = |sense: &super::Sense| {
        let mut parts = vec![entity.name.clone()];
        parts.extend(sense.label.clone());
        parts
            .extend(sense.descriptions.iter().take(DESCRIPTIONS).map(|description| description.text.clone()));
        parts.join(", ")
    };
    entity.senses.iter().map(text).collect()
}

fn most_similar(context: &[f32], entity: &Entity, known: &HashMap<String, Vec<f32>>) -> Result<usize> {
    let mut rows = Embeddings::new(context.len());
    for text in texts(entity) {
        rows.push(known.get(&text).map_or(&[][..], Vec::as_slice))?;
    }
    let scores = rows.scores(context)?;
    let best = scores.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (sense, &score)| {
        if score > best.1 { (sense, score) } else { best }
    });
    Ok(best.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::{Description, Sense, Source};
    use crate::ranking::pipeline::tests::WordCounts;

    const WORDS: WordCounts = WordCounts { words: &["cave", "ball", "hits", "wings", "club", "wooden"] };

    fn knowledge() -> Knowledge {
        let sense = |label: &str, text: &str| Sense {
            label: Some(label.to_owned()),
            descriptions: vec![Description { text: text.to_owned(), source: Source::Person }],
        };
        let mut bat = Entity::described("bat", ["x"], Source::Person);
        bat.senses = vec![sense("animal", "dark wings in a cave"), sense("sport", "wooden club for a ball")];
        Knowledge::new(vec![bat], "test").unwrap()
    }

    #[test]
    fn the_context_decides() {
        let knowledge = knowledge();
        let chooser = SenseChooser::new(Some(Arc::new(WORDS)));
        let texts = ["a bat hits the ball", "a bat in a cave", "no such thing", "bat hits bat near wings"];
        let mentions: Vec<Vec<Mention>> = texts.iter().map(|text| knowledge.find(text)).collect();
        let queries: Vec<(&str, &[Mention])> =
            texts.iter().copied().zip(mentions.iter().map(Vec::as_slice)).collect();
        assert_eq!(chooser.choose(&knowledge, &queries).unwrap(), [vec![1], vec![0], vec![], vec![0, 0]]);
        assert_eq!(chooser.choose(&knowledge, &queries[..1]).unwrap(), [[1]]);
    }

    #[test]
    fn without_an_embedder_the_first_sense_is_taken() {
        let knowledge = knowledge();
        let mentions = knowledge.find("a bat hits the ball");
        let queries = [("a bat hits the ball", mentions.as_slice())];
        assert_eq!(SenseChooser::default().choose(&knowledge, &queries).unwrap(), [[0]]);
    }
}
