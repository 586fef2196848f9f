//! The single-byte encodings that text is wrongly decoded with.

/// Stands in a table for the character whose number the byte itself is.
const SAME: char = '_';

/// The control code that stands for a character that was lost.
const SUBSTITUTE: u8 = 0x1a;

/// A single-byte encoding. A byte to which it assigns nothing means what it means in Latin-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodePage {
    Latin1,
    Windows1252,
    Windows1251,
    Windows1250,
    Windows1253,
    Windows1254,
    Windows1257,
    Iso8859Part2,
    MacRoman,
    Ibm437,
}

impl CodePage {
    /// All of them, in the order in which they are tried.
    pub(super) const ALL: [Self; 10] = [
        Self::Latin1,
        Self::Windows1252,
        Self::Windows1251,
        Self::Windows1250,
        Self::Windows1253,
        Self::Windows1254,
        Self::Windows1257,
        Self::Iso8859Part2,
        Self::MacRoman,
        Self::Ibm437,
    ];

    /// Those that agree with Latin-1 on where letters begin: the ones whose mojibake has a typical look.
    pub(super) const LIKE_LATIN_1: [Self; 7] = [
        Self::Latin1,
        Self::Windows1252,
        Self::Windows1251,
        Self::Windows1250,
        Self::Windows1253,
        Self::Windows1254,
        Self::Windows1257,
    ];

    /// Whether decoders of this page turn what they do not know into U+FFFD. `SUBSTITUTE` then stands for it.
    pub(super) fn loses_characters(self) -> bool {
        !matches!(self, Self::Latin1 | Self::Iso8859Part2 | Self::MacRoman | Self::Ibm437)
    }

    /// The characters of bytes 0x80 to 0xff, four rows of 32.
    pub(super) fn upper_half(self) -> impl Iterator<Item = (u8, char)> {
        let characters = self.rows().iter().flat_map(|row| row.chars());
        (0x80_u8..=0xff).zip(characters).map(|(byte, character)| match character {
            SAME => (byte, char::from(byte)),
            _ => (byte, character),
        })
    }

    /// What a byte means.
    pub(super) fn character(self, byte: u8) -> char {
        self.upper_half()
            .find(|&(upper, _)| upper == byte)
            .map_or(char::from(byte), |(_, character)| character)
    }

    fn byte(self, character: char) -> Option<u8> {
        match character {
            // A text that has the substitute itself cannot be told from one that lost a character.
            '\u{1a}' if self.loses_characters() => None,
            '\u{fffd}' if self.loses_characters() => Some(SUBSTITUTE),
            '\0'..='\u{7f}' => u8::try_from(character).ok(),
            _ => self.upper_half().find(|&(_, upper)| upper == character).map(|(byte, _)| byte),
        }
    }

    /// The bytes that these characters were decoded from, if every one of them is in this page.
    pub(super) fn encode(self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|character| self.byte(character)).collect()
    }

    fn rows(self) -> &'static [&'static str; 4] {
        match self {
            Self::Latin1 => &LATIN_1,
            Self::Windows1252 => &WINDOWS_1252,
            Self::Windows1251 => &WINDOWS_1251,
            Self::Windows1250 => &WINDOWS_1250,
            Self::Windows1253 => &WINDOWS_1253,
            Self::Windows1254 => &WINDOWS_1254,
            Self::Windows1257 => &WINDOWS_1257,
            Self::Iso8859Part2 => &ISO_8859_2,
            Self::MacRoman => &MAC_ROMAN,
            Self::Ibm437 => &IBM_437,
        }
    }
}

const LATIN_1: [&str; 4] = ["________________________________"; 4];

const WINDOWS_1252: [&str; 4] = [
    "€_‚ƒ„…†‡ˆ‰Š‹Œ_Ž__‘’“”•–—˜™š›œ_žŸ",
    "_¡¢£¤¥¦§¨©ª«¬_®¯°±²³´µ¶·¸¹º»¼½¾¿",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß",
    "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
];

const WINDOWS_1251: [&str; 4] = [
    "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—_™љ›њќћџ",
    "_ЎўЈ¤Ґ¦§Ё©Є«¬_®Ї°±Ііґµ¶·ё№є»јЅѕї",
    "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
];

const WINDOWS_1250: [&str; 4] = [
    "€_‚_„…†‡_‰Š‹ŚŤŽŹ_‘’“”•–—_™š›śťžź",
    "_ˇ˘Ł¤Ą¦§¨©Ş«¬_®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż",
    "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß",
    "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
];

const WINDOWS_1253: [&str; 4] = [
    "€_‚ƒ„…†‡_‰_‹_____‘’“”•–—_™_›____",
    "_΅Ά£¤¥¦§¨©ª«¬_®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ",
    "ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήί",
    "ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ",
];

const WINDOWS_1254: [&str; 4] = [
    "€_‚ƒ„…†‡ˆ‰Š‹Œ____‘’“”•–—˜™š›œ__Ÿ",
    "_¡¢£¤¥¦§¨©ª«¬_®¯°±²³´µ¶·¸¹º»¼½¾¿",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß",
    "àáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ",
];

const WINDOWS_1257: [&str; 4] = [
    "€_‚_„…†‡_‰_‹_¨ˇ¸_‘’“”•–—_™_›_¯˛_",
    "_¡¢£¤¥¦§Ø©Ŗ«¬_®Æ°±²³´µ¶·ø¹ŗ»¼½¾æ",
    "ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß",
    "ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙",
];

const ISO_8859_2: [&str; 4] = [
    "________________________________",
    "_Ą˘Ł¤ĽŚ§¨ŠŞŤŹ_ŽŻ°ą˛ł´ľśˇ¸šşťź˝žż",
    "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß",
    "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
];

const MAC_ROMAN: [&str; 4] = [
    "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü",
    "†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø",
    "¿¡¬√ƒ≈∆«»…\u{a0}ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ",
    "‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ",
];

const IBM_437: [&str; 4] = [
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ",
    "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀",
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}",
];
