//! What was typed as English words that are spelled right, before anything else looks at the query.
//!
//! A retriever that has learned captions reads "climbign" as pieces that mean nothing, and so does every enhancer behind
//! it. What the knowledge base has a name for is right; [`crate::english::spelling`] says what is wrong otherwise. A query
//! in another language is read word by word, where the knowledge base has a
//! [`Lexicon`](crate::knowledge::words::Lexicon) of it, and left as it is otherwise: its words are no misspelt English.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::open::{EnhancerContext, EnhancerTable};
use super::{Query, TraceEntry};
use crate::english::contractions::with_apostrophes;
use crate::english::spelling::{Correction, RightWords, corrected};
use crate::english::stray_marks::without_stray_marks;
use crate::english::word_pairs::Context;
use crate::english::words::WordInText;
use crate::english::{Vocabulary, WordList, WordPairs};
use crate::error::Result;
use crate::knowledge::Knowledge;
use crate::knowledge::words::{ENGLISH, ForeignLanguage};

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
    /// The knowledge base, whose names are right, and whose words other languages are read by.
    pub knowledge: Option<PathBuf>,
}

/// Corrects towards a vocabulary what neither a knowledge base nor a word list has.
pub struct Spelling {
    vocabulary: Arc<Vocabulary>,
    knowledge: Arc<Knowledge>,
    words: Arc<WordList>,
    pairs: WordPairs,
}

impl Spelling {
    /// Corrects towards `vocabulary` what neither `knowledge` nor `words` has.
    pub fn new(vocabulary: Arc<Vocabulary>, knowledge: Arc<Knowledge>, words: Arc<WordList>) -> Self {
        Self { vocabulary, knowledge, words, pairs: WordPairs::default() }
    }

    /// The same, with what captions put beside words: it tells which word was meant.
    #[must_use]
    pub fn with_pairs(self, pairs: WordPairs) -> Self {
        Self { pairs, ..self }
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
        Ok(Self::new(Arc::new(vocabulary), knowledge, words).with_pairs(pairs))
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
        let right = RightWords { vocabulary: &self.vocabulary, pairs: &self.pairs, listed: &self.words };
        corrected(text, &right, is_known)
    }

    /// The language of a query that is not in English. What the knowledge base has a name for as a whole is no foreign
    /// word.
    fn language(&self, query: &str) -> Result<Option<ForeignLanguage>> {
        let is_english = |word: &str| {
            self.vocabulary.count(word) > 0
                || self.words.contains(word)
                || self.knowledge.words().contains(word, ENGLISH)
        };
        let found = self.knowledge.languages().of_query(query, is_english)?;
        let is_name = || {
            self.knowledge.find(query).iter().any(|mention| query.get(mention.range.clone()) == Some(query))
        };
        Ok(found.filter(|_| !is_name()))
    }

    /// A query in another language word by word, and a step that says so; `None` for an English one. One that cannot be
    /// read stays as it is.
    ///
    /// # Errors
    /// Those of [`Query::new`] and of the files of words.
    pub fn word_by_word(&self, query: &Query) -> Result<Option<(Query, TraceEntry)>> {
        let Some(ForeignLanguage { name: language, lexicon }) = self.language(query.text())? else {
            return Ok(None);
        };
        let read = lexicon.map(|lexicon| match self.pairs.is_empty() {
            true => lexicon.english(query.text()),
            false => {
                let captions = Context::new(&self.vocabulary, &self.pairs);
                lexicon.english_of_captions(query.text(), &captions)
            }
        });
        let read = read.filter(|read| read.known > 0 && !read.text.trim().is_empty());
        Ok(Some(match read {
            Some(read) => {
                let step = TraceEntry::ReadWordByWord { language, text: read.text.clone() };
                (query.with_text(&read.text)?, step)
            }
            None => (query.clone(), TraceEntry::NotRead { language }),
        }))
    }

    /// The query in English words that are spelled right, and a step for all that was done to it.
    ///
    /// # Errors
    /// Those of [`Query::new`] and of the files of words.
    pub fn correct(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        let (query, mut steps) = match self.word_by_word(query)? {
            Some((query, step @ TraceEntry::NotRead { .. })) => return Ok((query, vec![step])),
            Some((query, step)) => (query, vec![step]),
            None => (query.clone(), Vec::new()),
        };
        let (text, corrections) = self.corrected_but(query.text(), |word| query.keeps(word));
        if corrections.is_empty() {
            return Ok((query, steps));
        }
        let step = |Correction { from, to }| TraceEntry::Replaced { from, to };
        steps.extend(corrections.into_iter().map(step));
        Ok((query.with_text(&text)?, steps))
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
    fn other_languages_are_read_word_by_word_or_left_alone() {
        let knowledge = Knowledge::bundled().unwrap();
        let vocabulary = Vocabulary::of_captions(["a girl climbing a bench"; 30]);
        let spelling = Spelling::new(Arc::new(vocabulary), Arc::new(knowledge), Arc::default());
        let correct = |typed: &str| spelling.correct(&Query::new(typed).unwrap()).unwrap();
        let (query, trace) = correct("zwei Hunde");
        let step = TraceEntry::ReadWordByWord { language: "German".into(), text: "two dogs".into() };
        assert_eq!((query.text(), trace), ("two dogs", vec![step]));
        let (query, trace) = correct("σκύλος στην παραλία");
        assert_eq!(query.text(), "σκύλος στην παραλία");
        assert_eq!(trace, [TraceEntry::NotRead { language: "Greek".into() }]);
        assert_eq!(correct("a girl climbing a benc").0.text(), "a girl climbing a bench");
        assert_eq!(correct("a girl dont climb").0.text(), "a girl don't climb");
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
