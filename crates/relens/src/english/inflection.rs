//! English inflection, so that what is known of a word holds for its forms: "pooch" → "dog" gives "pooches" → "dogs",
//! and "leap" → "jump" gives "leapt" → "jumped".
//!
//! As in [`lemma`], tables of exceptions come first and rules after; both propose, and the words that are
//! known decide.

use super::lemma;

/// The form that a word stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Inflection {
    /// As a dictionary lists it.
    Base,
    /// A plural, or what he, she or it does: English writes both alike.
    S,
    /// "leaping".
    Ing,
    /// "leaped", "leapt", "worn".
    Ed,
}

/// Verbs whose past forms no rule makes: the base, the past, the participle.
const IRREGULAR: &[(&str, &str, &str)] = &[
    ("bear", "bore", "borne"),
    ("beat", "beat", "beaten"),
    ("bend", "bent", "bent"),
    ("bind", "bound", "bound"),
    ("bite", "bit", "bitten"),
    ("blow", "blew", "blown"),
    ("break", "broke", "broken"),
    ("bring", "brought", "brought"),
    ("build", "built", "built"),
    ("burn", "burnt", "burnt"),
    ("buy", "bought", "bought"),
    ("catch", "caught", "caught"),
    ("cling", "clung", "clung"),
    ("come", "came", "come"),
    ("creep", "crept", "crept"),
    ("dig", "dug", "dug"),
    ("draw", "drew", "drawn"),
    ("drink", "drank", "drunk"),
    ("drive", "drove", "driven"),
    ("eat", "ate", "eaten"),
    ("fall", "fell", "fallen"),
    ("feed", "fed", "fed"),
    ("fight", "fought", "fought"),
    ("flee", "fled", "fled"),
    ("fling", "flung", "flung"),
    ("fly", "flew", "flown"),
    ("freeze", "froze", "frozen"),
    ("get", "got", "got"),
    ("give", "gave", "given"),
    ("go", "went", "gone"),
    ("grind", "ground", "ground"),
    ("hang", "hung", "hung"),
    ("hide", "hid", "hidden"),
    ("hold", "held", "held"),
    ("keep", "kept", "kept"),
    ("kneel", "knelt", "knelt"),
    ("lay", "laid", "laid"),
    ("lead", "led", "led"),
    ("lean", "leant", "leant"),
    ("leap", "leapt", "leapt"),
    ("leave", "left", "left"),
    ("light", "lit", "lit"),
    ("make", "made", "made"),
    ("meet", "met", "met"),
    ("ride", "rode", "ridden"),
    ("rise", "rose", "risen"),
    ("run", "ran", "run"),
    ("see", "saw", "seen"),
    ("shake", "shook", "shaken"),
    ("shoot", "shot", "shot"),
    ("sing", "sang", "sung"),
    ("sit", "sat", "sat"),
    ("sleep", "slept", "slept"),
    ("slide", "slid", "slid"),
    ("sling", "slung", "slung"),
    ("slink", "slunk", "slunk"),
    ("speak", "spoke", "spoken"),
    ("spin", "spun", "spun"),
    ("spring", "sprang", "sprung"),
    ("stand", "stood", "stood"),
    ("stick", "stuck", "stuck"),
    ("stride", "strode", "stridden"),
    ("strike", "struck", "struck"),
    ("string", "strung", "strung"),
    ("sweep", "swept", "swept"),
    ("swim", "swam", "swum"),
    ("swing", "swung", "swung"),
    ("take", "took", "taken"),
    ("teach", "taught", "taught"),
    ("tear", "tore", "torn"),
    ("throw", "threw", "thrown"),
    ("tread", "trod", "trodden"),
    ("wear", "wore", "worn"),
    ("weave", "wove", "woven"),
    ("weep", "wept", "wept"),
    ("wind", "wound", "wound"),
    ("write", "wrote", "written"),
];

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// What `word`, in lower case, may be a form of, the likeliest first. The word as its own base is not among it.
///
/// ```
/// use relens::english::inflection::{Inflection, readings};
///
/// assert_eq!(readings("leapt"), [("leap".to_owned(), Inflection::Ed)]);
/// assert!(readings("clambering").contains(&("clamber".to_owned(), Inflection::Ing)));
/// assert!(readings("pooches").contains(&("pooch".to_owned(), Inflection::S)));
/// ```
pub fn readings(word: &str) -> Vec<(String, Inflection)> {
    let mut found: Vec<(String, Inflection)> = IRREGULAR
        .iter()
        .filter(|(base, past, participle)| *base != word && (*past == word || *participle == word))
        .map(|(base, _, _)| ((*base).to_owned(), Inflection::Ed))
        .collect();
    for (ending, inflection, shortest) in [("ing", Inflection::Ing, 2), ("ed", Inflection::Ed, 2)] {
        let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() >= shortest) else { continue };
        found.push((stem.to_owned(), inflection));
        let mut letters = stem.chars().rev();
        if let (Some(last), Some(before)) = (letters.next(), letters.next())
            && last == before
            && !is_vowel(last)
        {
            found.extend(stem.strip_suffix(last).map(|single| (single.to_owned(), inflection)));
        }
        found.push((format!("{stem}e"), inflection));
        let other = if inflection == Inflection::Ing { ("y", "ie") } else { ("i", "y") };
        found.extend(stem.strip_suffix(other.0).map(|rest| (format!("{rest}{}", other.1), inflection)));
    }
    found.extend(lemma::singulars(word).into_iter().map(|base| (base, Inflection::S)));
    found
}

/// How the form `inflection` of a base in lower case may be written, the likeliest first; at least one.
///
/// ```
/// use relens::english::inflection::{Inflection, inflected};
///
/// assert_eq!(inflected("jump", Inflection::Ed), ["jumped"]);
/// assert_eq!(inflected("run", Inflection::Ing)[0], "running");
/// assert_eq!(inflected("child", Inflection::S), ["children", "childs"]);
/// ```
pub fn inflected(base: &str, inflection: Inflection) -> Vec<String> {
    match inflection {
        Inflection::Base => vec![base.to_owned()],
        Inflection::S => {
            let plural = lemma::plural(base);
            let regular = format!("{base}s");
            if plural == regular { vec![plural] } else { vec![plural, regular] }
        }
        Inflection::Ing => with_ending(base, "ing"),
        Inflection::Ed => {
            let irregular = IRREGULAR.iter().find(|(verb, _, _)| *verb == base);
            match irregular {
                Some((_, past, participle)) if past == participle => vec![(*past).to_owned()],
                Some((_, past, participle)) => vec![(*past).to_owned(), (*participle).to_owned()],
                None => with_ending(base, "ed"),
            }
        }
    }
}

/// The base with "ing" or "ed", its last letter doubled, dropped or changed where English does.
fn with_ending(base: &str, ending: &str) -> Vec<String> {
    let letters: Vec<char> = base.chars().rev().take(3).collect();
    let shortened = |dropped: &str, put: &str| {
        base.strip_suffix(dropped).map(|stem| vec![format!("{stem}{put}{ending}")]).unwrap_or_default()
    };
    match letters.as_slice() {
        ['e', 'i', ..] if ending == "ing" => shortened("ie", "y"),
        ['e', 'e', ..] if ending == "ing" => vec![format!("{base}{ending}")],
        ['e', ..] => shortened("e", ""),
        ['y', before, ..] if ending == "ed" && !is_vowel(*before) => shortened("y", "i"),
        [last, middle, first]
            if !is_vowel(*last)
                && !matches!(last, 'w' | 'x' | 'y')
                && is_vowel(*middle)
                && !is_vowel(*first) =>
        {
            vec![format!("{base}{last}{ending}"), format!("{base}{ending}")]
        }
        _ => vec![format!("{base}{ending}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_its_base() {
        for base in ["jump", "run", "climb", "carry", "tie", "wear", "leap", "trot", "chase", "see", "lounge"]
        {
            for inflection in [Inflection::S, Inflection::Ing, Inflection::Ed] {
                let form = &inflected(base, inflection)[0];
                assert!(
                    readings(form).iter().any(|(found, as_read)| found == base && *as_read == inflection),
                    "{base} → {form}: {:?}",
                    readings(form)
                );
            }
        }
    }

    #[test]
    fn forms_are_spelled_as_english_does() {
        for (base, inflection, expected) in [
            ("carry", Inflection::Ed, "carried"),
            ("carry", Inflection::Ing, "carrying"),
            ("trot", Inflection::Ing, "trotting"),
            ("tie", Inflection::Ing, "tying"),
            ("chase", Inflection::Ed, "chased"),
            ("play", Inflection::Ed, "played"),
            ("throw", Inflection::Ing, "throwing"),
            ("box", Inflection::S, "boxes"),
        ] {
            assert_eq!(inflected(base, inflection)[0], expected);
        }
    }

    #[test]
    fn what_is_no_form_has_no_reading() {
        for word in ["dog", "", "ing", "ed", "s", "grass"] {
            assert_eq!(readings(word), [], "{word}");
        }
    }
}
