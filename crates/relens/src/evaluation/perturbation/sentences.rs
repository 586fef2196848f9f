//! Perturbations of whole sentences: another style, the other voice.

use crate::english::words::is_listed;

/// What one says to a friend, and what one writes in a report.
const STYLES: &[(&str, &str)] = &[
    ("a bunch of", "several"),
    ("big", "large"),
    ("bike", "bicycle"),
    ("bikes", "bicycles"),
    ("can't", "cannot"),
    ("dad", "father"),
    ("doesn't", "does not"),
    ("don't", "do not"),
    ("folks", "people"),
    ("guy", "man"),
    ("guys", "men"),
    ("isn't", "is not"),
    ("it's", "it is"),
    ("kid", "child"),
    ("kids", "children"),
    ("ladies", "women"),
    ("lady", "woman"),
    ("little", "small"),
    ("lots of", "many"),
    ("mom", "mother"),
    ("next to", "adjacent to"),
    ("phone", "telephone"),
    ("photo", "photograph"),
    ("pic", "picture"),
    ("plane", "aircraft"),
    ("she's", "she is"),
    ("he's", "he is"),
    ("they're", "they are"),
    ("there's", "there is"),
    ("tv", "television"),
    ("while", "whilst"),
];

/// Verbs of something that is done to something else: the infinitive and the participle.
const VERBS: &[(&str, &str)] = &[
    ("bite", "bitten"),
    ("blow", "blown"),
    ("carry", "carried"),
    ("catch", "caught"),
    ("chase", "chased"),
    ("chew", "chewed"),
    ("clean", "cleaned"),
    ("climb", "climbed"),
    ("cook", "cooked"),
    ("cross", "crossed"),
    ("cut", "cut"),
    ("drink", "drunk"),
    ("drive", "driven"),
    ("eat", "eaten"),
    ("feed", "fed"),
    ("fight", "fought"),
    ("fix", "fixed"),
    ("fly", "flown"),
    ("follow", "followed"),
    ("grab", "grabbed"),
    ("greet", "greeted"),
    ("hit", "hit"),
    ("hold", "held"),
    ("hug", "hugged"),
    ("kick", "kicked"),
    ("kiss", "kissed"),
    ("lead", "led"),
    ("lick", "licked"),
    ("lift", "lifted"),
    ("paint", "painted"),
    ("perform", "performed"),
    ("pet", "petted"),
    ("play", "played"),
    ("pull", "pulled"),
    ("push", "pushed"),
    ("read", "read"),
    ("ride", "ridden"),
    ("spray", "sprayed"),
    ("tackle", "tackled"),
    ("throw", "thrown"),
    ("touch", "touched"),
    ("wash", "washed"),
    ("watch", "watched"),
    ("wave", "waved"),
    ("wear", "worn"),
];

/// Verbs whose last letter is doubled before "-ing".
const DOUBLED: &str = "cut grab hit hug pet";

/// How a noun phrase that is done something to begins.
const DETERMINERS: &str = "a an another her his its many several some the their three two";

/// How what follows a noun phrase begins.
const AFTER_PHRASE: &str = "\
    above across after against along and around as at before behind beside between by down during for from in \
    inside into near next off on onto or out outside over that through to towards under up which while who with \
    without";

/// As one would write it in a report.
pub(super) fn formal(text: &str) -> String {
    restyled(text, STYLES.iter().copied())
}

/// As one would say it to a friend.
pub(super) fn casual(text: &str) -> String {
    let text = restyled(text, STYLES.iter().map(|&(casual, formal)| (formal, casual)));
    let without_stop = text.trim_end_matches(['.', ' ']);
    // A text of full stops alone stays one.
    if without_stop.is_empty() { text } else { without_stop.to_owned() }
}

fn restyled<'a>(text: &str, styles: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let styles: Vec<(Vec<&str>, &str)> = styles.map(|(from, to)| (from.split(' ').collect(), to)).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut written = Vec::new();
    let mut place = 0;
    while let Some(&word) = words.get(place) {
        let stands_here = |from: &[&str]| {
            let found = words.get(place..place + from.len());
            found.is_some_and(|found| {
                found.iter().zip(from).all(|(word, from)| bare(word).eq_ignore_ascii_case(from))
            })
        };
        match styles.iter().find(|(from, _)| stands_here(from)) {
            None => {
                written.push(word.to_owned());
                place += 1;
            }
            Some((from, to)) => {
                let last = words[place + from.len() - 1];
                let mark = &last[bare(last).len()..];
                written.push(with_case_of(word, &format!("{to}{mark}")));
                place += from.len();
            }
        }
    }
    written.join(" ")
}

/// The word without the marks behind it.
fn bare(word: &str) -> &str {
    word.trim_end_matches(['.', ',', '!', '?', ';', ':'])
}

/// The forms of a verb, and how its doer and its object stand to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum VerbForm {
    /// "rides", "ride".
    Present,
    /// "is riding".
    Continuous,
    /// "riding", as captions have it.
    Gerund,
}

/// "a man rides a horse in the snow" → "a horse is ridden by a man in the snow".
pub(super) fn passive(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let turned = (1..words.len()).find_map(|place| {
        let (form, _, participle) = active_verb(&words, place)?;
        let doer_end = if form == VerbForm::Continuous { place - 1 } else { place };
        let object = phrase(&words, place + 1)?;
        let doer = words.get(..doer_end).filter(|doer| !doer.is_empty())?;
        let is = if is_plural(object) { "are" } else { "is" };
        let verb = match form {
            VerbForm::Present => vec![is, participle],
            VerbForm::Continuous => vec![is, "being", participle],
            VerbForm::Gerund => vec!["being", participle],
        };
        let rest = words.get(place + 1 + object.len()..)?;
        Some(sentence(&words, object, &[verb, vec!["by"]].concat(), doer, rest))
    });
    turned.unwrap_or_else(|| text.to_owned())
}

/// "a horse is ridden by a man in the snow" → "a man rides a horse in the snow".
pub(super) fn active(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let turned = (1..words.len()).find_map(|place| {
        if !words.get(place + 1)?.eq_ignore_ascii_case("by") {
            return None;
        }
        let &(infinitive, _) = VERBS.iter().find(|(_, participle)| *participle == words[place])?;
        let doer = phrase(&words, place + 2)?;
        let is = |word: &str| matches!(word, "is" | "are");
        let (form, object_end) = match (words[place - 1], place.checked_sub(2).map(|before| words[before])) {
            ("being", Some(before)) if is(before) => (VerbForm::Continuous, place - 2),
            ("being", _) => (VerbForm::Gerund, place - 1),
            (before, _) if is(before) => (VerbForm::Present, place - 1),
            // "a ball kicked by a boy"
            _ => (VerbForm::Gerund, place),
        };
        let object = words.get(..object_end).filter(|object| !object.is_empty())?;
        let plural = is_plural(doer);
        let (third, gerund) = (third_person(infinitive), gerund(infinitive));
        let verb = match form {
            VerbForm::Present if plural => vec![infinitive],
            VerbForm::Present => vec![third.as_str()],
            VerbForm::Continuous => vec![if plural { "are" } else { "is" }, gerund.as_str()],
            VerbForm::Gerund => vec![gerund.as_str()],
        };
        let rest = words.get(place + 2 + doer.len()..)?;
        Some(sentence(&words, doer, &verb, object, rest))
    });
    turned.unwrap_or_else(|| text.to_owned())
}

/// The verb at `place`, if something is done there: its form, infinitive and participle.
fn active_verb(words: &[&str], place: usize) -> Option<(VerbForm, &'static str, &'static str)> {
    let word = *words.get(place)?;
    VERBS.iter().find_map(|&(infinitive, participle)| {
        if word == gerund(infinitive) {
            let continuous = matches!(words[place - 1], "is" | "are");
            return Some((
                if continuous { VerbForm::Continuous } else { VerbForm::Gerund },
                infinitive,
                participle,
            ));
        }
        let present = word == infinitive || word == third_person(infinitive);
        present.then_some((VerbForm::Present, infinitive, participle))
    })
}

/// The noun phrase at `start`, if a determiner begins it.
fn phrase<'a, 'w>(words: &'a [&'w str], start: usize) -> Option<&'a [&'w str]> {
    let words = words.get(start..)?;
    if !is_listed(DETERMINERS, words.first()?.to_lowercase().as_str()) {
        return None;
    }
    let ends = |word: &&str| {
        is_listed(AFTER_PHRASE, word) || word.ends_with("ing") && word.len() > 5 || bare(word).is_empty()
    };
    let mut end = words.iter().position(ends).unwrap_or(words.len());
    // A comma or a full stop is the phrase's last word's, and nothing of it comes after.
    if let Some(marked) = words[..end].iter().position(|word| bare(word) != *word) {
        end = marked + 1;
    }
    (end >= 2).then(|| &words[..end])
}

fn is_plural(phrase: &[&str]) -> bool {
    let determiner = phrase.first().map(|word| word.to_lowercase());
    let last = phrase.last().map_or("", |word| bare(word));
    let singular = determiner.is_some_and(|word| matches!(word.as_str(), "a" | "an" | "another"));
    let plural = last.ends_with('s') && !last.ends_with("ss")
        || matches!(last, "people" | "children" | "men" | "women");
    !singular && plural
}

/// Puts a sentence together, with the capital and the full stop where the old one had them.
fn sentence(old: &[&str], first: &[&str], verb: &[&str], second: &[&str], rest: &[&str]) -> String {
    let mark = |phrase: &[&str]| phrase.last().map_or("", |word| &word[bare(word).len()..]).to_owned();
    let plain = |phrase: &[&str]| {
        let text = phrase.join(" ");
        text[..text.len() - mark(phrase).len()].to_owned()
    };
    // The mark behind whichever phrase stood last in the old sentence belongs behind the one that stands there now.
    let mark = [mark(first), mark(second)].concat();
    let begins_large = old.first().is_some_and(|word| word.starts_with(char::is_uppercase));
    let first = if begins_large { capitalised(&plain(first)) } else { plain(first) };
    let second = format!("{}{mark}", decapitalised(&plain(second)));
    let parts = [first, verb.join(" "), second, rest.join(" ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn third_person(infinitive: &str) -> String {
    let sibilant = ["s", "x", "ch", "sh"].iter().any(|ending| infinitive.ends_with(ending));
    match infinitive.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o']) => format!("{stem}ies"),
        _ if sibilant => format!("{infinitive}es"),
        _ => format!("{infinitive}s"),
    }
}

fn gerund(infinitive: &str) -> String {
    if is_listed(DOUBLED, infinitive) {
        let last = &infinitive[infinitive.len() - 1..];
        return format!("{infinitive}{last}ing");
    }
    format!("{}ing", infinitive.strip_suffix('e').unwrap_or(infinitive))
}

fn with_case_of(old: &str, new: &str) -> String {
    if old.starts_with(char::is_uppercase) { capitalised(new) } else { new.to_owned() }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Only articles and numbers: "Santa" keeps its capital.
fn decapitalised(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or("").to_lowercase();
    if is_listed(DETERMINERS, first.as_str()) {
        format!("{first}{}", &text[first.len()..])
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_voice_is_turned_and_turned_back() {
        for (spoken, turned) in [
            ("A man rides a horse in the snow.", "A horse is ridden by a man in the snow."),
            ("A man is riding a horse.", "A horse is being ridden by a man."),
            ("a boy kicking the red ball", "the red ball being kicked by a boy"),
            ("Two dogs chase the cats over grass", "The cats are chased by two dogs over grass"),
            ("A girl hugging her mother, in a park", "Her mother being hugged by a girl, in a park"),
        ] {
            assert_eq!(passive(spoken), turned);
            assert_eq!(active(turned), spoken);
        }
        assert_eq!(active("A ball kicked by a boy"), "A boy kicking a ball");
        for unturned in
            ["A dog in the snow", "rides a horse", "A man rides horses", "", "by by by", "being held by a"]
        {
            assert_eq!(passive(unturned), unturned);
            assert_eq!(active(unturned), unturned);
        }
    }

    #[test]
    fn the_style_changes_words_and_keeps_marks() {
        assert_eq!(
            formal("A kid and his dad, with a big bike."),
            "A child and his father, with a large bicycle."
        );
        assert_eq!(casual("Several people and a small child."), "A bunch of folks and a little kid");
        assert_eq!(formal("lots of guys"), "many men");
    }

    #[test]
    fn forms_of_verbs() {
        assert_eq!(
            ["carry", "catch", "play", "ride"].map(third_person),
            ["carries", "catches", "plays", "rides"]
        );
        assert_eq!(["hit", "ride", "throw"].map(gerund), ["hitting", "riding", "throwing"]);
    }
}
