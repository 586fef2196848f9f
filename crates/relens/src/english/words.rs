//! A text as words, each with its place.

use std::borrow::Cow;
use std::ops::Range;

/// One word, or one character of a script that is written without spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WordInText<'a> {
    /// In lower case, without a possessive ending.
    pub(crate) text: Cow<'a, str>,
    /// Where it stands in the text, in bytes.
    pub(crate) range: Range<usize>,
    /// Whether it can follow the word before it inside one name: nothing stands between them but spaces, hyphens or
    /// apostrophes.
    pub(crate) joins: bool,
    /// Whether a name may begin here: not behind the hyphen or apostrophe of a compound.
    pub(crate) may_begin: bool,
    /// Whether a name may end here: not before the hyphen or apostrophe of a compound.
    pub(crate) may_end: bool,
}

/// Words that tell how things stand to each other.
pub(crate) const FUNCTION_WORDS: &str = "\
    a an and are around as at behind by down for from her his in into is its near of on or over that the their \
    through to under up while who with without no not";

/// Whether words of this character's script stand beside each other without spaces.
pub(crate) fn is_unspaced(character: char) -> bool {
    matches!(character,
        '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{323AF}')
}

pub(crate) fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}' | '\u{2BC}')
}

fn is_hyphen(character: char) -> bool {
    matches!(character, '-' | '\u{2010}' | '\u{2011}')
}

/// Combining marks belong to the letter before them.
fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '\u{300}'..='\u{36F}')
}

/// Cuts `text` into words.
pub(crate) fn words(text: &str) -> Vec<WordInText<'_>> {
    let mut words: Vec<WordInText<'_>> = Vec::new();
    let mut characters = text.char_indices().peekable();
    // The end of the last word, its possessive ending included.
    let mut last_end = 0;
    while let Some((start, character)) = characters.next() {
        if !is_word_character(character) {
            continue;
        }
        let mut end = start + character.len_utf8();
        if !is_unspaced(character) {
            while let Some(&(position, next)) = characters.peek() {
                if !is_word_character(next) || is_unspaced(next) {
                    break;
                }
                end = position + next.len_utf8();
                characters.next();
            }
        }
        let range = start..end;
        let gap = if words.is_empty() { "" } else { text.get(last_end..start).unwrap_or_default() };
        last_end = end;
        let binds = |character: char| is_hyphen(character) || is_apostrophe(character);
        let compound = !gap.is_empty() && gap.chars().all(binds);
        // A possessive ending ("the dog's tail") is no word of its own: the name may end before it.
        if compound && text.get(range.clone()) == Some("s") && gap.chars().all(is_apostrophe) {
            continue;
        }
        let joins =
            !words.is_empty() && gap.chars().all(|character| binds(character) || character.is_whitespace());
        if let Some(before) = words.last_mut().filter(|_| compound) {
            before.may_end = false;
        }
        words.push(WordInText {
            text: lower_case(text, &range),
            range,
            joins,
            may_begin: !compound,
            may_end: true,
        });
    }
    words
}

/// Whether a word is in a list of words parted by spaces.
pub(crate) fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

fn lower_case<'a>(text: &'a str, range: &Range<usize>) -> Cow<'a, str> {
    let word = text.get(range.clone()).unwrap_or_default();
    if word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text.into_owned()).collect()
    }

    #[test]
    fn words_are_lower_case_and_whole() {
        assert_eq!(texts("A Dog's ball, Éclair 2nd"), ["a", "dog", "ball", "éclair", "2nd"]);
        assert_eq!(texts("一只dog在草地"), ["一", "只", "dog", "在", "草", "地"]);
        assert_eq!(texts(" -'’ … "), Vec::<String>::new());
    }

    #[test]
    fn only_spaces_hyphens_and_apostrophes_join() {
        let joins: Vec<bool> = words("fire truck, red fire-truck").iter().map(|word| word.joins).collect();
        assert_eq!(joins, [false, true, false, true, true]);
    }

    #[test]
    fn a_compound_has_two_ends_only() {
        let ends: Vec<(bool, bool)> = words("man-eating jack-o'-lantern dog's")
            .iter()
            .map(|word| (word.may_begin, word.may_end))
            .collect();
        assert_eq!(
            ends,
            [(true, false), (false, true), (true, false), (false, false), (false, true), (true, true)]
        );
    }
}
