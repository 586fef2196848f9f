//! "A" or "an", and where a noun phrase wants one.

use super::lemma::singulars;
use super::words::is_listed;

/// Nouns that take no article.
const UNCOUNTED: &str = "\
    armor bark brick cloth clothing concrete cream denim dirt dough dust equipment fabric fire foam foliage food \
    fruit fur gear glass gold grass gravel hair ice jewellery jewelry lace leather light luggage metal mud music \
    paint paper pavement plastic plumage rain rock rubber sand silk skin sky smoke snow steam steel stone sunlight \
    traffic underwear water wood wool";
/// Words before a noun that leave no room for an article.
const DETERMINERS: &str = "\
    a all an another any both dozens each eight every few five four her his hundreds its many multiple my nine no \
    one our rows seven several six some ten that the their these this those three two various your";
/// Words that no noun phrase begins with, and those that stand for one.
const NO_NOUN: &str = "\
    above across against along among around as at behind below beneath beside between by down everybody everyone for \
    from he how i in inside into is it near nobody not nothing of off on onto out over she somebody someone \
    something there they through to toward towards under up we what when where while who with without you";
/// Words behind which a noun phrase is over.
const ENDS: &str = "\
    above across after against along among and are around as at atop before behind beneath beside between by down \
    during for from hanging held in inside into is near of off on onto or over past that through to toward towards \
    under up while who with without";
/// Qualities that "and" or a comma joins to others: "red and white scarf".
const COLOURS: &str = "\
    beige black blue brown dark gold golden gray green grey light maroon orange pink purple red silver tan white \
    yellow";
/// Beginnings that are written with a vowel and spoken with a consonant.
const SPOKEN_WITH_A_CONSONANT: &[&str] = &[
    "eu", "ewe", "once", "one", "u-", "ufo", "ukulele", "unic", "unif", "union", "uniq", "unis", "unit",
    "univ", "us", "ut",
];
/// Words that look like adverbs and are none.
const QUALITIES_IN_LY: &str = "\
    bubbly burly curly elderly family fly friendly frilly hilly jelly jolly lively lonely lovely silly smelly ugly \
    woolly wooly";
const SILENT_H: &[&str] = &["heir", "honest", "honor", "honour", "hour"];

/// "a" or "an", by the sound that the next word begins with.
///
/// ```
/// use relens::english::article::indefinite;
///
/// assert_eq!(["dog", "owl", "unicycle", "hour", "M-shaped"].map(indefinite), ["a", "an", "a", "an", "an"]);
/// ```
pub fn indefinite(next: &str) -> &'static str {
    let next = next.to_lowercase();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| next.starts_with(beginning));
    let mut characters = next.chars();
    let first = characters.next().unwrap_or_default();
    // The name of a letter: "an S-shaped bend".
    let letter = matches!(characters.next(), Some('-')) && first.is_alphabetic();
    let vowel = if letter {
        "aefhilmnorsx".contains(first)
    } else {
        begins(SILENT_H)
            || "aeiouéà8".contains(first) && !begins(SPOKEN_WITH_A_CONSONANT)
            || begins(&["ush", "utt"])
    };
    if vowel { "an" } else { "a" }
}

/// Whether a word determines the noun behind it, as articles and numbers do.
pub fn is_determiner(word: &str) -> bool {
    is_listed(DETERMINERS, word)
}

/// Words besides [`NO_NOUN`] that tell how, when or where.
const ADVERBS: &str = "\
    after again ahead alone and apart away back backward backwards before downhill during fast forward hard high home \
    indoors like low next or outdoors outside past sideways still that together underwater uphill upside where which \
    while";

/// Whether a noun phrase may begin with a word, in lower case: no preposition, adverb or participle is meant.
pub fn may_begin_noun_phrase(word: &str) -> bool {
    word.starts_with(char::is_alphanumeric)
        && !is_listed(NO_NOUN, word)
        && !is_listed(ADVERBS, word)
        && !word.ends_with("ing")
        && (!word.ends_with("ly") || is_listed(QUALITIES_IN_LY, word))
}

/// Whether a word, in lower case, is a plural.
pub fn is_plural(word: &str) -> bool {
    !word.ends_with("us") && !word.ends_with("is") && !singulars(word).is_empty()
}

/// The article that the noun phrase at the beginning of a text lacks; `None` if it has one or takes none.
///
/// ```
/// use relens::english::article::missing;
///
/// assert_eq!(missing("dog on grass"), Some("a"));
/// assert_eq!(["the dog", "dogs run", "red and white scarves", "fur"].map(missing), [None; 4]);
/// ```
pub fn missing(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let mut words =
        lower.split_whitespace().map(|word| word.trim_end_matches(['.', ':', '!', '?'])).peekable();
    let first = *words.peek()?;
    let begins_one = first.starts_with(char::is_alphabetic)
        && !is_listed(DETERMINERS, first)
        && !is_listed(NO_NOUN, first)
        && (!first.ends_with("ly") || is_listed(QUALITIES_IN_LY, first));
    if !begins_one {
        return None;
    }
    let mut head = "";
    for (position, word) in words.enumerate() {
        let bare = word.trim_end_matches([',', ';']);
        let joins_qualities =
            matches!(bare, "and" | "or") && (is_listed(COLOURS, head) || head.ends_with("ed"));
        if joins_qualities {
            continue;
        }
        if position > 0 && (is_listed(ENDS, bare) || bare.ends_with("ing")) {
            break;
        }
        if is_plural(bare) {
            return None;
        }
        head = bare;
        if bare.len() < word.len() && !is_listed(COLOURS, bare) {
            break;
        }
    }
    let counted = !is_listed(UNCOUNTED, head) && !head.ends_with("less") && !head.is_empty();
    counted.then(|| indefinite(first))
}

/// The text with the article that it lacks at its beginning.
pub fn with_article(text: &str) -> String {
    missing(text).map_or_else(|| text.to_owned(), |article| format!("{article} {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_go_by_the_sound() {
        for (next, expected) in [
            ("uniformed", "a"),
            ("umbrella", "an"),
            ("unseen", "an"),
            ("utility", "a"),
            ("utterly", "an"),
            ("usher", "an"),
            ("one", "a"),
            ("X-ray", "an"),
            ("8", "an"),
            ("éclair", "an"),
            ("", "a"),
        ] {
            assert_eq!(indefinite(next), expected, "{next}");
        }
    }

    #[test]
    fn a_phrase_gets_the_article_that_it_lacks() {
        for (text, expected) in [
            ("wagging tail", "a wagging tail"),
            ("dark wet nostrils at the tip", "dark wet nostrils at the tip"),
            ("arms raised in a gesture", "arms raised in a gesture"),
            ("yellow and blue bands on the wings", "yellow and blue bands on the wings"),
            ("scattered yellow, white and purple flowers", "scattered yellow, white and purple flowers"),
            ("red or white ball", "a red or white ball"),
            ("soft pointed or flat bristles", "soft pointed or flat bristles"),
            ("glass front, wide doors", "a glass front, wide doors"),
            ("thick grey fur", "thick grey fur"),
            ("floating weightless on a tether", "floating weightless on a tether"),
            ("boy jumping over rocks", "a boy jumping over rocks"),
            ("boys", "boys"),
            ("bus stop", "a bus stop"),
            ("in a hat", "in a hat"),
            ("", ""),
            ("...", "..."),
            ("42", "42"),
        ] {
            assert_eq!(with_article(text), expected);
        }
    }
}
