//! What people type.

use crate::error::{Error, Result};

/// The longest query in bytes: a page of text, many times what any retriever reads.
pub const LONGEST_QUERY: usize = 32 << 10;

/// A query that has text in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    text: String,
}

impl Query {
    /// Takes `text` without the blanks around it. What is beyond the retriever's context is cut by its tokenizer.
    ///
    /// # Errors
    /// [`Error::EmptyQuery`] without a visible character, [`Error::QueryTooLong`] above [`LONGEST_QUERY`].
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        if !text.chars().any(|character| !character.is_whitespace() && !character.is_control()) {
            return Err(Error::EmptyQuery);
        }
        if text.len() > LONGEST_QUERY {
            return Err(Error::QueryTooLong { limit: LONGEST_QUERY, found: text.len() });
        }
        Ok(Self { text: text.to_owned() })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_no_query() {
        for text in ["", "  ", "\n\t", "\u{0}", "\u{a0}\u{3000}"] {
            assert!(matches!(Query::new(text), Err(Error::EmptyQuery)), "{text:?}");
        }
        assert_eq!(Query::new(" a dog\n").unwrap().text(), "a dog");
        assert_eq!(Query::new("🐕").unwrap().text(), "🐕");
    }

    #[test]
    fn a_query_of_any_size_is_answered_or_refused() {
        assert!(Query::new(&"a".repeat(LONGEST_QUERY)).is_ok());
        let error = Query::new(&"a".repeat(LONGEST_QUERY + 1)).unwrap_err().to_string();
        assert_eq!(error, "the query is too long: expected at most 32768 bytes, found 32769");
    }
}
