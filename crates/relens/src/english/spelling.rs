//! Which word a misspelt one was meant to be.
//!
//! A word that is none is corrected to one of the captions' vocabulary that one typing mistake turns into it (Damerau,
//! 1964), or that it looks like ("gr@55"), unless it is a name with a capital inside the sentence. Of several, the one that
//! captions would put between its neighbours is taken, after the noisy channel of Kernighan, Church and Gale (1990) with
//! every mistake as likely as any other. Short words are corrected only where their neighbours speak for it.

use std::ops::Range;

use super::vocabulary::{SHORT, stands_for_a_letter};
use super::word_pairs::{Context, EDGE};
use super::words::{WordInText, words};
use super::{Vocabulary, WordList, WordPairs};

/// A word that was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// As it was typed.
    pub from: String,
    /// As it is now.
    pub to: String,
}

/// What corrections are made by.
pub(crate) struct RightWords<'a> {
    /// The words that captions use.
    pub(crate) vocabulary: &'a Vocabulary,
    /// What stands beside them.
    pub(crate) pairs: &'a WordPairs,
    /// Words that are right, whether captions use them or not.
    pub(crate) listed: &'a WordList,
}

/// A stretch of the text that was meant as one word.
struct TypedWord<'a> {
    range: Range<usize>,
    /// In lower case.
    text: String,
    /// As the rest of relens sees it; none where a character stands for a letter.
    word: Option<WordInText<'a>>,
}

/// The text with misspelt words corrected. Words that are listed are right, and so are those that `is_known`.
pub(crate) fn corrected(
    text: &str,
    right_words: &RightWords<'_>,
    is_known: impl Fn(&WordInText<'_>) -> bool,
) -> (String, Vec<Correction>) {
    let typed = typed_words(text);
    let mut result = String::with_capacity(text.len());
    let mut corrections = Vec::new();
    let (mut copied, mut left) = (0, EDGE.to_owned());
    let mut context = None;
    for (position, word) in typed.iter().enumerate() {
        let before = std::mem::replace(&mut left, word.text.clone());
        let is_right = right_words.listed.contains(&word.text)
            || is_contraction(text, &word.range)
            || word.word.as_ref().is_some_and(&is_known);
        let candidates = if is_right { Vec::new() } else { right_words.vocabulary.candidates(&word.text) };
        if candidates.is_empty() {
            continue;
        }
        let own = text.get(word.range.clone()).unwrap_or_default();
        // A capital inside a sentence is a name, and names are in no vocabulary.
        if word.range.start > 0 && own.chars().next().is_some_and(char::is_uppercase) {
            continue;
        }
        let right = typed.get(position + 1).map_or(EDGE, |next| next.text.as_str());
        let meant = if right_words.pairs.is_empty() {
            right_words.vocabulary.correction(&word.text)
        } else {
            let context =
                context.get_or_insert_with(|| Context::new(right_words.vocabulary, right_words.pairs));
            likeliest(context, &candidates, (&before, &word.text, right))
        };
        let Some(meant) = meant else { continue };
        result.push_str(text.get(copied..word.range.start).unwrap_or_default());
        result.push_str(meant);
        copied = word.range.end;
        corrections.push(Correction { from: own.to_owned(), to: meant.to_owned() });
        meant.clone_into(&mut left);
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    (result, corrections)
}

/// The candidate that is likeliest between its neighbours. In the place of a short word it has to be likelier there than
/// anywhere.
fn likeliest<'a>(
    context: &Context<'_>,
    candidates: &[&'a str],
    (left, typed, right): (&str, &str, &str),
) -> Option<&'a str> {
    let scored = candidates.iter().map(|&candidate| (context.likelihood(left, candidate, right), candidate));
    let (score, best) = scored.max_by(|one, other| one.0.total_cmp(&other.0).then(other.1.cmp(one.1)))?;
    let supported = || score > context.likelihood_alone(best, right);
    (typed.chars().count() > SHORT || supported()).then_some(best)
}

/// The words of a text. What is written together around characters that may stand for letters is one.
fn typed_words(text: &str) -> Vec<TypedWord<'_>> {
    let mut signed: Vec<Range<usize>> = Vec::new();
    for chunk in text.split_whitespace().filter(|chunk| chunk.contains(stands_for_a_letter)) {
        let own = |character: char| character.is_alphanumeric() || stands_for_a_letter(character);
        let trimmed = chunk.trim_matches(|character| !own(character));
        let is_word = !trimmed.is_empty() && trimmed.chars().all(own);
        let start = trimmed.as_ptr() as usize - text.as_ptr() as usize;
        signed.extend(is_word.then(|| start..start + trimmed.len()));
    }
    let within = |word: &WordInText<'_>| {
        signed.iter().any(|range| range.start <= word.range.start && word.range.end <= range.end)
    };
    let plain = words(text).into_iter().filter(|word| !within(word)).map(|word| TypedWord {
        range: word.range.clone(),
        text: word.text.clone().into_owned(),
        word: Some(word),
    });
    let mut found: Vec<TypedWord<'_>> = plain.collect();
    found.extend(signed.iter().map(|range| TypedWord {
        range: range.clone(),
        text: text.get(range.clone()).unwrap_or_default().to_lowercase(),
        word: None,
    }));
    found.sort_by_key(|word| word.range.start);
    found
}

/// Whether an apostrophe binds the word to another ("wasn't", "they're"): both parts are right, and no words.
fn is_contraction(text: &str, range: &Range<usize>) -> bool {
    let is_apostrophe = |character: char| matches!(character, '\'' | '\u{2019}' | '\u{2BC}');
    let (before, after) = (text.get(..range.start), text.get(range.end..));
    let mut next = after.unwrap_or_default().chars();
    let bound = next.next().is_some_and(is_apostrophe) && next.next().is_some_and(char::is_alphabetic);
    bound || before.unwrap_or_default().ends_with(is_apostrophe)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTIONS: [&str; 4] =
        ["a boy in the snow", "a dog on the grass", "the man in black", "a bird by the sea"];

    fn text(typed: &str) -> String {
        let captions = || CAPTIONS.iter().copied().cycle().take(100);
        let file = tempfile::NamedTempFile::new().unwrap();
        super::super::word_pairs::write_pairs(captions(), &mut file.as_file()).unwrap();
        let (vocabulary, pairs) =
            (Vocabulary::of_captions(captions()), WordPairs::open(file.path()).unwrap());
        let right_words = RightWords { vocabulary: &vocabulary, pairs: &pairs, listed: &WordList::default() };
        corrected(typed, &right_words, |word| word.text == "buoy").0
    }

    #[test]
    fn neighbours_tell_which_word_was_meant() {
        for (typed, meant) in [
            ("a dgo om the gr@ss", "a dog on the grass"),
            ("A boy im the 5now .", "A boy in the snow ."),
            ("tne man in b1ack", "the man in black"),
            ("a bird vy the sea", "a bird by the sea"),
        ] {
            assert_eq!(text(typed), meant);
        }
    }

    #[test]
    fn what_may_be_right_stays() {
        for typed in [
            "a buoy in the snow",
            "the Mab in black",
            "it wasn't him",
            "write to a@dog.com",
            "xq",
            "a 4x4",
            "",
            "@ $",
            "qz qz qz",
        ] {
            assert_eq!(text(typed), typed);
        }
    }
}
