//! Misspelt words and stray marks, corrected before anything else looks at the query.
//!
//! A retriever that has learned captions reads "climbign" as pieces that mean nothing, and so does every enhancer behind
//! it. What the knowledge base has a name for is right; [`crate::english::spelling`] says what is wrong otherwise.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::open::{EnhancerContext, EnhancerTable};
use super::{Query, TraceEntry};
use crate::english::contractions::with_apostrophes;
use crate::english::spelling::{Correction, Lexicon, corrected};
use crate::english::stray_marks::without_stray_marks;
use crate::english::words::WordInText;
use crate::english::{Languages, Vocabulary, WordList, WordPairs};
use crate::error::Result;
use crate::knowledge::Knowledge;
use crate::knowledge::words::ENGLISH;

/// What `--enhancer` calls corrections alone, and a file the section.
pub const NAME: &str = "spelling";

/// What `[spelling]` can be set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SpellingConfig {
    /// The words that captions use, `word<TAB>count` a line; default: the bundled ones.
    pub vocabulary: Option<PathBuf>,
    /// How often captions have one word behind another, sorted; default: the bundled counts, none with a `vocabulary`.
    pub pairs: Option<PathBuf>,
    /// Words that are spelled right, one a line, sorted; default: the bundled ones.
    pub words: Option<PathBuf>,
    /// Words of other languages, sorted, each with its languages; default: the bundled ones.
    pub languages: Option<PathBuf>,
    /// The knowledge base, whose names are right.
    pub knowledge: Option<PathBuf>,
}

/// Corrects towards a vocabulary what neither a knowledge base nor a word list has.
pub struct Spelling {
    vocabulary: Arc<Vocabulary>,
    knowledge: Arc<Knowledge>,
    words: Arc<WordList>,
    pairs: WordPairs,
    languages: Arc<Languages>,
}

impl Spelling {
    /// Corrects towards `vocabulary` what neither `knowledge` nor `words` has.
    pub fn new(vocabulary: Arc<Vocabulary>, knowledge: Arc<Knowledge>, words: Arc<WordList>) -> Self {
        Self { vocabulary, knowledge, words, pairs: WordPairs::default(), languages: Arc::default() }
    }

    /// The same, with what captions put beside words: it tells which word was meant.
    #[must_use]
    pub fn with_pairs(self, pairs: WordPairs) -> Self {
        Self { pairs, ..self }
    }

    /// The same, leaving queries in other languages as they are.
    pub fn with_languages(self, languages: Arc<Languages>) -> Self {
        Self { languages, ..self }
    }

    /// The English name of the language that `text` is in, if it is not English.
    pub fn language(&self, text: &str) -> Option<&'static str> {
        self.languages.of(text, &self.vocabulary)
    }

    /// Opens what the section says.
    ///
    /// # Errors
    /// Those of the files that it reads; [`Error::Enhancer`](crate::error::Error::Enhancer) for unknown keys.
    pub fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let config: SpellingConfig = table.parse()?;
        let knowledge = table.knowledge(config.knowledge.as_ref(), context)?;
        let vocabulary = table.vocabulary(config.vocabulary.as_ref(), &knowledge)?;
        let words = Arc::new(table.word_list(config.words.as_ref())?);
        let pairs = table.word_pairs(config.pairs.as_ref(), config.vocabulary.as_ref())?;
        let languages = Arc::new(table.languages(config.languages.as_ref())?);
        Ok(Self::new(Arc::new(vocabulary), knowledge, words).with_pairs(pairs).with_languages(languages))
    }

    /// The words that captions use.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The text without misspelt words and stray marks, and what was corrected.
    pub fn corrected(&self, text: &str) -> (String, Vec<Correction>) {
        self.corrected_but(text, |_| false)
    }

    /// The same, with words that are right whatever else is known of them.
    fn corrected_but(&self, text: &str, is_right: impl Fn(&str) -> bool) -> (String, Vec<Correction>) {
        if self.language(text).is_some() {
            return (text.to_owned(), Vec::new());
        }
        let (text, mut corrections) = without_stray_marks(text);
        let (text, apostrophes) = with_apostrophes(&text);
        corrections.extend(apostrophes);
        let (text, misspelt) = self.spelled_right(&text, is_right);
        corrections.extend(misspelt);
        (text, corrections)
    }

    fn spelled_right(&self, text: &str, is_right: impl Fn(&str) -> bool) -> (String, Vec<Correction>) {
        let named = self.knowledge.find(text);
        let is_known = |word: &WordInText<'_>| {
            let within =
                |range: &Range<usize>| range.start <= word.range.start && word.range.end <= range.end;
            is_right(&word.text)
                || named.iter().any(|mention| within(&mention.range))
                || self.knowledge.words().contains(&word.text, ENGLISH)
                || !self.knowledge.find(&word.text).is_empty()
        };
        let lexicon = Lexicon { vocabulary: &self.vocabulary, pairs: &self.pairs, listed: &self.words };
        corrected(text, &lexicon, is_known)
    }

    /// The query without misspelt words, and a step for each of them.
    ///
    /// # Errors
    /// Those of [`Query::new`].
    pub fn correct(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        let (text, corrections) = self.corrected_but(query.text(), |word| query.keeps(word));
        if corrections.is_empty() {
            return Ok((query.clone(), Vec::new()));
        }
        let step = |Correction { from, to }| TraceEntry::Replaced { from, to };
        Ok((query.with_text(&text)?, corrections.into_iter().map(step).collect()))
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
        let query = Query::new("A gril ; climbign a bench .").unwrap();
        let (corrected, trace) = spelling(&[]).correct(&query).unwrap();
        assert_eq!(corrected.text(), "A girl climbing a bench .");
        let replaced = |from: &str, to: &str| TraceEntry::Replaced { from: from.into(), to: to.into() };
        assert_eq!(trace, [replaced(";", ""), replaced("gril", "girl"), replaced("climbign", "climbing")]);
    }

    #[test]
    fn other_languages_and_contractions_stay() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "benc\tdeu\n").unwrap();
        let languages = Arc::new(Languages::open(file.path()).unwrap());
        let spelling = spelling(&[]).with_languages(languages);
        let text = |typed: &str| spelling.corrected(typed).0;
        assert_eq!(text("Benc"), "Benc");
        assert_eq!(spelling.language("benc"), Some("German"));
        assert_eq!(
            text("a girl climbing a benc"),
            "a girl climbing a bench",
            "one word of many is a mistake"
        );
        assert_eq!(text("a girl dont climb"), "a girl don't climb");
    }

    #[test]
    fn words_and_names_stay() {
        let query = Query::new("a wench beside Girb").unwrap();
        let (corrected, trace) = spelling(&["wench"]).correct(&query).unwrap();
        assert_eq!((corrected, trace.len()), (query.clone(), 0));
        assert_eq!(spelling(&[]).correct(&query).unwrap().0.text(), "a bench beside Girb");
        let kept = query.keeping(["wench"]);
        assert_eq!(spelling(&[]).correct(&kept).unwrap().0, kept);
    }
}
