//! Talk around a request: "can you find me the one where two dogs run, I think it was evening".

use super::candidates::Rewording;
use crate::english::words::words;

/// Words that ask, guess and greet; a part of a text that has no others but [`SMALL`] ones shows nothing.
const TALK: &[&str] = &[
    "able",
    "after",
    "any",
    "anything",
    "be",
    "been",
    "believe",
    "bell",
    "bring",
    "call",
    "can",
    "chance",
    "could",
    "couldn",
    "d",
    "did",
    "dig",
    "do",
    "does",
    "doesn",
    "don",
    "else",
    "fetch",
    "find",
    "get",
    "give",
    "got",
    "guess",
    "had",
    "has",
    "have",
    "hello",
    "help",
    "her",
    "hey",
    "hi",
    "him",
    "hunting",
    "i",
    "id",
    "idea",
    "if",
    "im",
    "image",
    "it",
    "just",
    "kind",
    "know",
    "like",
    "ll",
    "look",
    "looking",
    "love",
    "luck",
    "m",
    "match",
    "matches",
    "matching",
    "maybe",
    "me",
    "mind",
    "my",
    "need",
    "ok",
    "okay",
    "one",
    "ones",
    "out",
    "perhaps",
    "photo",
    "photos",
    "pic",
    "picture",
    "pictures",
    "please",
    "pls",
    "possible",
    "pretty",
    "pull",
    "re",
    "remember",
    "remind",
    "ring",
    "s",
    "search",
    "searching",
    "see",
    "shot",
    "show",
    "snap",
    "so",
    "something",
    "somewhere",
    "sort",
    "still",
    "sure",
    "t",
    "tell",
    "thank",
    "thanks",
    "that",
    "them",
    "there",
    "think",
    "this",
    "those",
    "to",
    "track",
    "try",
    "trying",
    "u",
    "um",
    "up",
    "us",
    "ve",
    "want",
    "wanted",
    "was",
    "we",
    "well",
    "were",
    "what",
    "whatever",
    "where",
    "whether",
    "which",
    "who",
    "will",
    "would",
    "you",
    "your",
];
/// Words that every sentence has.
const SMALL: &[&str] =
    &["a", "an", "and", "are", "at", "by", "for", "from", "in", "is", "its", "of", "on", "or", "the", "with"];
/// Words that a request begins with.
const OPENING: &[&str] = &[
    "any",
    "anything",
    "are",
    "been",
    "believe",
    "bring",
    "can",
    "could",
    "d",
    "did",
    "dig",
    "find",
    "for",
    "get",
    "give",
    "got",
    "guess",
    "have",
    "hello",
    "hey",
    "hi",
    "hunting",
    "i",
    "id",
    "im",
    "image",
    "is",
    "it",
    "just",
    "like",
    "ll",
    "m",
    "maybe",
    "me",
    "need",
    "of",
    "ok",
    "okay",
    "perhaps",
    "photo",
    "pic",
    "picture",
    "please",
    "pls",
    "pull",
    "remember",
    "s",
    "search",
    "searching",
    "see",
    "shot",
    "show",
    "snap",
    "so",
    "still",
    "that",
    "there",
    "think",
    "this",
    "to",
    "u",
    "um",
    "us",
    "ve",
    "want",
    "wanted",
    "was",
    "we",
    "well",
    "were",
    "where",
    "which",
    "will",
    "would",
    "you",
];
/// Words of [`OPENING`] that descriptions begin with, too: they open a request beside others only.
const WEAK: &[&str] = &[
    "are", "for", "is", "it", "just", "like", "of", "so", "still", "that", "this", "to", "was", "well",
    "were", "where", "which",
];
/// The fewest words that may be left.
const FEWEST_LEFT: usize = 2;

/// The text without talk, and what was dropped; as it is if nothing would be left.
pub(super) fn without_chat(text: &str) -> (String, Vec<Rewording>) {
    let unchanged = || (text.to_owned(), Vec::new());
    let (talk, kept): (Vec<&str>, Vec<&str>) = parts(text).into_iter().partition(|part| is_talk(part));
    if kept.is_empty() {
        return unchanged();
    }
    let mut dropped: Vec<String> = talk.into_iter().map(|part| part.trim().to_owned()).collect();
    let joined = kept.into_iter().map(str::trim).collect::<Vec<_>>().join(" ");
    let all = words(&joined);
    let is_opening = |word: &str| OPENING.binary_search(&word).is_ok();
    let opening = all.iter().take_while(|word| is_opening(&word.text)).count();
    let asks = all.iter().take(opening).any(|word| !WEAK.contains(&word.text.as_ref()));
    let opening = if asks { opening } else { 0 };
    let start = if opening == 0 { 0 } else { all.get(opening).map_or(joined.len(), |word| word.range.start) };
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
    let changes = dropped.into_iter().map(|words| Rewording::Dropped { words }).collect();
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

/// Whether a part is talk: it asks or guesses, and has only small words beside. "One" may be a number.
fn is_talk(part: &str) -> bool {
    let words = words(part);
    let is_small = |word: &&str| SMALL.contains(word);
    let telling: Vec<&str> =
        words.iter().map(|word| word.text.as_ref()).filter(|word| !is_small(word)).collect();
    let asks = telling.iter().any(|word| *word != "one" && !WEAK.contains(word));
    asks && telling.iter().all(|word| TALK.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn talk_is_dropped_and_told() {
        for (typed, expected) in [
            ("find me the one where two mutts run", "the one where two mutts run"),
            // "A picture of" is filler, which is dropped after talk.
            ("can you show me a picture of a dog in snow, please?", "a picture of a dog in snow"),
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
        for text in [
            "A dog runs .",
            "man , woman",
            "find",
            "two dogs, one of them black",
            "",
            "show me",
            "没有 no dog",
        ] {
            assert_eq!(without_chat(text), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn the_openings_are_sorted_for_their_binary_search() {
        assert!(OPENING.is_sorted());
    }
}
