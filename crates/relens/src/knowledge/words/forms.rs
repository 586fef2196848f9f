//! Words under any of their forms: what is known of "pooch" tells what "pooches" are.

use super::{ENGLISH, Meaning, Words};
use crate::english::Vocabulary;
use crate::english::inflection::{Inflection, inflected, readings};
use crate::english::words::is_listed;

/// Words before which the head of a noun phrase stands.
const AFTER_THE_HEAD: &str = "\
    of with in on at by for from under over that to into near behind up down off out around along across above \
    between against through like and";

/// A meaning of a phrase as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// The meaning, in the form that the phrase was typed in.
    pub text: String,
    /// The meaning as it is known.
    pub meaning: Meaning,
    /// The word that has it.
    pub word: String,
}

impl Words {
    /// What an English phrase in lower case means: by its own entry, or else by that of another of its forms, the
    /// meanings brought into the form that was typed. `captions` decide how a form is written.
    pub fn meanings(&self, phrase: &str, captions: &Vocabulary) -> Vec<Form> {
        if let Some(word) = self.get(phrase, ENGLISH) {
            let form =
                |meaning: Meaning| Form { text: meaning.text.clone(), meaning, word: phrase.to_owned() };
            return word.meanings.into_iter().map(form).collect();
        }
        let mut found: Vec<Form> = Vec::new();
        let (first, rest) =
            phrase.split_once(' ').map_or((phrase, None), |(first, rest)| (first, Some(rest)));
        self.forms_of(first, captions, phrase, &mut found, |word| {
            rest.map_or_else(|| word.to_owned(), |rest| format!("{word} {rest}"))
        });
        if let Some((before, last)) = phrase.rsplit_once(' ') {
            self.forms_of(last, captions, phrase, &mut found, |word| format!("{before} {word}"));
        }
        found
    }

    /// Adds what is known of other forms of the `inflected_word` of a phrase, which `put` puts back into the phrase.
    fn forms_of(
        &self,
        inflected_word: &str,
        captions: &Vocabulary,
        typed: &str,
        found: &mut Vec<Form>,
        put: impl Fn(&str) -> String,
    ) {
        let mut bases = readings(inflected_word);
        bases.push((inflected_word.to_owned(), Inflection::Base));
        for (base, to) in bases {
            for from in [Inflection::Base, Inflection::S, Inflection::Ing, Inflection::Ed] {
                for written in inflected(&base, from) {
                    let phrase = put(&written);
                    if phrase == typed {
                        continue;
                    }
                    let Some(word) = self.get(&phrase, ENGLISH) else { continue };
                    for meaning in word.meanings {
                        let Some(text) = carried_over(&meaning.text, from, to, captions) else { continue };
                        if text != typed && found.iter().all(|known| known.text != text) {
                            found.push(Form { text, meaning, word: phrase.clone() });
                        }
                    }
                }
            }
        }
    }
}

/// A meaning in the form `from` as it reads in the form `to`; `None` where captions know no such form.
fn carried_over(text: &str, from: Inflection, to: Inflection, captions: &Vocabulary) -> Option<String> {
    if from == to {
        return Some(text.to_owned());
    }
    let words: Vec<&str> = text.split(' ').collect();
    let head =
        words.iter().skip(1).position(|word| is_listed(AFTER_THE_HEAD, word)).unwrap_or(words.len() - 1);
    let verb = [from, to].iter().any(|form| matches!(form, Inflection::Ing | Inflection::Ed));
    // A verb comes first in its phrase; what ends in "s" may be a verb or a noun, which comes last.
    let places = if verb || head == 0 { vec![0] } else { vec![head, 0] };
    places.into_iter().find_map(|place| {
        let word = words.get(place)?;
        let bases: Vec<String> = if from == Inflection::Base {
            vec![(*word).to_owned()]
        } else {
            let readings = readings(word).into_iter().filter(|(_, form)| *form == from);
            readings.map(|(base, _)| base).filter(|base| captions.count(base) > 0).collect()
        };
        let written = bases.iter().flat_map(|base| inflected(base, to));
        let best = written.max_by_key(|written| captions.count(written))?;
        if captions.count(&best) == 0 {
            return None;
        }
        let mut changed = words.clone();
        if let Some(slot) = changed.get_mut(place) {
            *slot = &best;
        }
        Some(changed.join(" "))
    })
}

#[cfg(test)]
mod tests {
    use super::super::MeaningKind;
    use super::super::tests::words;
    use super::*;

    fn texts(phrase: &str) -> Vec<String> {
        let words = words(&[
            ("pooch", &[(MeaningKind::Name, "dog")]),
            ("leap", &[(MeaningKind::Name, "jump")]),
            ("clambering", &[(MeaningKind::Short, "climbing up")]),
            ("biddy", &[(MeaningKind::Plain, "woman with grey hair")]),
            ("flying disc", &[(MeaningKind::Name, "frisbee")]),
        ]);
        let captions = Vocabulary::of_captions([
            "dogs jumped jumping jumps climbs climbed climb women frisbees dog jump climbing woman frisbee",
        ]);
        words.meanings(phrase, &captions).into_iter().map(|form| form.text).collect()
    }

    #[test]
    fn the_inflection_is_carried_over() {
        for (typed, expected) in [
            ("pooch", "dog"),
            ("pooches", "dogs"),
            ("leapt", "jumped"),
            ("leaping", "jumping"),
            ("leaps", "jumps"),
            ("clambered", "climbed up"),
            ("clamber", "climb up"),
            ("biddies", "women with grey hair"),
            ("flying discs", "frisbees"),
        ] {
            assert_eq!(texts(typed), [expected], "{typed}");
        }
    }

    #[test]
    fn what_is_not_known_means_nothing() {
        for typed in ["", "zebra", "poochy", "disc", "flying"] {
            assert!(texts(typed).is_empty(), "{typed}");
        }
    }
}
