//! Misspelt words, corrected before anything else looks at the query.
//!
//! A retriever that has learned captions reads "climbign" as pieces that mean nothing, and so does every enhancer behind
//! it. What the knowledge base has a name for is right; [`crate::english::words`] says what is wrong otherwise.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::open::{EnhancerContext, EnhancerTable};
use super::{Query, TraceEntry};
use crate::english::words::WordInText;
use crate::english::words::{Correction, corrected};
use crate::english::{Vocabulary, WordList};
use crate::error::Result;
use crate::knowledge::Knowledge;
use crate::knowledge::words::{ENGLISH, Lexicon};

/// What `--enhancer` calls corrections alone, and a file the section.
pub const NAME: &str = "spelling";

/// What `[spelling]` can be set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpellingConfig {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// Words that are spelled right, one a line, sorted; default: the bundled ones.
    pub words: Option<PathBuf>,
    /// The knowledge base, whose names are right.
    pub knowledge: Option<PathBuf>,
}

/// Corrects towards a vocabulary what neither a knowledge base nor a word list has.
pub struct Spelling {
    vocabulary: Arc<Vocabulary>,
    knowledge: Arc<Knowledge>,
    words: Arc<WordList>,
}

impl Spelling {
    /// Corrects towards `vocabulary` what neither `knowledge` nor `words` has.
    pub fn new(vocabulary: Arc<Vocabulary>, knowledge: Arc<Knowledge>, words: Arc<WordList>) -> Self {
        Self { vocabulary, knowledge, words }
    }

    /// Opens what the section says.
    ///
    /// # Errors
    /// Those of the files that it reads; [`Error::Enhancer`](crate::error::Error::Enhancer) for unknown keys.
    pub fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let config: SpellingConfig = table.parse()?;
        let knowledge = table.knowledge(config.knowledge.as_ref(), context)?;
        let vocabulary = table.vocabulary(config.vocabulary.as_ref(), &knowledge)?;
        Ok(Self::new(Arc::new(vocabulary), knowledge, Arc::new(table.word_list(config.words.as_ref())?)))
    }

    /// The words that captions use.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The words of the language that a text is in, if it is not English.
    ///
    /// # Errors
    /// Those of the languages' files.
    pub fn language(&self, text: &str) -> Result<Option<Arc<Lexicon>>> {
        let is_english = |word: &str| {
            self.vocabulary.count(word) > 0
                || self.words.contains(word)
                || self.knowledge.words().contains(word, ENGLISH)
        };
        self.knowledge.languages().of_query(text, is_english)
    }

    /// The text without misspelt words, and what was corrected.
    pub fn corrected(&self, text: &str) -> (String, Vec<Correction>) {
        let named = self.knowledge.find(text);
        let is_known = |word: &WordInText<'_>| {
            let within =
                |range: &Range<usize>| range.start <= word.range.start && word.range.end <= range.end;
            named.iter().any(|mention| within(&mention.range))
                || self.knowledge.words().contains(&word.text, ENGLISH)
                || !self.knowledge.find(&word.text).is_empty()
        };
        corrected(text, &self.vocabulary, &self.words, is_known)
    }

    /// The query without misspelt words, and a step for each of them. A query in another language stays as it is.
    ///
    /// # Errors
    /// Those of [`Query::new`] and of [`Spelling::language`].
    pub fn correct(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        // Right words of another language are no wrong ones of English.
        if self.language(query.text())?.is_some() {
            return Ok((query.clone(), Vec::new()));
        }
        let (text, corrections) = self.corrected(query.text());
        if corrections.is_empty() {
            return Ok((query.clone(), Vec::new()));
        }
        let step = |Correction { from, to }| TraceEntry::Replaced { from, to };
        Ok((Query::new(&text)?, corrections.into_iter().map(step).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(words: &[&str]) -> Spelling {
        let vocabulary = Vocabulary::of_captions(["a girl climbing a bench"; 30]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), words.join("\n")).unwrap();
        let words = WordList::open(file.path()).unwrap();
        let knowledge = Knowledge::new(Vec::new(), "a test").unwrap();
        Spelling::new(Arc::new(vocabulary), Arc::new(knowledge), Arc::new(words))
    }

    #[test]
    fn mistakes_are_corrected_and_each_is_a_step() {
        let query = Query::new("A gril climbign a bench .").unwrap();
        let (corrected, trace) = spelling(&[]).correct(&query).unwrap();
        assert_eq!(corrected.text(), "A girl climbing a bench .");
        let replaced = |from: &str, to: &str| TraceEntry::Replaced { from: from.into(), to: to.into() };
        assert_eq!(trace, [replaced("gril", "girl"), replaced("climbign", "climbing")]);
    }

    #[test]
    fn words_and_names_stay() {
        let query = Query::new("a wench beside Girb").unwrap();
        let (corrected, trace) = spelling(&["wench"]).correct(&query).unwrap();
        assert_eq!((corrected, trace.len()), (query.clone(), 0));
        assert_eq!(spelling(&[]).correct(&query).unwrap().0.text(), "a bench beside Girb");
    }
}
