//! What a person should look at again in a knowledge base.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::entity::{Entity, Sense};
use crate::english::lemma::singulars;
use crate::english::words::words;

/// The most words that a description should have: longer ones push the query out of the retriever's sight.
pub const LONG_DESCRIPTION_WORDS: usize = 9;

/// Qualities that exclude each other when they are said of one thing.
const OPPOSITES: &[(&str, &str)] = &[
    ("bare", "covered"),
    ("big", "small"),
    ("black", "white"),
    ("bright", "dull"),
    ("closed", "open"),
    ("dark", "pale"),
    ("dry", "wet"),
    ("empty", "full"),
    ("flat", "round"),
    ("glossy", "matte"),
    ("hard", "soft"),
    ("high", "low"),
    ("huge", "tiny"),
    ("large", "small"),
    ("long", "short"),
    ("narrow", "wide"),
    ("rough", "smooth"),
    ("shiny", "dull"),
    ("short", "tall"),
    ("slim", "stout"),
    ("thick", "thin"),
];

const NUMBERS: &[&str] =
    &["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// What kind of thing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Two entities that a query cannot tell apart, or two descriptions that say the same.
    Duplicate,
    /// A word that the given captions never use.
    UnseenWord,
    /// A description of many words.
    OverLong,
    /// Two descriptions of one sense that exclude each other.
    Contradiction,
}

/// Something to look at again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The entity.
    pub entity: String,
    /// What kind it is.
    pub kind: FindingKind,
    /// What it is.
    pub message: String,
}

/// Looks through all entities. With a `vocabulary` (words in lower case), words beyond it are reported.
pub fn lint(entities: &[Entity], vocabulary: Option<&HashSet<String>>) -> Vec<Finding> {
    let mut findings = same_lemmas(entities);
    for entity in entities {
        for sense in &entity.senses {
            let mut report = |kind, message| {
                findings.push(Finding { entity: entity.name.clone(), kind, message });
            };
            over_long(sense).into_iter().for_each(|message| report(FindingKind::OverLong, message));
            repeated(sense).into_iter().for_each(|message| report(FindingKind::Duplicate, message));
            contradictions(sense).into_iter().for_each(|message| report(FindingKind::Contradiction, message));
            let unseen = vocabulary.map(|vocabulary| unseen_words(sense, vocabulary)).unwrap_or_default();
            unseen.into_iter().for_each(|message| report(FindingKind::UnseenWord, message));
        }
    }
    findings.sort();
    findings
}

/// Names of different entities that are one and the same to the lookup.
fn same_lemmas(entities: &[Entity]) -> Vec<Finding> {
    let mut seen: BTreeMap<Vec<String>, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for entity in entities.iter().filter(|entity| entity.visual) {
        for name in std::iter::once(&entity.name).chain(&entity.aliases) {
            match seen.get(&lemmas(name)) {
                Some(other) if *other != entity.name => findings.push(Finding {
                    entity: entity.name.clone(),
                    kind: FindingKind::Duplicate,
                    message: format!("`{name}` and the entity `{other}` differ in number or hyphens only"),
                }),
                Some(_) => {}
                None => drop(seen.insert(lemmas(name), &entity.name)),
            }
        }
    }
    findings
}

fn lemmas(text: &str) -> Vec<String> {
    let lemma = |word: &str| singulars(word).into_iter().next().unwrap_or_else(|| word.to_owned());
    words(text).iter().map(|word| lemma(&word.text)).collect()
}

fn over_long(sense: &Sense) -> Vec<String> {
    let texts = sense.descriptions.iter().map(|description| &description.text);
    let counted = texts.map(|text| (text, text.split_whitespace().count()));
    let long = counted.filter(|(_, count)| *count > LONG_DESCRIPTION_WORDS);
    long.map(|(text, count)| format!("`{text}` has {count} words, expected at most {LONG_DESCRIPTION_WORDS}"))
        .collect()
}

fn repeated(sense: &Sense) -> Vec<String> {
    let mut seen: BTreeMap<Vec<String>, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for description in &sense.descriptions {
        let mut key = lemmas(&description.text);
        key.sort();
        if let Some(earlier) = seen.insert(key, &description.text) {
            found.push(format!("`{}` says the same as `{earlier}`", description.text));
        }
    }
    found
}

fn unseen_words(sense: &Sense, vocabulary: &HashSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for description in &sense.descriptions {
        for word in words(&description.text) {
            let known = vocabulary.contains(word.text.as_ref())
                || singulars(&word.text).iter().any(|singular| vocabulary.contains(singular));
            if !known {
                found.push(format!("`{}` in `{}` is in no caption", word.text, description.text));
            }
        }
    }
    found
}

/// Descriptions that say opposite things of the same noun, or give it two numbers. Where one leaves a choice ("long or
/// short ears"), it excludes nothing.
fn contradictions(sense: &Sense) -> Vec<String> {
    let mut said: Vec<(String, String, &str)> = Vec::new();
    let mut found = Vec::new();
    for description in &sense.descriptions {
        let words: Vec<String> = words(&description.text).iter().map(|word| word.text.to_string()).collect();
        if words.iter().any(|word| matches!(word.as_str(), "or" | "often" | "sometimes" | "usually")) {
            continue;
        }
        for pair in words.windows(2) {
            let [quality, noun] = pair else { continue };
            let noun = lemmas(noun).pop().unwrap_or_default();
            let against = said.iter().find(|(other, of, text)| {
                *of == noun && *text != description.text && excludes(other, quality)
            });
            if let Some((_, _, earlier)) = against {
                found.push(format!("`{}` contradicts `{earlier}`", description.text));
            }
            said.push((quality.clone(), noun, &description.text));
        }
    }
    found
}

fn excludes(left: &str, right: &str) -> bool {
    let opposite =
        |&(one, other): &(&str, &str)| (one, other) == (left, right) || (one, other) == (right, left);
    OPPOSITES.iter().any(opposite) || (left != right && NUMBERS.contains(&left) && NUMBERS.contains(&right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;

    fn messages(descriptions: &[&str], vocabulary: Option<&HashSet<String>>) -> Vec<(FindingKind, String)> {
        let entity = Entity::described("rabbit", descriptions.iter().copied(), Source::Person);
        lint(&[entity], vocabulary).into_iter().map(|finding| (finding.kind, finding.message)).collect()
    }

    #[test]
    fn each_kind_is_found() {
        let vocabulary: HashSet<String> = ["long", "ear", "short"].map(str::to_owned).into();
        assert_eq!(
            messages(&["long ears", "short ears"], Some(&vocabulary)),
            [(FindingKind::Contradiction, "`short ears` contradicts `long ears`".to_owned())]
        );
        assert_eq!(messages(&["two ears", "three ears"], None)[0].0, FindingKind::Contradiction);
        assert_eq!(messages(&["long ears", "ears long"], None)[0].0, FindingKind::Duplicate);
        assert_eq!(messages(&["a b c d e f g h i j"], None)[0].0, FindingKind::OverLong);
        assert_eq!(
            messages(&["lop ears"], Some(&vocabulary)),
            [(FindingKind::UnseenWord, "`lop` in `lop ears` is in no caption".to_owned())]
        );
        assert!(
            messages(&["long or short ears", "short ears", "long tail", "two ears and four paws"], None)
                .is_empty()
        );
    }

    #[test]
    fn names_that_a_query_cannot_tell_apart_are_found() {
        let entities =
            ["t-shirt", "t shirts", "shirt"].map(|name| Entity::described(name, ["cotton"], Source::Person));
        let findings = lint(&entities, None);
        assert_eq!(findings.len(), 1);
        assert_eq!(
            findings[0].message,
            "`t shirts` and the entity `t-shirt` differ in number or hyphens only"
        );
    }
}
