//! What the characters that occur in mojibake are when they stand for themselves.

use std::ops::BitOr;

/// A set of classes of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Category(u32);

impl Category {
    /// No class.
    pub(super) const NONE: Self = Self(0);
    /// Marks that stand in any text.
    pub(super) const COMMON: Self = Self(1);
    /// The control codes 0x80 to 0x9f, which nobody writes.
    pub(super) const C1: Self = Self(1 << 1);
    /// What is hardly ever meant.
    pub(super) const BAD: Self = Self(1 << 2);
    /// Signs of paragraphs.
    pub(super) const LAW: Self = Self(1 << 3);
    /// Money.
    pub(super) const CURRENCY: Self = Self(1 << 4);
    /// What stands before a word.
    pub(super) const START_PUNCTUATION: Self = Self(1 << 5);
    /// What stands behind a word.
    pub(super) const END_PUNCTUATION: Self = Self(1 << 6);
    /// What stands beside numbers.
    pub(super) const NUMERIC: Self = Self(1 << 7);
    /// Letters that faces are made of, and are therefore found in odd company.
    pub(super) const KAOMOJI: Self = Self(1 << 8);
    /// Capitals with marks.
    pub(super) const UPPER_ACCENTED: Self = Self(1 << 9);
    /// Small letters with marks.
    pub(super) const LOWER_ACCENTED: Self = Self(1 << 10);
    /// Capitals of which whole words are made: Greek, Cyrillic.
    pub(super) const UPPER_COMMON: Self = Self(1 << 11);
    /// The small letters to them.
    pub(super) const LOWER_COMMON: Self = Self(1 << 12);
    /// Parts of boxes drawn on a terminal.
    pub(super) const BOX: Self = Self(1 << 13);
    /// `a` to `z`.
    pub(super) const ASCII_LOWER: Self = Self(1 << 14);
    /// `A` to `Z`.
    pub(super) const ASCII_UPPER: Self = Self(1 << 15);
    /// Anything but a letter of ASCII.
    pub(super) const NOT_ASCII_LETTER: Self = Self(1 << 16);
    /// White space.
    pub(super) const SPACE: Self = Self(1 << 17);
    /// Letters and digits of any script, and `_`.
    pub(super) const WORD: Self = Self(1 << 18);
    /// Anything but the end of a line.
    pub(super) const NOT_LINE_END: Self = Self(1 << 19);

    /// These classes or those.
    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share a class.
    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The classes that a character is in.
    pub(super) fn of(character: char) -> Self {
        let letter = match character {
            'a'..='z' => Self::ASCII_LOWER,
            'A'..='Z' => Self::ASCII_UPPER,
            _ => Self::NOT_ASCII_LETTER,
        };
        let space = match character {
            '\u{1c}'..='\u{1f}' => Self::SPACE,
            _ if character.is_whitespace() => Self::SPACE,
            _ => Self::NONE,
        };
        let word = if character.is_alphanumeric() || character == '_' { Self::WORD } else { Self::NONE };
        let in_line = if character == '\n' { Self::NONE } else { Self::NOT_LINE_END };
        mojibake_category(character) | letter | space | word | in_line
    }
}

impl BitOr for Category {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.or(other)
    }
}

/// The class of one of the some 400 characters that UTF-8 turns into when it is decoded with a single-byte encoding.
#[rustfmt::skip]
fn mojibake_category(character: char) -> Category {
    match character {
        '\u{a0}' | '\u{ad}' | '´' | '·' | '–'..='―' | '’' | '…' => Category::COMMON,
        '\u{80}'..='\u{9f}' => Category::C1,
        '¤' | '¦' | '¨' | 'ª' | '¬' | '¯' | '¸' | 'º' | 'ƒ' | 'ˆ' | 'ˇ' | '˘' | '˛' | '\u{2dc}'
            | '†' | '‡' | '‰' | '⌐' | '◊' | '\u{fffd}' => Category::BAD,
        '§' | '¶' => Category::LAW,
        '¢' | '£' | '¥' | '₧' | '€' => Category::CURRENCY,
        '¡' | '©' | '«' | '¿' | '΄' | '΅' | '‘' | '‚' | '“' | '„' | '•' | '‹' | '\u{f8ff}' => Category::START_PUNCTUATION,
        '®' | '»' | '˝' | '”' | '›' | '™' => Category::END_PUNCTUATION,
        '±'..='³' | 'µ' | '¹' | '¼'..='¾' | '×' | '÷' | '⁄' | '№' | '∂' | '∆' | '∏' | '∑' | '√'
            | '∞' | '∩' | '∫' | '≈' | '≠' | '≡' | '≤' | '≥' => Category::NUMERIC,
        '°' | 'Ò'..='Ö' | 'Ù'..='Û' | 'ò'..='ö' | 'ø'..='û' | 'Ō' | 'Ő' | 'Ū' | 'Ų' => Category::KAOMOJI,
        'À'..='Ñ' | 'Ø' | 'Ý' | 'Ā' | 'Ă' | 'Ą' | 'Ć' | 'Č' | 'Ď' | 'Đ' | 'Ē' | 'Ė' | 'Ę' | 'Ě'
            | 'Ğ' | 'Ģ' | 'Ī' | 'İ' | 'Ķ' | 'Ĺ' | 'Ļ' | 'Ľ' | 'Ł' | 'Ń' | 'Ņ' | 'Ň' | 'Œ' | 'Ř' | 'Ś'
            | 'Ş' | 'Š' | 'Ţ' | 'Ť' | 'Ů' | 'Ű' | 'Ÿ' | 'Ź' | 'Ż' | 'Ž' | 'Ґ' => Category::UPPER_ACCENTED,
        'ß'..='ñ' | 'ā' | 'ă' | 'ą' | 'ć' | 'č' | 'ď' | 'đ' | 'ē' | 'ė' | 'ę' | 'ě' | 'ğ' | 'ģ'
            | 'ī' | 'į' | 'ķ' | 'ĺ' | 'ļ' | 'ľ' | 'ł' | 'œ' | 'ŕ' | 'ś' | 'ş' | 'š' | 'ť' | 'ź' | 'ż'
            | 'ž' | 'ґ' | 'ﬁ' | 'ﬂ' => Category::LOWER_ACCENTED,
        'Þ' | 'Ά' | 'Έ'..='Ί' | 'Ό' | 'Ύ' | 'Ώ' | 'Α'..='Ϋ' | 'Ё'..='Я' => Category::UPPER_COMMON,
        'ά'..='ω' | 'а'..='џ' => Category::LOWER_COMMON,
        '│' | '┌' | '┐' | '┘' | '├' | '┤' | '┬' | '┼' | '═'..='╬' | '▀' | '▄' | '█' | '▌'
            | '▐'..='▓' => Category::BOX,
        'Ü' => Category::UPPER_ACCENTED | Category::KAOMOJI,
        'ü' => Category::LOWER_ACCENTED | Category::KAOMOJI,
        _ => Category::NONE,
    }
}
