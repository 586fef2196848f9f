//! What people type.

use crate::error::{Error, Result};

/// The longest query in bytes: a page of text, many times what any retriever reads.
pub const LONGEST_QUERY: usize = 32 << 10;

/// A query that has text in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    text: String,
    /// In lower case.
    kept: Vec<String>,
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
        Ok(Self { text: text.to_owned(), kept: Vec::new() })
    }

    /// The same query, with words or phrases in it that no enhancer may touch.
    #[must_use]
    pub fn keeping<S: AsRef<str>>(self, words: impl IntoIterator<Item = S>) -> Self {
        let kept = words.into_iter().map(|words| words.as_ref().trim().to_lowercase());
        Self { kept: kept.filter(|words| !words.is_empty()).collect(), ..self }
    }

    /// Another text in place of this one's, with the same words to be kept.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn with_text(&self, text: &str) -> Result<Self> {
        Ok(Self { kept: self.kept.clone(), ..Self::new(text)? })
    }

    /// Whether these words of the query are to stay as they are: they were named, or are part of what was, or have it in
    /// them.
    pub fn keeps(&self, words: &str) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let words = words.to_lowercase();
        let holds = |phrase: &str, part: &str| format!(" {phrase} ").contains(&format!(" {part} "));
        self.kept.iter().any(|kept| holds(kept, &words) || holds(&words, kept))
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
    fn words_to_be_kept_are_known_whole_and_in_phrases() {
        let query = Query::new("a Pooch on a hot dog stand").unwrap().keeping(["Pooch", "hot dog", " "]);
        assert!(query.keeps("pooch") && query.keeps("dog") && query.keeps("a pooch"));
        assert!(!query.keeps("stand") && !query.keeps("pooches"));
        assert!(query.with_text("a pooch").unwrap().keeps("Pooch"));
        assert!(!Query::new("a pooch").unwrap().keeps("pooch"));
    }

    #[test]
    fn a_query_of_any_size_is_answered_or_refused() {
        assert!(Query::new(&"a".repeat(LONGEST_QUERY)).is_ok());
        let error = Query::new(&"a".repeat(LONGEST_QUERY + 1)).unwrap_err().to_string();
        assert_eq!(error, "the query is too long: expected at most 32768 bytes, found 32769");
    }
}
