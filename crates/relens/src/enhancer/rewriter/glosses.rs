//! What a language model is told of words that the retriever has hardly seen: behind each of them, in brackets, what it
//! means, as EvdCLIP puts descriptions into the prompt. A small model then need not remember ten thousand words: it
//! learns to choose, to weave in and to leave alone, and an edit of the knowledge base changes what it writes.
//!
//! ```text
//! pooch ( dog ) snarling ( showing teeth | baring teeth ) at a laddie ( boy )
//! ```
//!
//! Or the best of what a word means stands in its place, put together as the composer does it: "dog showing its teeth at a
//! boy". What is left to the model is then how to say it, and what to leave out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::english::Vocabulary;
use crate::english::article::with_article;
use crate::english::words::words;
use crate::enhancer::composer::phrasing::{Passage, fluent};
use crate::enhancer::composer::preferences::Preferences;
use crate::enhancer::composer::wording::Wording;
use crate::knowledge::words::MeaningKind;
use crate::knowledge::{Knowledge, Source};

/// Begins the glosses of a phrase.
const OPEN: &str = "(";
/// Parts two glosses.
const BETWEEN: &str = "|";
/// Ends the glosses of a phrase.
const CLOSE: &str = ")";
/// Common names that come before a short description.
const NAMES_FIRST: usize = 2;

/// Which words are glossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlossConfig {
    /// A phrase whose rarest word captions use at most so often is glossed. Default 30.
    pub unfamiliar_up_to: u64,
    /// The most glosses of one phrase. Default 2.
    pub most: usize,
    /// The first gloss stands in the phrase's place, and none behind it; the meanings come in the order in which the bundled
    /// retriever likes them. Default false.
    pub in_place: bool,
}

impl Default for GlossConfig {
    fn default() -> Self {
        Self { unfamiliar_up_to: 30, most: 2, in_place: false }
    }
}

/// A query in parts: its words in lower case, without punctuation, some of them with glosses.
#[derive(Debug, Clone, PartialEq)]
pub struct GlossedQuery {
    /// The parts, in the query's order.
    pub parts: Vec<GlossedPhrase>,
    /// How much of what the query is about has a gloss, 0 to 1.
    pub unfamiliarity: f32,
    /// Whether glosses stand in their phrases' places.
    pub in_place: bool,
}

/// One or more words of a query that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlossedPhrase {
    /// The words, parted by spaces.
    pub text: String,
    /// What the prompt says of them; none for familiar words.
    pub glosses: Vec<String>,
    /// Everything that is known of them: the other meanings, too.
    pub meanings: Vec<String>,
}

impl GlossedQuery {
    /// The prompt's text.
    pub fn text(&self) -> String {
        if self.in_place {
            return self.replaced();
        }
        let mut text = String::new();
        for part in &self.parts {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&part.text);
            if !part.glosses.is_empty() {
                let glosses = part.glosses.join(&format!(" {BETWEEN} "));
                text.push_str(&format!(" {OPEN} {glosses} {CLOSE}"));
            }
        }
        text
    }

    /// The query with every glossed phrase by its first gloss.
    fn replaced(&self) -> String {
        let passages = self.parts.iter().enumerate().map(|(place, part)| Passage {
            gap: if place == 0 { "" } else { " " },
            text: part.glosses.first().unwrap_or(&part.text).into(),
            new: !part.glosses.is_empty(),
            typed: part.glosses.is_empty(),
            joins: true,
        });
        plain(&with_article(&fluent(passages.collect())))
    }
}

/// Finds what a query's unfamiliar words mean.
pub struct Glosses {
    wording: Wording,
    knowledge: Arc<Knowledge>,
    settings: GlossConfig,
}

impl Glosses {
    /// Glosses by what `knowledge` says of words that `captions` hardly use. Without `preferences` the meanings stay in the
    /// order of the knowledge base, a person's first.
    pub fn new(
        settings: GlossConfig,
        captions: Arc<Vocabulary>,
        knowledge: Arc<Knowledge>,
        preferences: Preferences,
    ) -> Self {
        let wording = Wording::new(captions, preferences, settings.unfamiliar_up_to);
        Self { wording, knowledge, settings }
    }

    /// A query in parts.
    pub fn of(&self, query: &str) -> GlossedQuery {
        let words = words(query);
        let phrases = self.wording.replaceable(query, &words, self.knowledge.words());
        let unfamiliarity = self.wording.unfamiliarity(&words, &phrases);
        let mut phrases = phrases.into_iter().peekable();
        let mut parts = Vec::with_capacity(words.len());
        let mut place = 0;
        while place < words.len() {
            let phrase = phrases.next_if(|phrase| phrase.first == place);
            let length = phrase.as_ref().map_or(1, |phrase| phrase.length.max(1));
            let own = words.get(place..place + length).unwrap_or_default();
            let text = own.iter().map(|word| word.text.as_ref()).collect::<Vec<_>>().join(" ");
            let (glosses, meanings) = phrase.map_or((Vec::new(), Vec::new()), |phrase| {
                let meanings: Vec<(String, MeaningKind, Source)> = phrase
                    .meanings
                    .into_iter()
                    .map(|form| (plain(&form.text), form.meaning.kind, form.meaning.source))
                    .filter(|(meaning, ..)| !meaning.is_empty() && *meaning != text)
                    .collect();
                (self.chosen(&meanings), meanings.into_iter().map(|(meaning, ..)| meaning).collect())
            });
            parts.push(GlossedPhrase { text, glosses, meanings });
            place += length;
        }
        GlossedQuery { parts, unfamiliarity, in_place: self.settings.in_place }
    }

    /// What a person said, then common names, then a short description; longer ones where there is nothing else.
    fn chosen(&self, meanings: &[(String, MeaningKind, Source)]) -> Vec<String> {
        if self.settings.in_place {
            // They come in the order in which a retriever likes them.
            return meanings.iter().take(self.settings.most).map(|(text, ..)| text.clone()).collect();
        }
        let of = |wanted: MeaningKind| {
            let known = meanings.iter().filter(move |(_, kind, _)| *kind == wanted);
            known.map(|(meaning, ..)| meaning)
        };
        let taught = meanings.iter().filter(|(.., source)| *source == Source::Person).map(|(text, ..)| text);
        let usual = of(MeaningKind::Name).take(NAMES_FIRST).chain(of(MeaningKind::Short).take(1));
        let mut chosen: Vec<String> = Vec::new();
        for meaning in taught.chain(usual).chain(of(MeaningKind::Plain)) {
            if chosen.len() < self.settings.most && !chosen.contains(meaning) {
                chosen.push(meaning.clone());
            }
        }
        chosen
    }
}

/// A text in lower case without punctuation: nothing in it can be taken for the end of a gloss.
pub fn plain(text: &str) -> String {
    let words = words(text);
    words.iter().map(|word| word.text.as_ref()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Words;
    use crate::knowledge::words::{ENGLISH, Meaning, Word};

    type KnownMeaning<'a> = (MeaningKind, &'a str, Source);

    fn glosses(words: &[(&str, &[KnownMeaning<'_>])]) -> Glosses {
        glosses_by(GlossConfig::default(), words)
    }

    fn glosses_by(settings: GlossConfig, words: &[(&str, &[KnownMeaning<'_>])]) -> Glosses {
        let word = |(word, meanings): &(&str, &[KnownMeaning<'_>])| Word {
            word: (*word).to_owned(),
            language: ENGLISH.to_owned(),
            meanings: meanings
                .iter()
                .map(|(kind, text, source)| Meaning {
                    text: (*text).to_owned(),
                    kind: *kind,
                    source: *source,
                })
                .collect(),
        };
        let knowledge = Knowledge::new(Vec::new(), "a test").unwrap();
        let knowledge = knowledge.with_words(Words::default().with(words.iter().map(word)));
        let captions = Vocabulary::of_captions(["a dog at the boy in two hats"; 40]);
        Glosses::new(settings, Arc::new(captions), Arc::new(knowledge), Preferences::default())
    }

    fn usual() -> Glosses {
        let llm = Source::Llm;
        glosses(&[
            ("pooch", &[(MeaningKind::Name, "dog", llm)]),
            (
                "snarling",
                &[
                    (MeaningKind::Plain, "mouth open, teeth bared", llm),
                    (MeaningKind::Short, "showing teeth", llm),
                ],
            ),
            ("sea dog", &[(MeaningKind::Name, "old sailor", llm)]),
        ])
    }

    #[test]
    fn unfamiliar_phrases_are_followed_by_what_they_mean() {
        let glossed = usual().of("A Pooch, snarling at the sea-dog!");
        assert_eq!(
            glossed.text(),
            "a pooch ( dog ) snarling ( showing teeth | mouth open teeth bared ) at the sea dog ( old sailor )"
        );
        assert!((glossed.unfamiliarity - 4.0 / 7.0).abs() < 1e-6, "{}", glossed.unfamiliarity);
        assert_eq!(usual().of("a dog at the boy").text(), "a dog at the boy");
        assert_eq!(usual().of("").text(), "");
    }

    #[test]
    fn in_place_the_first_meaning_stands_where_the_phrase_stood() {
        let in_place = GlossConfig { in_place: true, ..GlossConfig::default() };
        let words: &[(&str, &[KnownMeaning<'_>])] = &[
            ("pooch", &[(MeaningKind::Name, "dog", Source::Llm)]),
            ("snarling", &[(MeaningKind::Short, "showing its teeth", Source::Llm)]),
        ];
        let glosses = glosses_by(in_place, words);
        assert_eq!(glosses.of("A Pooch, snarling at the boy!").text(), "a dog showing its teeth at the boy");
        assert_eq!(glosses.of("a snarling pooch").text(), "a dog showing its teeth");
        assert_eq!(glosses.of("a dog at the boy").text(), "a dog at the boy");
    }

    #[test]
    fn an_edit_of_the_knowledge_changes_the_prompt() {
        let llm = (MeaningKind::Name, "dog", Source::Llm);
        let person = (MeaningKind::Name, "small brown dog", Source::Person);
        assert_eq!(glosses(&[("pooch", &[llm])]).of("pooch").text(), "pooch ( dog )");
        assert_eq!(
            glosses(&[("pooch", &[llm, person])]).of("pooch").text(),
            "pooch ( small brown dog | dog )"
        );
        assert_eq!(glosses(&[]).of("pooch").text(), "pooch");
    }

    #[test]
    fn what_looks_like_a_separator_cannot_end_a_gloss() {
        let odd = (MeaningKind::Name, "dog ) | ( cat", Source::Llm);
        let only_signs = (MeaningKind::Name, ")|(", Source::Llm);
        assert_eq!(glosses(&[("pooch", &[only_signs, odd])]).of("(pooch) | x").text(), "pooch ( dog cat ) x");
    }
}
