//! Talk around a request: "can you find me the one where two dogs run, I think it was evening".

use super::candidates::Change;
use crate::english::words::words;

/// Words that ask, guess and greet, and may stand in a part of a text that shows nothing.
const TALK: &[&str] = &[
    "a", "able", "after", "an", "and", "any", "anything", "are", "be", "believe", "bell", "bring", "call",
    "can", "chance", "could", "couldn", "d", "did", "dig", "do", "does", "don", "fetch", "find", "for", "get",
    "give", "got", "guess", "had", "has", "have", "hello", "help", "hey", "hi", "hunting", "i", "id", "idea",
    "if", "im", "image", "in", "is", "it", "just", "kind", "know", "like", "ll", "look", "looking", "love",
    "luck", "m", "match", "matches", "matching", "maybe", "me", "mind", "my", "need", "of", "ok", "okay",
    "one", "ones", "or", "out", "perhaps", "photo", "pic", "picture", "please", "pls", "possible", "pretty",
    "pull", "re", "remember", "remind", "ring", "s", "search", "searching", "see", "shot", "show", "snap",
    "so", "something", "somewhere", "sort", "sure", "t", "tell", "thank", "thanks", "that", "the", "them",
    "there", "think", "this", "those", "to", "track", "u", "um", "up", "ve", "want", "wanted", "was", "we",
    "well", "were", "what", "whatever", "where", "which", "who", "will", "with", "would", "you", "your", "him",
    "her", "us",
];
/// Words of [`TALK`] that a request begins with and a description does not.
const OPENING: &[&str] = &[
    "any", "anything", "believe", "bring", "can", "could", "d", "did", "dig", "find", "for", "get", "give",
    "got", "guess", "have", "hello", "hey", "hi", "hunting", "i", "id", "im", "image", "it", "just", "like",
    "ll", "m", "maybe", "me", "need", "of", "ok", "okay", "perhaps", "photo", "pic", "picture", "please",
    "pls", "pull", "remember", "s", "search", "searching", "see", "shot", "show", "snap", "so", "that",
    "there", "think", "this", "to", "u", "um", "us", "ve", "want", "wanted", "was", "we", "well", "were",
    "where", "which", "will", "would", "you",
];
/// A part is talk if at least so much of its words is.
const TALK_SHARE: f64 = 0.75;
/// The fewest words that may be left.
const FEWEST_LEFT: usize = 2;

/// The text without talk, and what was dropped; as it is if nothing would be left.
pub(super) fn without_chat(text: &str) -> (String, Vec<Change>) {
    let unchanged = || (text.to_owned(), Vec::new());
    let (talk, kept): (Vec<&str>, Vec<&str>) = parts(text).into_iter().partition(|part| is_talk(part));
    if kept.is_empty() {
        return unchanged();
    }
    let mut dropped: Vec<String> = talk.into_iter().map(|part| part.trim().to_owned()).collect();
    let joined = kept.into_iter().map(str::trim).collect::<Vec<_>>().join(" ");
    let all = words(&joined);
    let is_opening = |word: &str| OPENING.binary_search(&word).is_ok();
    // "That" and "there" alone open many a description; with a word that asks beside them they open a request.
    let opening = all.iter().take_while(|word| is_opening(&word.text)).count();
    let start = all.get(opening).map_or(joined.len(), |word| word.range.start);
    let (before, rest) = joined.split_at_checked(start).unwrap_or(("", &joined));
    let mut rest = rest.trim_end_matches([' ', ',', ';', '?', '!']);
    if let Some(shorter) = ["please", "thanks"].iter().find_map(|word| rest.strip_suffix(word)) {
        rest = shorter.trim_end_matches([' ', ',', ';']);
    }
    if words(rest).len() < FEWEST_LEFT {
        return unchanged();
    }
    if !before.trim().is_empty() {
        dropped.insert(0, before.trim().to_owned());
    }
    // A question mark alone is no talk that anybody wants to hear of.
    let changes = dropped.into_iter().map(|words| Change::Dropped { words }).collect();
    (rest.to_owned(), changes)
}

/// The parts between marks that end or part sentences, each with its mark.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((position, character)) = characters.next() {
        let ends = matches!(character, '.' | '?' | '!' | ';' | ',')
            && characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        if ends {
            let end = position + character.len_utf8();
            parts.extend(text.get(start..end));
            start = end;
        }
    }
    parts.extend(text.get(start..).filter(|rest| !rest.trim().is_empty()));
    parts
}

/// Whether a part is talk: nearly all of its words are, and it asks. A mark by itself is none.
fn is_talk(part: &str) -> bool {
    let words = words(part);
    let talk = words.iter().filter(|word| TALK.contains(&word.text.as_ref())).count();
    words.len() > 1 && talk as f64 >= TALK_SHARE * words.len() as f64
        || words.len() == 1 && words.iter().all(|word| OPENING.binary_search(&word.text.as_ref()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_is_dropped_and_told() {
        for (typed, expected) in [
            ("find me the one where two mutts run", "the one where two mutts run"),
            ("can you show me a picture of a dog in snow, please?", "a dog in snow"),
            ("the girl in red on a swing, got it?", "the girl in red on a swing"),
            ("hey, where's that pic of the little dogs in the yard?", "the little dogs in the yard"),
            ("I think it was a man with a kite. Any idea where it is?", "a man with a kite."),
        ] {
            let (text, changes) = without_chat(typed);
            assert_eq!(text, expected);
            assert!(!changes.is_empty(), "{typed}");
        }
    }

    #[test]
    fn descriptions_stay_as_they_are() {
        for text in ["A dog runs .", "man , woman", "find", "two dogs, one of them black", "", "show me", "没有 no dog"] {
            assert_eq!(without_chat(text), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn the_openings_are_sorted_for_their_binary_search() {
        assert!(OPENING.is_sorted());
    }
}
