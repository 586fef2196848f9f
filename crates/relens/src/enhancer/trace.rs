//! Why a query became what it is.

use serde::Serialize;

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
    /// The query is in another language and was read word by word.
    ReadWordByWord {
        /// The language's English name.
        language: String,
        /// What it reads.
        text: String,
    },
    /// The query is in another language of which no words are known.
    NotRead {
        /// The language's English name.
        language: String,
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
    /// A part that the query does not want was taken away.
    Excluded {
        /// The part.
        text: String,
    },
    /// The query was left as it is.
    Kept {
        /// Why.
        reason: String,
    },
}
