//! Where a description goes, and how it reads there.

use crate::english::article::with_article;
use crate::english::words::is_listed;
use crate::knowledge::Mention;

/// Words before which a noun phrase ends.
const ENDS_PHRASE: &str = "\
    above across against along and around at behind beside between by for from hanging held in into near of on or \
    over through to under with without";
const STATES: &str = "held laid set seen worn spread hung made";
const PREPOSITIONS: &str = "\
    above against along around at behind beside between by from in inside into near of on onto over through to \
    under with";

/// What tells, behind a participle, of a state and not of a thing.
const AFTER_A_STATE: &str = "low still together upright weightless";

/// Whether a noun phrase ends before this word.
pub(super) fn ends_phrase(word: &str) -> bool {
    is_listed(ENDS_PHRASE, word)
}

/// The text with descriptions right behind the mentions, which stand in it from left to right.
pub(super) fn woven(text: &str, insertions: &[(&Mention, &[&str])]) -> String {
    let mut result = String::with_capacity(text.len() + 64);
    let mut copied = 0;
    for (mention, descriptions) in insertions {
        let end = mention.range.end.max(copied);
        result.push_str(text.get(copied..end).unwrap_or_default());
        let clause = clause(descriptions);
        result.push_str(if is_kind(&clause) { ", " } else { " " });
        result.push_str(&clause);
        copied = end;
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    result
}

/// "with a long tail, round ears and whiskers held low": what it has first, then what it is.
fn clause(descriptions: &[&str]) -> String {
    let (kinds, others): (Vec<&str>, Vec<&str>) = descriptions.iter().partition(|text| is_kind(text));
    let (states, parts): (Vec<&str>, Vec<&str>) = others.into_iter().partition(|text| is_state(text));
    let parts: Vec<String> = parts.into_iter().map(with_article).collect();
    let parts = match parts.as_slice() {
        [] => String::new(),
        [only] => format!("with {only}"),
        [first @ .., last] => format!("with {} and {last}", first.join(", ")),
    };
    let [kinds, states] = [kinds, states].map(|texts| texts.into_iter().map(str::to_owned));
    let clauses = kinds.chain(std::iter::once(parts)).chain(states);
    clauses.filter(|clause| !clause.is_empty()).collect::<Vec<_>>().join(", ")
}

/// Whether a description says what the entity is, as "an aircraft carrier" does.
fn is_kind(description: &str) -> bool {
    description.starts_with("a ") || description.starts_with("an ")
}

/// Whether a description says what state the entity is in, as "held in the hand" or "on a pole" do.
fn is_state(description: &str) -> bool {
    let mut words = description.split_whitespace();
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let participle = first.ends_with("ing") || first.ends_with("ed") || is_listed(STATES, first);
    is_listed(PREPOSITIONS, first)
        || participle && (is_listed(PREPOSITIONS, second) || is_listed(AFTER_A_STATE, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_read_naturally() {
        for (descriptions, expected) in [
            (&["wagging tail"][..], "with a wagging tail"),
            (&["four legs", "wet nose"], "with four legs and a wet nose"),
            (&["held in the mouth"], "held in the mouth"),
            (
                &["orange rim", "thick grey fur", "on a pole"],
                "with an orange rim and thick grey fur, on a pole",
            ),
            (&["dark wet nostrils at the tip"], "with dark wet nostrils at the tip"),
            (&["an aircraft carrier", "flat deck"], "an aircraft carrier, with a flat deck"),
            (&["glass front, wide doors"], "with a glass front, wide doors"),
            (
                &["red and blue bands", "m-shaped mark", "sitting upright"],
                "with red and blue bands and an m-shaped mark, sitting upright",
            ),
        ] {
            assert_eq!(clause(descriptions), expected);
        }
    }
}
