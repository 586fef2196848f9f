//! Talk around a request: "can you find me the one where two dogs run, I think it was evening".

use super::candidates::Rewording;
use crate::english::words::{is_listed, words};

/// Words that ask, guess and greet; a part of a text that has no others but [`SMALL`] ones shows nothing.
const TALK: &str = "\
    able after again ago album any anybody anyone anything anywhere appreciate archive asap available awesome aww be \
    been believe bell bet bother bring call can chance chances collection come cool could couldn cute d day \
    definitely did dig do does doesn don else ever exactly exist exists favorite favourite fetch find forget funny \
    gallery get give go good got great guess had haha happen has have hello help her here hey hi him hmm how hunting \
    i id idea if im image it just kind kindly know last lately let library like ll lol look looking love lovely luck \
    m match matches matching maybe me memory might mind moment more must my name need nice now often oh ok okay once \
    one ones out over perhaps photo photos pic picture pictures please pls possible possibly post posted pretty \
    probably pull quick quickly re real really recall reckon remember remembered remind right ring s saved say \
    search searching see seem seems seen send shot should show snap so somehow something somewhere soon sorry sort \
    spot still such super sure swear t take talking tell than thank thanks that them then there think this those \
    though time to today track try trying u um up us used ve very wait want wanted was way we week well were what \
    whatever where whether which whichever who why will wish wonder wondering would wow yeah yes yesterday you your";
/// Words that every sentence has.
const SMALL: &str = "\
    a an and are at by for from in is its of on or the with";
/// Words that a request begins with.
const OPENING: &str = "\
    about again any anything are been believe bring can certain chance chances could d did dig do does favorite \
    favourite find for get give got guess haha have hello hey hi hmm how hunting i id im image is it just let like \
    ll look m maybe me my need of oh ok okay perhaps photo pic picture please pls pretty pull quick remember s \
    search searching see send shot show snap so still sure that there think this to u um up us ve want wanted was we \
    well were what where which who will with would you";
/// Words of [`OPENING`] that descriptions begin with, too: they open a request beside others only.
const WEAK: &str = "\
    about again any anything are been believe bring can certain d dig for got hunting id image is it just like ll \
    look looking love m me my of photo pic picture pretty pull quick re right s search searching see shot show snap \
    so still sure t that there this to u up us ve wanted was well were what where which with";
/// Words of [`TALK`] that make no talk by themselves.
const SAYS_LITTLE: &str = "\
    are for is it just like of one so still that this to up was well were where which";
/// Words of [`OPENING`] that ask together.
const ASKING: &[(&str, &str)] = &[
    ("anything", "like"),
    ("any", "chance"),
    ("bring", "up"),
    ("can", "i"),
    ("can", "u"),
    ("can", "we"),
    ("can", "you"),
    ("dig", "up"),
    ("hunting", "for"),
    ("id", "like"),
    ("id", "love"),
    ("look", "for"),
    ("look", "up"),
    ("looking", "for"),
    ("image", "of"),
    ("photo", "of"),
    ("pic", "of"),
    ("picture", "of"),
    ("pull", "up"),
    ("shot", "of"),
    ("search", "for"),
    ("searching", "for"),
    ("show", "me"),
    ("what", "was"),
    ("where", "s"),
];
/// Talk at the end that no mark parts from the rest, the longest first.
const AFTERWARDS: &[&str] =
    &["please and thanks", "for me please", "for me", "thank you", "please", "thanks", "pls"];
/// The fewest words that may be left.
const FEWEST_LEFT: usize = 2;

/// The text without talk, and what was dropped; as it is if nothing would be left.
pub(super) fn without_chat(text: &str) -> (String, Vec<Rewording>) {
    let unchanged = || (text.to_owned(), Vec::new());
    let (talk, kept): (Vec<&str>, Vec<&str>) = parts(text).into_iter().partition(|part| is_talk(part));
    if kept.is_empty() {
        return unchanged();
    }
    let mut dropped: Vec<String> = Vec::new();
    let mut remaining: Vec<&str> = Vec::new();
    for part in kept.into_iter().map(str::trim) {
        let (opening, rest) = part.split_at_checked(opening(part)).unwrap_or(("", part));
        dropped.extend(Some(opening.trim().to_owned()).filter(|opening| !opening.is_empty()));
        remaining.push(rest);
    }
    dropped.extend(talk.into_iter().map(|part| part.trim().to_owned()));
    let joined = remaining.join(" ");
    let mut rest = joined.trim_end_matches([' ', ',', ';', '?', '!']);
    if let Some(shorter) =
        AFTERWARDS.iter().find_map(|talk| rest.strip_suffix(talk)?.strip_suffix([' ', ',']))
    {
        rest = shorter.trim_end_matches([' ', ',', ';']);
    }
    if words(rest).len() < FEWEST_LEFT {
        return unchanged();
    }
    // A question mark alone is no talk that anybody wants to hear of.
    let changes = dropped.into_iter().map(|words| Rewording::Dropped { words }).collect();
    (rest.to_owned(), changes)
}

/// How many bytes of a part ask or guess, "I think it was", before what it tells of.
fn opening(part: &str) -> usize {
    let all = words(part);
    let opening: Vec<&str> =
        all.iter().map(|word| word.text.as_ref()).take_while(|word| is_listed(OPENING, word)).collect();
    let together = |pair: &[&str]| matches!(pair, [left, right] if ASKING.contains(&(*left, *right)));
    let asks = opening.iter().any(|word| !is_listed(WEAK, word)) || opening.windows(2).any(together);
    if asks { all.get(opening.len()).map_or(0, |word| word.range.start) } else { 0 }
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
    let is_small = |word: &&str| is_listed(SMALL, word);
    let telling: Vec<&str> =
        words.iter().map(|word| word.text.as_ref()).filter(|word| !is_small(word)).collect();
    let asks = telling.iter().any(|word| !is_listed(SAYS_LITTLE, word));
    asks && telling.iter().all(|word| is_listed(TALK, word))
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
            ("do you have that dog in the surf, was it in your collection?", "dog in the surf"),
            ("look up two dogs nose to nose, so cute", "two dogs nose to nose"),
            ("get a brown dog with a frisbee for me", "a brown dog with a frisbee"),
            ("any chance you've got the girl on a swing", "the girl on a swing"),
            ("can you find me the girl on a swing, I think it was evening", "the girl on a swing, evening"),
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
            "can of soda on a table",
            "US flag on a pole",
            "looking over a fence",
            "love seat in a garden",
            "who knows",
        ] {
            assert_eq!(without_chat(text), (text.to_owned(), Vec::new()));
        }
    }
}
