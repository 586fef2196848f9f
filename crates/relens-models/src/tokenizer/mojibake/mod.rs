//! Mojibake: text that was UTF-8 and was decoded with another encoding.
//!
//! The heuristics are those of ftfy 6.3 (Robyn Speer: "ftfy", 2019, <https://doi.org/10.5281/zenodo.2591652>;
//! Apache License 2.0), which open_clip repairs texts with: what a text is turned into decides its token ids.

mod badness;
mod byte_sequences;
mod code_pages;

use std::borrow::Cow;

use badness::is_bad;
use byte_sequences::{decode_utf8_variants, with_lost_characters_replaced, with_spaces_restored};
use code_pages::CodePage;

/// Times that a text is decoded anew, and depth of mojibake within mojibake. Each round makes a text shorter, nearly
/// always by half.
const MOST_ROUNDS: usize = 24;

/// The text with mojibake decoded as it was meant.
pub(super) fn decoded_as_meant(text: &str) -> Cow<'_, str> {
    fix(text, MOST_ROUNDS)
}

fn fix(text: &str, rounds: usize) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for left in (0..rounds).rev() {
        match fix_once(&text, left) {
            Some(fixed) if fixed != text => text = Cow::Owned(fixed),
            _ => break,
        }
    }
    text
}

/// One repair, if the text needs one and one is found.
fn fix_once(text: &str, rounds_within: usize) -> Option<String> {
    if text.is_ascii() || !is_bad(text) {
        return None;
    }
    // The first page that the whole text fits is taken: the order, ftfy's, puts the likelier ones first.
    for page in CodePage::ALL {
        if let Some(meant) = page.encode(text).and_then(|bytes| decode_utf8(bytes, page)) {
            return Some(meant);
        }
    }
    let fixed = byte_sequences::repaired(text, |run| fix(run, rounds_within).into_owned());
    if fixed != text {
        return Some(fixed);
    }
    // Latin-1 with control codes was Windows-1252, as far as that assigns them.
    let is_control = |c: char| matches!(c, '\u{80}'..='\u{9f}');
    text.contains(is_control).then(|| text.chars().map(windows_1252).collect())
}

/// Reads the bytes as UTF-8, after repairs that suit the encoding they came from.
fn decode_utf8(mut bytes: Vec<u8>, page: CodePage) -> Option<String> {
    // In Mac Roman the sequences would be those of an en dash before a space.
    if page != CodePage::MacRoman {
        bytes = with_spaces_restored(&bytes);
    }
    if page.loses_characters() {
        bytes = with_lost_characters_replaced(&bytes);
    }
    if bytes.contains(&0xed) || bytes.contains(&0xc0) {
        decode_utf8_variants(&bytes)
    } else {
        String::from_utf8(bytes).ok()
    }
}

/// What a control code 0x80 to 0x9f was meant to be. Other characters stay.
pub(super) fn windows_1252(character: char) -> char {
    match character {
        '\u{80}'..='\u{9f}' => {
            u8::try_from(character).map_or(character, |b| CodePage::Windows1252.character(b))
        }
        _ => character,
    }
}
