//! UTF-8 whose bytes were altered on the way, and mojibake in the middle of text that is none.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::badness::is_bad;
use super::code_pages::CodePage;

/// The bytes of U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Puts 0xa0 back where a program took it for a space, in what would then be UTF-8 of a likely character.
///
/// `Ã ` alone is the word "à" that has lost its 0xa0 beside the space behind it, unless the word goes on as those that
/// are contracted with it in Portuguese do.
pub(super) fn with_spaces_restored(bytes: &[u8]) -> Vec<u8> {
    let mut restored = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let length = match rest {
            // One space stands for two: the letter's second byte, and the one behind the word.
            [0xc3, b' ', after @ ..] if is_word_a_grave(after) => {
                restored.extend_from_slice(&[0xc3, 0xa0, b' ']);
                rest = after;
                continue;
            }
            [0xc2 | 0xc3 | 0xc5 | 0xce | 0xd0 | 0xd9, b' ', ..] => 2,
            [0xe2 | 0xe3, b' ', third, ..] if is_plain_continuation(*third) => 3,
            [0xe0..=0xe3, second, b' ', ..] if is_plain_continuation(*second) => 3,
            [0xf0, b' ', 0x80..=0xbf, 0x80..=0xbf, ..]
            | [0xf0, 0x80..=0xbf, b' ', 0x80..=0xbf, ..]
            | [0xf0, 0x80..=0xbf, 0x80..=0xbf, b' ', ..] => 4,
            _ => {
                restored.push(first);
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
        };
        let (sequence, after) = rest.split_at(length);
        restored.extend(sequence.iter().map(|&byte| if byte == b' ' { 0xa0 } else { byte }));
        rest = after;
    }
    restored
}

fn is_word_a_grave(after: &[u8]) -> bool {
    ![&b" "[..], b"quele", b"quela", b"quilo", b"s "].iter().any(|goes_on| after.starts_with(goes_on))
}

/// Whether a byte continues UTF-8, neither as an ellipsis (0x85) nor as what a space may have been (0xa0).
fn is_plain_continuation(byte: u8) -> bool {
    matches!(byte, 0x80..=0x84 | 0x86..=0x9f | 0xa1..=0xbf)
}

/// Replaces UTF-8 in which a byte was lost, and is 0x1a or now and then `?`, by U+FFFD.
pub(super) fn with_lost_characters_replaced(bytes: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let lossy = lossy_length(rest);
        match lossy {
            0 => replaced.push(first),
            _ => replaced.extend_from_slice(REPLACEMENT),
        }
        rest = rest.get(lossy.max(1)..).unwrap_or_default();
    }
    replaced
}

/// Bytes of the lossy sequence at the start, zero if there is none.
fn lossy_length(bytes: &[u8]) -> usize {
    /// A byte that was lost, for certain or by the looks of it.
    const fn lost(byte: u8) -> bool {
        matches!(byte, 0x1a | b'?')
    }
    /// A byte that continues UTF-8, or was lost for certain.
    const fn any(byte: u8) -> bool {
        matches!(byte, 0x1a | 0x80..=0xbf)
    }
    match *bytes {
        [0xc2..=0xdf, 0x1a, ..] | [0xc2 | 0xc3, b'?', ..] => 2,
        [0xed, 0xa0..=0xaf, third, 0xed, 0xb0..=0xbf, sixth, ..]
            if (lost(third) && (lost(sixth) || any(sixth))) || (any(third) && lost(sixth)) =>
        {
            6
        }
        [0xe0..=0xef, second, third, ..] if (lost(second) && any(third)) || (any(second) && lost(third)) => 3,
        [0xf0..=0xf4, second, third, fourth, ..]
            if (lost(second) && any(third) && any(fourth))
                || (any(second) && lost(third) && any(fourth))
                || (any(second) && any(third) && lost(fourth)) =>
        {
            4
        }
        [0x1a, ..] => 1,
        _ => 0,
    }
}

/// Decodes UTF-8, the variants included that write a null in two bytes (Java) or each half of a UTF-16 pair in three
/// (CESU-8).
pub(super) fn decode_utf8_variants(bytes: &[u8]) -> Option<String> {
    let mut decoded = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (character, length) = match *rest {
            [0xc0, 0x80, ..] | [0xc0, b'\n'] => ('\0', 2),
            [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ 0x80..=0xbf, ..]
            | [0xed, a @ 0xa0..=0xaf, b @ 0x80..=0xbf, 0xed, c @ 0xb0..=0xbf, d @ b'\n'] => {
                let [a, b, c, d] = [a & 0x0f, b & 0x3f, c & 0x0f, d & 0x3f].map(u32::from);
                (char::from_u32(0x1_0000 + (a << 16) + (b << 10) + (c << 6) + d)?, 6)
            }
            _ => {
                // Everything up to the next byte that could begin a variant is ordinary UTF-8, which the standard
                // library checks faster.
                let plain = rest.iter().skip(1).position(|&byte| matches!(byte, 0xc0 | 0xed));
                let (plain, after) = rest.split_at(plain.map_or(rest.len(), |position| position + 1));
                decoded.push_str(std::str::from_utf8(plain).ok()?);
                rest = after;
                continue;
            }
        };
        decoded.push(character);
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(decoded)
}

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
