//! What reference tokenizers do to a text before they cut it, the repairs of ftfy included, which open_clip applies to
//! every text.

use std::borrow::Cow;

use tokenizers::NormalizedString;

use super::entities::with_entities_resolved;
use super::mojibake::{decoded_as_meant, windows_1252};

/// What happens to a text before it is cut into tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TextCleaning {
    /// Nothing: the tokenizer's own normaliser does it all.
    #[default]
    None,
    /// open_clip's `whitespace`: Unicode repaired, HTML entities resolved, white space collapsed.
    Whitespace,
    /// open_clip's `lower`: as `Whitespace`, then lower case.
    Lower,
    /// open_clip's `canonicalize`: Unicode repaired, punctuation removed, lower case, white space collapsed.
    Canonicalize,
    /// SigLIP's in Hugging Face transformers: as `Canonicalize`, but without the repairs.
    CanonicalizeOnly,
}

impl TextCleaning {
    /// The cleaning of an open_clip name.
    pub fn from_open_clip(name: &str) -> Option<Self> {
        match name {
            "whitespace" => Some(Self::Whitespace),
            "lower" => Some(Self::Lower),
            "canonicalize" => Some(Self::Canonicalize),
            _ => None,
        }
    }

    /// The cleaned text.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::Whitespace => Cow::Owned(collapse_whitespace(&repaired(text))),
            Self::Lower => Cow::Owned(collapse_whitespace(&repaired(text)).to_lowercase()),
            Self::Canonicalize => Cow::Owned(canonicalize(&repaired(text))),
            Self::CanonicalizeOnly => Cow::Owned(canonicalize(text)),
        }
    }
}

/// Removes ASCII punctuation and capitals. Underscores count as spaces.
fn canonicalize(text: &str) -> String {
    let kept: String =
        // Before the punctuation goes, of which it is a part: the words on both sides stay apart.
        text.chars().map(|c| if c == '_' { ' ' } else { c }).filter(|c| !c.is_ascii_punctuation()).collect();
    collapse_whitespace(&kept.to_lowercase())
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// One repair can make room for another; ftfy goes on until nothing changes, and two rounds nearly always do.
const MOST_ROUNDS: usize = 24;

/// The repairs of ftfy's `fix_text` line by line; then HTML entities are resolved twice, as open_clip does.
fn repaired(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'&') {
        return text.to_owned();
    }
    let mut repaired = String::with_capacity(text.len());
    // From a tag on, the text is HTML, where entities are meant.
    let mut is_html = false;
    for line in text.split_inclusive('\n') {
        is_html |= line.contains('<');
        repaired.push_str(&repaired_line(line, is_html));
    }
    // Twice, because open_clip does it twice: `&amp;lt;` becomes `<` in its training texts.
    let once = htmlize::unescape(repaired.as_str());
    htmlize::unescape(once.as_ref()).into_owned()
}

fn repaired_line(line: &str, is_html: bool) -> Cow<'_, str> {
    let mut line = Cow::Borrowed(line);
    for _ in 0..MOST_ROUNDS {
        let unescaped = if is_html { Cow::Borrowed(line.as_ref()) } else { with_entities_resolved(&line) };
        let repaired = with_characters_replaced(&decoded_as_meant(&unescaped));
        if repaired == line {
            break;
        }
        line = Cow::Owned(repaired);
    }
    line
}

/// The repairs that look at one character each, then composed letters for letters with combining marks.
fn with_characters_replaced(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut characters = without_terminal_escapes(text).peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                if characters.peek() != Some(&'\n') {
                    repaired.push('\n');
                }
            }
            '\u{80}'..='\u{9f}' => repaired.push(windows_1252(character)),
            '\u{2028}' | '\u{2029}' => repaired.push('\n'),
            '\u{2bc}' | '\u{2018}'..='\u{201b}' => repaired.push('\''),
            '\u{201c}'..='\u{201f}' => repaired.push('"'),
            '\u{3000}' => repaired.push(' '),
            '\u{ff01}'..='\u{ffef}' => push_compatible(&mut repaired, character),
            _ if is_control(character) => {}
            _ => match ligature(character) {
                Some(letters) => repaired.push_str(letters),
                None => repaired.push(character),
            },
        }
    }
    normalized(&repaired, NormalizedString::nfc)
}

fn normalized(text: &str, form: impl FnOnce(&mut NormalizedString) -> &mut NormalizedString) -> String {
    let mut text = NormalizedString::from(text);
    form(&mut text).get().to_owned()
}

/// A half-width or full-width character as its ordinary form.
fn push_compatible(text: &mut String, character: char) {
    text.push_str(&normalized(character.encode_utf8(&mut [0; 4]), NormalizedString::nfkc));
}

/// Leaves out `ESC [ digits letter`, which colours terminals.
fn without_terminal_escapes(text: &str) -> impl Iterator<Item = char> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        while let Some(sequence) = rest.strip_prefix("\u{1b}[") {
            let after = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
            match after.chars().next() {
                Some(letter) if letter.is_ascii_alphabetic() => rest = &after[1..],
                _ => break,
            }
        }
        let character = rest.chars().next()?;
        rest = &rest[character.len_utf8()..];
        Some(character)
    })
}

/// Characters that mean nothing in a text: ftfy's list.
fn is_control(character: char) -> bool {
    matches!(character,
        '\u{0}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffc}')
}

/// Letters that were joined for typography or for old encodings.
fn ligature(character: char) -> Option<&'static str> {
    Some(match character {
        'Ĳ' => "IJ",
        'ĳ' => "ij",
        'ŉ' => "'n",
        'Ǳ' => "DZ",
        'ǲ' => "Dz",
        'ǳ' => "dz",
        'Ǆ' => "DŽ",
        'ǅ' => "Dž",
        'ǆ' => "dž",
        'Ǉ' => "LJ",
        'ǈ' => "Lj",
        'ǉ' => "lj",
        'Ǌ' => "NJ",
        'ǋ' => "Nj",
        'ǌ' => "nj",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' => "ſt",
        'ﬆ' => "st",
        _ => return None,
    })
}
