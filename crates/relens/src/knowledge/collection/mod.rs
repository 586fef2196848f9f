//! Collects entities from captions and descriptions of them, by asking a language model.
//!
//! EvdCLIP, section 3.2: an LLM extracts the visual entities of every training caption (the prompt says what is visual
//! and has two question–answer examples), names are normalised and counted, rare ones dropped, and the LLM describes the
//! rest once. Nothing of this happens when somebody searches.
//!
//! Every reply goes to a log before it is used: a run that is stopped goes on with what is missing, and a finished log is
//! all that is needed to build the same knowledge base again without a model.

mod asking;
mod parsing;
mod question;
mod replies;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use asking::Asking;
pub use question::QuestionKind;
pub use replies::ChatAnswers;
pub use replies::{Answer, AnswerPrompts, AskingUsage, Recorded, Replies};

use super::entity::{Entity, normalise_name};
use super::lookup::Lookup;
use crate::english::lemma::singulars;
use crate::error::Result;

/// Captions of one question.
const CAPTIONS_PER_PROMPT: usize = 10;
/// Candidates of one question.
const CANDIDATES_PER_PROMPT: usize = 10;

const ENTITY_PROMPT: &str = include_str!("prompts/entities.txt");
const DESCRIPTION_PROMPT: &str = include_str!("prompts/descriptions.txt");

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionConfig {
    /// Entities that fewer captions name are not described.
    pub floor: u64,
    /// Questions that are asked at the same time; at least 1.
    pub concurrency: usize,
}

/// Asks for the entities of all captions, then for the descriptions of those that are frequent enough.
///
/// # Errors
/// [`Error::Enhancer`](crate::error::Error::Enhancer) naming the prompt whose reply cannot be read; those of whoever
/// answers; [`Error::Cancelled`](crate::error::Error::Cancelled).
pub fn collect(
    captions: &[&str],
    settings: CollectionConfig,
    asking: &mut Asking<'_>,
) -> Result<Vec<Entity>> {
    let mut different: Vec<&str> = captions.to_vec();
    different.sort_unstable();
    different.dedup();
    let questions: Vec<String> = different.chunks(CAPTIONS_PER_PROMPT).map(entity_prompt).collect();
    let replies = asking.ask(QuestionKind::Entities, &questions, settings.concurrency)?;
    let mut names = BTreeSet::new();
    for (question, reply) in questions.iter().zip(&replies) {
        names.extend(parsing::entities(question, reply)?);
    }
    let counts = merged_plurals(&mentions(captions, &names));
    let candidates: Vec<&str> =
        counts.iter().filter(|(_, count)| **count >= settings.floor).map(|(name, _)| name.as_str()).collect();
    let questions: Vec<String> = candidates.chunks(CANDIDATES_PER_PROMPT).map(description_prompt).collect();
    let replies = asking.ask(QuestionKind::Descriptions, &questions, settings.concurrency)?;
    let mut records = Vec::new();
    for (question, reply) in questions.iter().zip(&replies) {
        records.extend(parsing::descriptions(question, reply)?);
    }
    Ok(super::records::assembled(records))
}

fn entity_prompt(captions: &[&str]) -> String {
    let numbered = captions.iter().zip(1..).map(|(caption, number)| format!("{number}. {caption}"));
    ENTITY_PROMPT.replace("{captions}", &numbered.collect::<Vec<_>>().join(" "))
}

fn description_prompt(candidates: &[&str]) -> String {
    DESCRIPTION_PROMPT.replace("{candidates}", &serde_json::Value::from(candidates).to_string())
}

/// A name as it is counted: lower case, without an article.
fn normalised(name: &str) -> String {
    let name = normalise_name(name);
    let bare = ["a ", "an ", "the "].iter().find_map(|article| name.strip_prefix(article));
    bare.map_or(name.clone(), str::to_owned)
}

/// How often captions mention each name.
fn mentions(captions: &[&str], names: &BTreeSet<String>) -> BTreeMap<String, u64> {
    let mut lookup = Lookup::new();
    for (position, name) in names.iter().enumerate() {
        lookup.insert(name, position);
    }
    let mut counts = vec![0; names.len()];
    for mention in captions.iter().flat_map(|caption| lookup.find(caption)) {
        if let Some(count) = counts.get_mut(mention.entity) {
            *count += 1;
        }
    }
    names.iter().cloned().zip(counts).collect()
}

/// Counts a plural with its singular where that is met, too.
fn merged_plurals(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut merged: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in counts {
        let (before, last) =
            name.rsplit_once(' ').map_or(("", name.as_str()), |(before, last)| (before, last));
        let singular = singulars(last).into_iter().map(|word| format!("{before} {word}").trim().to_owned());
        let known = singular.into_iter().find(|singular| counts.contains_key(singular));
        *merged.entry(known.unwrap_or_else(|| name.clone())).or_default() += count;
    }
    merged
}
