//! Words that the retriever has hardly seen, replaced by words that it knows.
//!
//! Which words are unfamiliar say the captions that it learned from, or its measured feedback; what they mean says the
//! knowledge base; which of several meanings this retriever likes best say its [`Preferences`], learned offline.

use std::sync::Arc;

use crate::english::Vocabulary;
use crate::english::article::with_article;
use crate::english::inflection::readings;
use crate::english::words::{WordInText, is_apostrophe, is_listed, words};
use crate::enhancer::{LONGEST_QUERY, Query};
use crate::knowledge::words::{ENGLISH, Form, LONGEST_PHRASE, MeaningKind};
use crate::knowledge::{Source, Words};

use super::phrasing::{Passage, fluent};
use super::preferences::Preferences;

/// Beside a retriever: how well it knows words, `word<TAB>count` a line.
pub const FAMILIARITY_FILE: &str = "familiarity.tsv";

/// Words that every sentence has, by their count in some 30,000 captions: they are not what a query is about.
const EVERYWHERE: u64 = 2000;
/// What no rewrite may lose: numbers, colours, negations.
const PROTECTED: &str = "\
    black blue brown eight five four gold gray green grey neither never nine no nobody none nor not one orange \
    pink purple red seven silver six tan ten three two white without yellow";

/// A phrase that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// As it was typed.
    pub from: String,
    /// The meaning that the retriever likes best.
    pub to: String,
    /// How often captions use its rarest word.
    pub seen: u64,
}

/// A query in other words.
#[derive(Debug, Clone, PartialEq)]
pub struct Reworded {
    /// Every phrase by its best meaning.
    pub text: String,
    /// Every phrase by its second meaning, where there are two.
    pub other: String,
    /// Phrases that have another name by it, those that can only be told of as they were typed.
    pub renamed: String,
    /// What was replaced.
    pub replaced: Vec<Replaced>,
    /// How much of what the query is about was replaced, 0 to 1.
    pub unfamiliarity: f32,
}

/// Rewords queries.
pub struct Wording {
    familiarity: Arc<Vocabulary>,
    preferences: Preferences,
    familiar_from: u64,
}

/// A phrase that can be replaced.
pub(in crate::enhancer) struct Replaceable {
    /// The place of its first word.
    pub(in crate::enhancer) first: usize,
    /// How many words it has.
    pub(in crate::enhancer) length: usize,
    seen: u64,
    /// What it means, what is liked best first.
    pub(in crate::enhancer) meanings: Vec<Form>,
}

impl Wording {
    /// Words met more often than `unfamiliar_up_to` stay as they are.
    pub fn new(familiarity: Arc<Vocabulary>, preferences: Preferences, unfamiliar_up_to: u64) -> Self {
        Self { familiarity, preferences, familiar_from: unfamiliar_up_to.saturating_add(1) }
    }

    /// The query in other words; `None` if all its words are familiar or nothing is known of the others.
    pub fn reword(&self, query: &Query, knowledge: &Words) -> Option<Reworded> {
        let text = query.text();
        let words = words(text);
        let mut replaceable = self.replaceable(text, &words, knowledge);
        // "snarling at" is not replaced where "pooch snarling" is to be kept.
        replaceable.retain(|phrase| {
            let mut own = words.iter().skip(phrase.first).take(phrase.length);
            !query.keeps(typed(text, &words, phrase)) && !own.any(|word| query.keeps(&word.text))
        });
        if replaceable.is_empty() {
            return None;
        }
        let [best, other] = [0, 1].map(|choice| {
            written(text, &words, &replaceable, |phrase| {
                phrase.meanings.get(choice.min(phrase.meanings.len().saturating_sub(1)))
            })
        });
        let is_name = |form: &&Form| form.meaning.kind == MeaningKind::Name;
        let renamed = written(text, &words, &replaceable, |phrase| phrase.meanings.first().filter(is_name));
        // What is longer than a query may be is none.
        let best = Some(best).filter(|best| best.len() <= LONGEST_QUERY && !best.trim().is_empty())?;
        let other = Some(other).filter(|other| other.len() <= LONGEST_QUERY).unwrap_or_else(|| best.clone());
        let unfamiliarity = self.unfamiliarity(&words, &replaceable);
        let replaced = replaceable.iter().filter_map(|phrase| {
            let to = phrase.meanings.first()?.text.clone();
            Some(Replaced { from: typed(text, &words, phrase).to_owned(), to, seen: phrase.seen })
        });
        let renamed = Some(renamed).filter(|renamed| renamed.len() <= LONGEST_QUERY);
        let renamed = renamed.unwrap_or_else(|| best.clone());
        Some(Reworded { text: best, other, renamed, replaced: replaced.collect(), unfamiliarity })
    }

    /// How much of what a query is about can be replaced, 0 to 1.
    pub(in crate::enhancer) fn unfamiliarity(
        &self,
        words: &[WordInText<'_>],
        replaceable: &[Replaceable],
    ) -> f32 {
        let about = words.iter().filter(|word| self.familiarity.count(&word.text) < EVERYWHERE).count();
        let replaced: usize = replaceable.iter().map(|phrase| phrase.length).sum();
        (replaced as f32 / about.max(1) as f32).min(1.0)
    }

    /// The phrases of a query that can be replaced, the longer before the shorter, from left to right.
    pub(in crate::enhancer) fn replaceable(
        &self,
        text: &str,
        words: &[WordInText<'_>],
        knowledge: &Words,
    ) -> Vec<Replaceable> {
        // The "don" of "don't" is no word.
        let is_cut = |end: usize| {
            let (before, behind) = (end.checked_sub(1).and_then(|last| words.get(last)), words.get(end));
            before.zip(behind).is_some_and(|(before, behind)| is_contracted(text, before, behind))
        };
        let mut found = Vec::new();
        let mut first = 0;
        while first < words.len() {
            let longest = LONGEST_PHRASE.min(words.len() - first);
            let mut lengths = (1..=longest).rev().filter(|length| !is_cut(first) && !is_cut(first + length));
            let phrase = lengths.find_map(|length| self.phrase(words, first, length, knowledge));
            first += phrase.as_ref().map_or(1, |phrase| phrase.length);
            found.extend(phrase);
        }
        found
    }

    fn phrase(
        &self,
        words: &[WordInText<'_>],
        first: usize,
        length: usize,
        knowledge: &Words,
    ) -> Option<Replaceable> {
        let phrase = words.get(first..first + length)?;
        if phrase.iter().skip(1).any(|word| !word.joins) {
            return None;
        }
        let joined = phrase.iter().map(|word| word.text.as_ref()).collect::<Vec<_>>().join(" ");
        let seen = phrase.iter().map(|word| self.familiarity.count(&word.text)).min()?;
        let has_digit = || joined.chars().any(char::is_numeric);
        // A person's word counts however familiar it is.
        let taught = || {
            let word = knowledge.get(&joined, ENGLISH);
            word.is_some_and(|word| word.meanings.iter().any(|meaning| meaning.source == Source::Person))
        };
        // A phrase is met less often than its rarest word.
        let seldom = if length > 1 { seen < 2 * self.familiar_from } else { seen < self.familiar_from };
        if !seldom && !taught() || has_digit() {
            return None;
        }
        // "Roofs" are known where "roof" is, unless something is known of them in particular.
        let known_by_its_base = || {
            !knowledge.contains(&joined, ENGLISH)
                && readings(&joined)
                    .iter()
                    .any(|(base, _)| self.familiarity.count(base) >= self.familiar_from)
        };
        if length == 1 && known_by_its_base() {
            return None;
        }
        let mut meanings = knowledge.meanings(&joined, &self.familiarity);
        let lost = |text: &str| {
            let mut kept = phrase.iter().filter(|word| is_listed(PROTECTED, word.text.as_ref()));
            kept.any(|word| !text.split(' ').any(|other| other == word.text))
        };
        meanings.retain(|form| !lost(&form.text));
        // The sort is stable: meanings that nothing is known of stay in the order of the knowledge base.
        meanings.sort_by(|left, right| self.worth(right).total_cmp(&self.worth(left)));
        (!meanings.is_empty()).then_some(Replaceable { first, length, seen, meanings })
    }

    fn worth(&self, form: &Form) -> f32 {
        if form.meaning.source == Source::Person {
            return f32::INFINITY;
        }
        self.preferences.gain(&form.word, &form.meaning.text).unwrap_or(f32::MIN)
    }
}

/// Whether nothing but an apostrophe stands between two words.
fn is_contracted(text: &str, before: &WordInText<'_>, behind: &WordInText<'_>) -> bool {
    let gap = text.get(before.range.end..behind.range.start).unwrap_or_default();
    !gap.is_empty() && gap.chars().all(is_apostrophe)
}

fn typed<'a>(text: &'a str, words: &[WordInText<'_>], phrase: &Replaceable) -> &'a str {
    let start = words.get(phrase.first).map_or(0, |word| word.range.start);
    let end = words.get(phrase.first + phrase.length - 1).map_or(start, |word| word.range.end);
    text.get(start..end).unwrap_or_default()
}

/// The text with every phrase by the meaning that is chosen, or as it was typed.
fn written<'a>(
    text: &'a str,
    words: &[WordInText<'_>],
    phrases: &'a [Replaceable],
    choose: impl Fn(&'a Replaceable) -> Option<&'a Form>,
) -> String {
    let mut units: Vec<Passage<'_>> = Vec::new();
    let mut phrases = phrases.iter().peekable();
    let (mut position, mut copied) = (0, 0);
    while let Some(word) = words.get(position) {
        let gap = text.get(copied..word.range.start).unwrap_or_default();
        let phrase = phrases.next_if(|phrase| phrase.first == position);
        let length = phrase.map_or(1, |phrase| phrase.length);
        let end = words.get(position + length - 1).map_or(word.range.end, |last| last.range.end);
        let own = text.get(word.range.start..end).unwrap_or_default();
        let new = phrase.and_then(&choose).map(|form| form.text.as_str());
        let (text, typed) = (new.unwrap_or(own).into(), new.is_none());
        units.push(Passage { gap, text, new: !typed, typed, joins: word.joins });
        copied = end;
        position += length;
    }
    let mut result = fluent(units);
    result.push_str(text.get(copied..).unwrap_or_default());
    with_article(&result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::knowledge::words::{ENGLISH, Meaning, MeaningKind, Word as Known};

    fn knowledge() -> Words {
        let known = |word: &str, meanings: &[&str]| Known {
            word: word.to_owned(),
            language: ENGLISH.to_owned(),
            meanings: meanings
                .iter()
                .map(|text| Meaning {
                    text: (*text).to_owned(),
                    kind: MeaningKind::Name,
                    source: Source::Llm,
                })
                .collect(),
        };
        Words::default().with([
            known("pooch", &["dog"]),
            known("lad", &["son", "boy"]),
            known("azure", &["blue"]),
            known("bespectacled", &["in glasses"]),
            known("snarling at", &["showing teeth at"]),
            known("apparatus", &["machine"]),
            known("no quarter", &["fight"]),
            known("monochrome", &["black and white"]),
            known("cur", &["pooch"]),
        ])
    }

    fn captions() -> Vocabulary {
        Vocabulary::of_captions(
            ["a dog boy in the at an old man blue hat son girl with red two dogs boys"; 20],
        )
    }

    fn wording() -> Wording {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), "lad\tboy:0.5:9\tson:0.1:2\n").unwrap();
        Wording::new(Arc::new(captions()), Preferences::open(file.path()).unwrap(), 10)
    }

    fn text(typed: &str) -> Option<String> {
        wording().reword(&Query::new(typed).ok()?, &knowledge()).map(|reworded| reworded.text)
    }

    #[test]
    fn a_contraction_is_one_word() {
        assert_eq!(text("a boy who isn't a cur"), Some("a boy who isn't a pooch".to_owned()));
        for kept in ["lad't", "boy'lad", "a lad\u{2019}d"] {
            assert_eq!(text(kept), None, "{kept}");
        }
    }

    #[test]
    fn unfamiliar_words_become_what_the_retriever_likes() {
        for (typed, expected) in [
            ("pooch snarling at a lad", "a dog showing teeth at a boy"),
            ("Two pooches in the azure-hat", "Two dogs in the blue hat"),
            ("an azure hat", "a blue hat"),
            ("a bespectacled girl", "a girl in glasses"),
            ("the lad's hat .", "the boy's hat ."),
            ("an old apparatus", "an old machine"),
            ("bespectacled red red girl", "a red red girl in glasses"),
            ("a cur", "a pooch"),
        ] {
            assert_eq!(text(typed).as_deref(), Some(expected), "{typed}");
        }
    }

    #[test]
    fn the_second_meaning_stands_in_the_other_text_and_the_share_is_told() {
        let reworded = wording().reword(&Query::new("lad in the hat").unwrap(), &knowledge()).unwrap();
        assert_eq!(
            (reworded.text.as_str(), reworded.other.as_str()),
            ("a boy in the hat", "a son in the hat")
        );
        assert_eq!(reworded.replaced, [Replaced { from: "lad".into(), to: "boy".into(), seen: 0 }]);
        assert!((reworded.unfamiliarity - 0.25).abs() < 1e-6, "{}", reworded.unfamiliarity);
    }

    #[test]
    fn negations_and_what_is_familiar_stay() {
        for typed in ["a dog with no quarter", "a boy in the blue hat", "", "...", "zebra"] {
            assert_eq!(text(typed), None, "{typed}");
        }
    }

    #[test]
    fn what_a_person_taught_counts_however_familiar_the_word() {
        let meaning = Meaning { text: "puppy".into(), kind: MeaningKind::Name, source: Source::Person };
        let dog = Known { word: "dog".into(), language: ENGLISH.into(), meanings: vec![meaning] };
        let reworded = wording().reword(&Query::new("a dog").unwrap(), &knowledge().with([dog])).unwrap();
        assert_eq!(reworded.text, "a puppy");
    }

    #[test]
    fn words_that_are_to_be_kept_stay_and_the_others_do_not() {
        let query = Query::new("pooch snarling at a lad").unwrap().keeping(["Pooch"]);
        let reworded = wording().reword(&query, &knowledge()).unwrap();
        assert_eq!(reworded.text, "a pooch showing teeth at a boy");
        assert!(wording().reword(&query.keeping(["pooch snarling", "lad"]), &knowledge()).is_none());
    }

    proptest! {
        #[test]
        fn familiar_words_are_never_changed(words in proptest::collection::vec("a|dog|boy|in|the|hat|red|two|old", 1..12)) {
            prop_assert_eq!(text(&words.join(" ")), None);
        }

        #[test]
        fn nothing_is_lost_and_nothing_is_empty(
            words in proptest::collection::vec("two|red|not|without|lad|pooch|azure|bespectacled|no|quarter|7|-|,|a|é", 0..20),
        ) {
            let typed = words.join(" ");
            let query = Query::new(&typed);
            if let Some(reworded) = query.ok().and_then(|query| wording().reword(&query, &knowledge())) {
                for new in [&reworded.text, &reworded.other] {
                    prop_assert!(!new.trim().is_empty() && new.len() <= LONGEST_QUERY);
                    for kept in ["two", "red", "not", "without", "no", "7"] {
                        let count = |text: &str| text.split(' ').filter(|word| *word == kept).count();
                        prop_assert!(count(&typed) <= count(new), "{} → {}", typed, new);
                    }
                }
            }
        }
    }
}
