//! What reference tokenizers do to a text before they cut it.

use std::borrow::Cow;

use super::repair::repaired;

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
