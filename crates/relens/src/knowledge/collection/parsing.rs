//! Replies as they should be: one JSON object. Fences around it and text before it, which models like to add, are
//! passed over.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::records::EntityAnswer;
use super::normalised;
use crate::error::{Error, Result};

/// How much of a question an error shows.
const EXCERPT: usize = 80;

#[derive(Deserialize)]
struct Entities {
    entities: Vec<String>,
}

#[derive(Deserialize)]
struct DescriptionAnswers {
    answers: Vec<EntityAnswer>,
}

/// The names in a reply to an entity prompt, normalised; each once.
pub(super) fn entities(question: &str, reply: &str) -> Result<Vec<String>> {
    let Entities { entities } = object(question, reply, r#"{"entities": ["name", …]}"#)?;
    let mut names: Vec<String> = entities.iter().map(|name| normalised(name)).collect();
    names.retain(|name| name.chars().any(char::is_alphanumeric));
    names.sort();
    names.dedup();
    Ok(names)
}

/// The records in a reply to a description prompt.
pub(super) fn descriptions(question: &str, reply: &str) -> Result<Vec<EntityAnswer>> {
    let expected = r#"{"answers": [{"entity", "visual", "descriptions"}, …]}"#;
    Ok(object::<DescriptionAnswers>(question, reply, expected)?.answers)
}

fn object<T: DeserializeOwned>(question: &str, reply: &str, expected: &str) -> Result<T> {
    let inside = reply.find('{').zip(reply.rfind('}')).and_then(|(first, last)| reply.get(first..=last));
    let parsed = serde_json::from_str(inside.unwrap_or(reply));
    parsed.map_err(|error| {
        let asked = question.rsplit("Question: ").next().unwrap_or_default().trim();
        Error::Enhancer {
            enhancer: "knowledge base".to_owned(),
            reason: format!(
                "the reply to `{}`: expected {expected}, found {error}",
                asked.chars().take(EXCERPT).collect::<String>()
            ),
        }
    })
}
