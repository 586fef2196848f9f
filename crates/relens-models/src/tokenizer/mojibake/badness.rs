//! Whether a text looks as if it had been decoded with a wrong encoding: characters that occur in mojibake,
//! next to others beside which they do not stand for themselves.

use std::ops::BitOr;

use self::Category as C;

/// What may stand at one place of a sequence: a character of these classes, or one of these characters.
struct SequencePlace(C, &'static str);

impl SequencePlace {
    fn takes(&self, character: char, category: C) -> bool {
        self.0.meets(category) || self.1.contains(character)
    }
}

const fn class(categories: C) -> SequencePlace {
    SequencePlace(categories, "")
}

const fn one_of(characters: &'static str) -> SequencePlace {
    SequencePlace(C::NONE, characters)
}

const ACCENTED: C = C::LOWER_ACCENTED.or(C::UPPER_ACCENTED);
const PUNCTUATION: C = C::START_PUNCTUATION.or(C::END_PUNCTUATION);
const ASCII_LETTER: C = C::ASCII_LOWER.or(C::ASCII_UPPER);
/// What is odd beside a bad character.
const ODD: C = ACCENTED.or(C::BOX).or(PUNCTUATION).or(C::CURRENCY).or(C::NUMERIC).or(C::LAW);
/// The second of two bytes of a Cyrillic or Greek letter.
const SECOND_BYTE: C = C::C1.or(C::BAD).or(PUNCTUATION).or(C::CURRENCY);
/// The second of two bytes of an Arabic letter.
const SECOND_ARABIC: SequencePlace =
    SequencePlace(C::COMMON.or(C::CURRENCY).or(C::BAD).or(C::NUMERIC).or(C::START_PUNCTUATION), "ŸŠ®°µ»");

/// Sequences that are much likelier mojibake than meant.
const UNLIKELY: &[&[SequencePlace]] = &[
    &[class(C::C1)],
    &[class(ODD.or(C::BAD)), class(C::BAD)],
    &[class(ASCII_LETTER), class(C::LOWER_COMMON.or(C::UPPER_COMMON)), class(C::BAD)],
    &[class(C::BAD), class(ODD)],
    &[
        class(
            C::LOWER_ACCENTED
                .or(C::LOWER_COMMON)
                .or(C::BOX)
                .or(C::END_PUNCTUATION)
                .or(C::CURRENCY)
                .or(C::NUMERIC),
        ),
        class(C::UPPER_ACCENTED),
    ],
    &[class(C::BOX.or(C::END_PUNCTUATION).or(C::CURRENCY).or(C::NUMERIC)), class(C::LOWER_ACCENTED)],
    &[class(C::LOWER_ACCENTED.or(C::BOX).or(C::END_PUNCTUATION)), class(C::CURRENCY)],
    &[class(C::SPACE), class(C::UPPER_ACCENTED), class(C::CURRENCY)],
    &[class(C::UPPER_ACCENTED.or(C::BOX)), class(C::NUMERIC.or(C::LAW))],
    &[
        class(ACCENTED.or(C::BOX).or(C::CURRENCY).or(C::END_PUNCTUATION)),
        class(C::START_PUNCTUATION),
        class(C::NUMERIC),
    ],
    &[
        class(ACCENTED.or(C::CURRENCY).or(C::NUMERIC).or(C::BOX).or(C::LAW)),
        class(C::END_PUNCTUATION),
        class(C::START_PUNCTUATION),
    ],
    &[class(C::CURRENCY.or(C::NUMERIC).or(C::BOX)), class(C::START_PUNCTUATION)],
    &[class(C::ASCII_LOWER), class(C::UPPER_ACCENTED), class(C::START_PUNCTUATION.or(C::CURRENCY))],
    &[class(C::BOX), class(C::KAOMOJI)],
    &[class(ACCENTED.or(C::CURRENCY).or(C::NUMERIC).or(PUNCTUATION).or(C::LAW)), class(C::BOX)],
    &[class(C::BOX), class(C::END_PUNCTUATION)],
    &[class(ACCENTED), class(PUNCTUATION), class(C::WORD)],
    // The ligature at the end of what is no French word.
    &[one_of("Œœ"), class(C::NOT_ASCII_LETTER)],
    &[class(C::UPPER_ACCENTED), one_of("°")],
    // Two bytes read as Windows-1252.
    &[one_of("ÂÃÎÐ"), SequencePlace(PUNCTUATION, "€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»–—´")],
    &[one_of("×"), one_of("²³")],
    // Two Arabic letters read so. One alone could be meant.
    &[one_of("ØÙ"), SECOND_ARABIC, one_of("ØÙ"), SECOND_ARABIC],
    // The first bytes of scripts of southern Asia.
    &[one_of("à"), one_of("²µ¹¼½¾")],
    // Read as Mac Roman.
    &[one_of("√"), one_of("±∂†≠®™´≤≥¥µø")],
    &[one_of("≈"), one_of("°¢")],
    &[one_of("‚"), one_of("Ä"), one_of("ìîïòôúùû†°¢π")],
    &[one_of("‚"), one_of("âó"), one_of("àä°ê")],
    // Punctuation read as Windows-1251.
    &[one_of("в"), one_of("Ђ")],
    // Latin or Cyrillic read so: the pairs may be meant, three in a row hardly.
    &[one_of("ВГРС"), SequencePlace(SECOND_BYTE, "°µ"), one_of("ВГРС")],
    // Decoded with two wrong encodings, one after the other.
    &[
        one_of("Г"),
        one_of("ў"),
        one_of("В"),
        one_of("Ђ"),
        one_of("В"),
        class(C::NOT_LINE_END),
        SequencePlace(ASCII_LETTER, " "),
    ],
    &[one_of("Ã"), one_of("\u{a0}¡")],
    &[class(C::ASCII_LOWER), one_of("ÃÂ"), one_of(" ")],
    &[class(C::ASCII_LOWER), class(C::SPACE), one_of("ÃÂ"), one_of(" ")],
    // A byte too many before a character that is the same in both encodings.
    &[
        SequencePlace(C::ASCII_LOWER.or(C::END_PUNCTUATION), ".,?!"),
        one_of("Â"),
        SequencePlace(PUNCTUATION, " "),
    ],
    // Punctuation read as Windows-1253, then Latin or Greek read so.
    &[one_of("β"), one_of("€"), one_of("™\u{a0}Ά\u{ad}®°")],
    &[one_of("ΒΓΞΟ"), SequencePlace(SECOND_BYTE, "°"), one_of("ΒΓΞΟ")],
    // Punctuation read as Windows-1257.
    &[one_of("ā"), one_of("€")],
];

/// What is unlikely at the beginning of a text.
const UNLIKELY_START: &[SequencePlace] = &[one_of("ÃÂ"), one_of(" ")];

/// Whether a sequence of characters occurs that is likely to be mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    let characters: Vec<(char, C)> = text.chars().map(|character| (character, C::of(character))).collect();
    let begins = |sequence: &[SequencePlace], characters: &[(char, C)]| {
        sequence.len() <= characters.len()
            && sequence
                .iter()
                .zip(characters)
                .all(|(place, &(character, category))| place.takes(character, category))
    };
    begins(UNLIKELY_START, &characters)
        || (0..characters.len()).any(|start| {
            characters.get(start..).is_some_and(|rest| UNLIKELY.iter().any(|sequence| begins(sequence, rest)))
        })
}

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
