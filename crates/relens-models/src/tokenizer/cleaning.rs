//! What reference tokenizers do to a text before they cut it.

use std::borrow::Cow;

use tokenizers::NormalizedString;

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
            Self::Whitespace => Cow::Owned(collapse_whitespace(&repair(text))),
            Self::Lower => Cow::Owned(collapse_whitespace(&repair(text)).to_lowercase()),
            Self::Canonicalize => Cow::Owned(canonicalize(&repair(text))),
            Self::CanonicalizeOnly => Cow::Owned(canonicalize(text)),
        }
    }
}

/// Removes ASCII punctuation and capitals. Underscores count as spaces.
fn canonicalize(text: &str) -> String {
    let kept: String =
        text.chars().map(|c| if c == '_' { ' ' } else { c }).filter(|c| !c.is_ascii_punctuation()).collect();
    collapse_whitespace(&kept.to_lowercase())
}

fn collapse_whitespace(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The repairs of ftfy's `fix_text`, which open_clip applies, except that text decoded with a wrong code page
/// (mojibake) is left as it is; then HTML entities are resolved twice, as open_clip does.
fn repair(text: &str) -> String {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'&') {
        return text.to_owned();
    }
    // One repair can make room for another; ftfy goes on until nothing changes, and two rounds nearly always do.
    const MOST_ROUNDS: usize = 8;
    let mut text = text.to_owned();
    for _ in 0..MOST_ROUNDS {
        let repaired = repair_once(&text);
        if repaired == text {
            break;
        }
        text = repaired;
    }
    let once = htmlize::unescape(text.as_str());
    htmlize::unescape(once.as_ref()).into_owned()
}

fn repair_once(text: &str) -> String {
    let unescaped = if text.contains('<') { Cow::Borrowed(text) } else { htmlize::unescape(text) };
    let mut repaired = String::with_capacity(unescaped.len());
    let mut characters = without_terminal_escapes(&unescaped).peekable();
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

/// What a C1 control code was meant to be.
fn windows_1252(character: char) -> char {
    const MEANT: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    (character as usize).checked_sub(0x80).and_then(|index| MEANT.get(index)).copied().unwrap_or(character)
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
