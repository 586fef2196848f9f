//! What is asked, and what an answer has to be.

use serde_json::{Value, json};

use super::parsing;
use crate::error::Result;

/// The two kinds of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// Which entities do these captions name?
    Entities,
    /// What do these entities look like?
    Descriptions,
}

impl QuestionKind {
    /// What it asks for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities",
            Self::Descriptions => "descriptions",
        }
    }

    /// Refuses a reply that cannot be used.
    ///
    /// # Errors
    /// [`Error::Enhancer`](crate::error::Error::Enhancer) naming the question and what was expected.
    pub fn check(self, prompt: &str, reply: &str) -> Result<()> {
        match self {
            Self::Entities => parsing::entities(prompt, reply).map(drop),
            Self::Descriptions => parsing::descriptions(prompt, reply).map(drop),
        }
    }

    /// The JSON Schema of a reply.
    pub fn schema(self) -> Value {
        let texts = json!({"type": "array", "items": {"type": "string"}});
        match self {
            Self::Entities => object(&json!({"entities": texts}), &["entities"]),
            Self::Descriptions => {
                let answer = json!({
                    "entity": {"type": "string"},
                    "visual": {"type": "boolean"},
                    "descriptions": texts,
                    "sense": {"type": ["string", "null"]},
                });
                let answer = object(&answer, &["entity", "visual", "descriptions", "sense"]);
                object(&json!({"answers": {"type": "array", "items": answer}}), &["answers"])
            }
        }
    }
}

/// Endpoints that hold models to a schema want every property required and no others.
fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
