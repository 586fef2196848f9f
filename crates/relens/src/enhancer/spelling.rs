//! Misspelt words, corrected before anything else looks at the query.
//!
//! A retriever that has learned captions reads "climbign" as pieces that mean nothing, and so does every enhancer behind
//! it. A word is corrected to the most frequent word of the captions' vocabulary that one typing mistake turns into it
//! (Damerau, 1964), unless it is a word already: one of the knowledge base or of a list of English words, or a name
//! with a capital inside the sentence.

use std::ops::Range;
use std::sync::Arc;

use super::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use crate::english::{Vocabulary, WordList};
use crate::error::Result;
use crate::knowledge::Knowledge;
use crate::knowledge::words::ENGLISH;
use crate::knowledge::lookup::words::{Word, words};
use crate::ranking::hubness::HubnessCalibration;

/// What `--enhancer` calls corrections alone.
pub const NAME: &str = "spelling";

/// A word that was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// As it was typed.
    pub from: String,
    /// As it is now.
    pub to: String,
}

/// The text with misspelt words corrected. What `knowledge` has a name for is right, and so are `listed` words.
pub(crate) fn corrected(
    text: &str,
    vocabulary: &Vocabulary,
    knowledge: &Knowledge,
    listed: &WordList,
) -> (String, Vec<Correction>) {
    let named = knowledge.find(text);
    let known = |word: &Word<'_>| {
        let within = |range: &Range<usize>| range.start <= word.range.start && word.range.end <= range.end;
        named.iter().any(|mention| within(&mention.range)) || !knowledge.find(&word.text).is_empty()
    };
    let mut result = String::with_capacity(text.len());
    let mut corrections = Vec::new();
    let mut copied = 0;
    for word in words(text) {
        if listed.contains(&word.text) || knowledge.words().contains(&word.text, ENGLISH) {
            continue;
        }
        let Some(correction) = vocabulary.correction(&word.text).filter(|_| !known(&word)) else {
            continue;
        };
        let typed = text.get(word.range.clone()).unwrap_or_default();
        // A capital inside a sentence is a name, and names are in no vocabulary.
        if word.range.start > 0 && typed.chars().next().is_some_and(char::is_uppercase) {
            continue;
        }
        result.push_str(text.get(copied..word.range.start).unwrap_or_default());
        result.push_str(correction);
        copied = word.range.end;
        corrections.push(Correction { from: typed.to_owned(), to: correction.to_owned() });
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    (result, corrections)
}

/// Another enhancer, which gets queries without misspelt words.
pub struct Spelling {
    vocabulary: Arc<Vocabulary>,
    knowledge: Arc<Knowledge>,
    words: Arc<WordList>,
    enhancer: Box<dyn QueryEnhancer>,
    name: String,
}

impl Spelling {
    /// Corrects towards `vocabulary` what neither `knowledge` nor `words` has.
    pub fn new(
        vocabulary: Arc<Vocabulary>,
        knowledge: Arc<Knowledge>,
        words: Arc<WordList>,
        enhancer: Box<dyn QueryEnhancer>,
    ) -> Self {
        let name = match enhancer.name() {
            "identity" => NAME.to_owned(),
            other => format!("{NAME}+{other}"),
        };
        Self { vocabulary, knowledge, words, enhancer, name }
    }

    fn correct(&self, query: &Query) -> Result<(Query, Vec<TraceEntry>)> {
        let (text, corrections) = corrected(query.text(), &self.vocabulary, &self.knowledge, &self.words);
        if corrections.is_empty() {
            return Ok((query.clone(), Vec::new()));
        }
        let told = |correction: Correction| TraceEntry::Replaced { from: correction.from, to: correction.to };
        Ok((Query::new(&text)?, corrections.into_iter().map(told).collect()))
    }
}

impl QueryEnhancer for Spelling {
    fn name(&self) -> &str {
        &self.name
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        super::single(self.enhance_batch(std::slice::from_ref(query))?, self.name())
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let corrected = queries.iter().map(|query| self.correct(query)).collect::<Result<Vec<_>>>()?;
        let (queries, traces): (Vec<Query>, Vec<Vec<TraceEntry>>) = corrected.into_iter().unzip();
        let mut enhanced = self.enhancer.enhance_batch(&queries)?;
        for (enhanced, mut trace) in enhanced.iter_mut().zip(traces).filter(|(_, trace)| !trace.is_empty()) {
            // "Kept" is not true any more.
            trace.extend(enhanced.trace.drain(..).filter(|step| !matches!(step, TraceEntry::Kept { .. })));
            enhanced.trace = trace;
        }
        Ok(enhanced)
    }

    fn calibration(&self) -> Option<&HubnessCalibration> {
        self.enhancer.calibration()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Identity;
    use super::*;

    fn spelling(words: &[&str]) -> Spelling {
        let vocabulary = Vocabulary::of_captions(["a girl climbing a bench"; 30]);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), words.join("\n")).unwrap();
        let words = WordList::open(file.path()).unwrap();
        let knowledge = Knowledge::new(Vec::new(), "a test").unwrap();
        Spelling::new(Arc::new(vocabulary), Arc::new(knowledge), Arc::new(words), Box::new(Identity))
    }

    #[test]
    fn mistakes_are_corrected_and_told() {
        let query = Query::new("A gril climbign a bench .").unwrap();
        let enhanced = spelling(&[]).enhance(&query).unwrap();
        assert_eq!(enhanced.texts[0].text, "A girl climbing a bench .");
        let replaced = |from: &str, to: &str| TraceEntry::Replaced { from: from.into(), to: to.into() };
        assert_eq!(enhanced.trace, [replaced("gril", "girl"), replaced("climbign", "climbing")]);
    }

    #[test]
    fn words_and_names_stay() {
        let query = Query::new("a wench beside Girb").unwrap();
        let enhanced = spelling(&["wench"]).enhance(&query).unwrap();
        assert_eq!(enhanced.texts[0].text, "a wench beside Girb");
        assert!(matches!(enhanced.trace[..], [TraceEntry::Kept { .. }]), "{:?}", enhanced.trace);
        assert_eq!(spelling(&[]).enhance(&query).unwrap().texts[0].text, "a bench beside Girb");
    }
}
