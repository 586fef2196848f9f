//! What reference tokenizers do to a text before they cut it, the repairs of ftfy included, which open_clip applies to
//! every text: HTML entities in text that is not HTML, mojibake, characters that look alike.

use std::borrow::Cow;

use tokenizers::NormalizedString;

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

/// The longest name or number that counts as an entity.
const LONGEST_NAME: usize = 24;

/// The text with those entities resolved that end in a semicolon and nothing else can be meant by: ftfy's
/// `unescape_html`. Names in capitals stand for capital letters, as in `&EACUTE;`.
pub(super) fn with_entities_resolved(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        let (before, from) = rest.split_at(start);
        resolved.push_str(before);
        let entity = leading_entity(from).unwrap_or("&");
        resolved.push_str(&meaning(entity).unwrap_or(Cow::Borrowed(entity)));
        rest = from.get(entity.len()..).unwrap_or_default();
    }
    resolved.push_str(rest);
    Cow::Owned(resolved)
}

/// The entity that a text begins with, from `&` to `;`.
fn leading_entity(text: &str) -> Option<&str> {
    let after = text.strip_prefix('&')?;
    let name = after.strip_prefix('#').unwrap_or(after);
    let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
    // The semicolon is required: without it, `AT&T` and query strings would be taken for entities.
    let is_entity = (1..=LONGEST_NAME).contains(&length) && name.as_bytes().get(length) == Some(&b';');
    is_entity.then(|| text.get(..text.len() - name.len() + length + 1)).flatten()
}

fn meaning(entity: &str) -> Option<Cow<'_, str>> {
    let name = entity.strip_prefix('&')?.strip_suffix(';')?;
    match name.strip_prefix('#') {
        Some(number) => numbered(number),
        None => named(entity).or_else(|| named_in_capitals(entity)),
    }
}

fn named(entity: &str) -> Option<Cow<'_, str>> {
    let meant = htmlize::unescape(entity);
    // Of `&notit;` browsers resolve the beginning, and leave the semicolon with the rest. It is meant in `&semi;` alone.
    (meant != entity && (!meant.ends_with(';') || meant == ";")).then_some(meant)
}

fn named_in_capitals(entity: &str) -> Option<Cow<'static, str>> {
    let is_capital = !entity.contains(|c: char| c.is_ascii_lowercase());
    let is_unknown = is_capital && htmlize::unescape(entity) == entity;
    let small = entity.to_ascii_lowercase();
    is_unknown.then(|| named(&small).map(|meant| Cow::Owned(meant.to_uppercase()))).flatten()
}

/// The character of a number, `x` before hexadecimal ones.
fn numbered(number: &str) -> Option<Cow<'static, str>> {
    let hexadecimal = number.strip_prefix(['x', 'X']);
    let code = match hexadecimal {
        Some(digits) => u128::from_str_radix(digits, 16).ok()?,
        None => number.parse::<u128>().ok()?,
    };
    let character = u32::try_from(code).ok().and_then(char::from_u32);
    Some(match character {
        None | Some('\0') => Cow::Borrowed("\u{fffd}"),
        Some(';') => return None,
        Some(character @ '\u{80}'..='\u{9f}') => {
            Cow::Owned(super::mojibake::windows_1252(character).to_string())
        }
        Some(character) if is_no_character(character) => Cow::Borrowed(""),
        Some(character) => Cow::Owned(character.to_string()),
    })
}

/// What HTML forbids to name by its number.
fn is_no_character(character: char) -> bool {
    matches!(character, '\u{1}'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{fdd0}'..='\u{fdef}')
        || matches!(u32::from(character) & 0xffff, 0xfffe | 0xffff)
}
