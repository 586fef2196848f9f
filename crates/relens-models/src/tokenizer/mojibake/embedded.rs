//! Mojibake in the middle of text that is none.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::badness::is_bad;
use super::code_pages::CodePage;

/// What a character could have been as a byte of UTF-8, in an encoding like Latin-1.
#[derive(Debug, Clone, Copy, Default)]
struct Clue {
    /// Bytes of the sequence that it could begin.
    length: usize,
    /// Whether it could be a byte within a sequence.
    continues: bool,
    /// Whether it also is too odd a character to be meant where mojibake is.
    continues_oddly: bool,
}

/// What is meant as often as not beside mojibake.
const DASHES_AND_QUOTATION_MARKS: &str = "–—―‘’‚“”„•…";

static CLUES: LazyLock<HashMap<char, Clue>> = LazyLock::new(|| {
    let mut clues = HashMap::<char, Clue>::new();
    for page in CodePage::LIKE_LATIN_1 {
        for (byte, character) in page.upper_half() {
            let clue = clues.entry(character).or_default();
            match byte {
                0x80..=0xbf => {
                    clue.continues = true;
                    clue.continues_oddly = !DASHES_AND_QUOTATION_MARKS.contains(character);
                }
                0xc2..=0xdf => clue.length = 2,
                0xe0..=0xef => clue.length = 3,
                // Bytes between and above these begin only characters that nothing is assigned to.
                0xf0 | 0xf3 => clue.length = 4,
                _ => {}
            }
        }
    }
    // A space may have been 0xa0.
    clues.entry(' ').or_default().continues = true;
    clues
});

/// Repairs the runs of characters that look like UTF-8 by themselves, each with `repair`.
pub(super) fn repaired(text: &str, repair: impl Fn(&str) -> String) -> String {
    let characters: Vec<(usize, Clue)> =
        text.char_indices().map(|(at, c)| (at, CLUES.get(&c).copied().unwrap_or_default())).collect();
    let byte_at = |position: usize| characters.get(position).map_or(text.len(), |&(at, _)| at);
    let mut fixed = String::with_capacity(text.len());
    let (mut position, mut copied) = (0, 0);
    while position < characters.len() {
        let end = end_of_run(&characters, position);
        if end == position {
            position += 1;
            continue;
        }
        let run = text.get(byte_at(position)..byte_at(end)).unwrap_or_default();
        // A run that is the whole text was tried before it came to this.
        if run.len() < text.len() && is_bad(run) {
            fixed.push_str(text.get(copied..byte_at(position)).unwrap_or_default());
            fixed.push_str(&repair(run));
            copied = byte_at(end);
        }
        position = end;
    }
    fixed.push_str(text.get(copied..).unwrap_or_default());
    fixed
}

/// Where the sequences end that begin here. None begins behind a character that could be part of one: to mend a piece
/// of a garble makes it worse.
fn end_of_run(characters: &[(usize, Clue)], start: usize) -> usize {
    let clue = |position: usize| characters.get(position).map(|&(_, clue)| clue).unwrap_or_default();
    if start.checked_sub(1).is_some_and(|before| clue(before).continues_oddly) {
        return start;
    }
    let mut end = start;
    loop {
        let length = clue(end).length;
        if length == 0 || !(1..length).all(|offset| clue(end + offset).continues) {
            return end;
        }
        end += length;
    }
}
