//! What a query does not want: `a beach without people`, `dog -leash`, `a street, no cars`.
//!
//! A retriever that has learned captions reads "without people" as a mention of people, and finds them. So the part that
//! is not wanted is taken out of the query, embedded alone, and its vector is subtracted. The words that announce such a
//! part are `without`, `no` and `not`, as whole words; a hyphen before a word excludes that word.

use serde::Deserialize;

use super::{Combination, EnhancedQuery, TraceEntry, WeightedText};
use crate::english::words::is_listed;
use crate::error::{Error, Result};

/// Words of an excluded part, at most; what follows is wanted again.
const LONGEST_PART: usize = 6;
/// Words that end an excluded part: "a beach without people at sunset" wants the sunset.
const ENDS: &str = "\
    but with in on at near by under behind during while that which who is are from for over next beside through \
    into to just only";
/// Words that say nothing about a picture: what is left of "there is no snow" but these is no query.
const CONNECTIVES: &str = "a an the and or but with that which who is are has have there of it any";

/// What `[exclusion]` can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExclusionConfig {
    /// How much of the vector of what is not wanted is subtracted, relative to the query's weight: above 0, up to 2.
    pub weight: f32,
}

/// Takes away what queries do not want.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exclusion {
    weight: f32,
}

/// A query without what it does not want, and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitQuery {
    /// What the pictures should show.
    pub wanted: String,
    /// What they should not show, one part each.
    pub excluded: Vec<String>,
}

impl Exclusion {
    /// Subtracts by `config`.
    ///
    /// # Errors
    /// [`Error::Enhancer`] for a weight outside of its range.
    pub fn new(config: ExclusionConfig) -> Result<Self> {
        let ExclusionConfig { weight } = config;
        if !(weight > 0.0 && weight <= 2.0) {
            return Err(Error::Enhancer {
                enhancer: "exclusion".to_owned(),
                reason: format!("expected a weight above 0 and up to 2, found {weight}"),
            });
        }
        Ok(Self { weight })
    }

    /// Adds what is not wanted to the texts, with negative weights. Differences need one vector, so that the texts are
    /// summed, however they were combined.
    pub fn take_away(&self, enhanced: &mut EnhancedQuery, excluded: &[String]) {
        if excluded.is_empty() {
            return;
        }
        let total: f32 = enhanced.texts.iter().map(|text| text.weight).sum();
        let weight = -self.weight * total;
        let texts = excluded.iter().map(|text| WeightedText { text: text.clone(), weight });
        enhanced.texts.extend(texts);
        enhanced.combination = Combination::WeightedSum;
        enhanced.trace.retain(|step| !matches!(step, TraceEntry::Kept { .. }));
        enhanced.trace.extend(excluded.iter().map(|text| TraceEntry::Excluded { text: text.clone() }));
    }
}

/// What a query wants and what it does not; `None` if it wants everything that it says, or nothing.
pub fn split(query: &str) -> Option<SplitQuery> {
    let words: Vec<&str> = query.split_whitespace().collect();
    let (mut wanted, mut excluded): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut position = 0;
    while let Some(&word) = words.get(position) {
        position += 1;
        if let Some(hyphened) = hyphened(word) {
            excluded.push(hyphened.to_owned());
            continue;
        }
        let rest = words.get(position..).unwrap_or_default();
        if !announces(word, rest) {
            wanted.push(word);
            continue;
        }
        let length = part_length(rest);
        if length == 0 {
            wanted.push(word);
            continue;
        }
        excluded.extend(parts(rest.get(..length).unwrap_or_default()));
        position += length;
        while wanted.last().is_some_and(|last| is_listed(CONNECTIVES, plain(last).as_str())) {
            wanted.pop();
        }
    }
    let says_something = wanted.iter().any(|word| {
        let word = plain(word);
        !word.is_empty() && !is_listed(CONNECTIVES, word.as_str()) && !is_listed(ENDS, word.as_str())
    });
    if excluded.is_empty() || !says_something {
        return None;
    }
    let wanted = wanted.join(" ");
    Some(SplitQuery { wanted: wanted.trim_end_matches([',', ';']).to_owned(), excluded })
}

/// The word behind a hyphen that excludes it.
fn hyphened(word: &str) -> Option<&str> {
    let rest = word.strip_prefix(['-', '\u{2212}'])?.trim_end_matches([',', ';', '.']);
    rest.chars().next().is_some_and(char::is_alphabetic).then_some(rest)
}

/// Whether `word` announces that what follows is not wanted.
fn announces(word: &str, rest: &[&str]) -> bool {
    let next = rest.first().map(|next| plain(next)).unwrap_or_default();
    match word.to_lowercase().as_str() {
        "without" => true,
        // "no longer", "no more than", "no. 7".
        "no" => !matches!(next.as_str(), "longer" | "more" | "doubt"),
        "not" => !matches!(next.as_str(), "only" | "just" | "so" | "yet" | "quite"),
        _ => false,
    }
}

/// How many words the excluded part has.
fn part_length(rest: &[&str]) -> usize {
    for (length, word) in rest.iter().enumerate() {
        if length == LONGEST_PART || length > 0 && is_listed(ENDS, plain(word).as_str()) {
            return length;
        }
        if hyphened(word).is_some() || announces(word, rest.get(length + 1..).unwrap_or_default()) {
            return length;
        }
        if word.ends_with([',', ';', '.', '!', '?']) {
            return length + 1;
        }
    }
    rest.len()
}

/// The parts of an excluded part that `and` and `or` join.
fn parts(words: &[&str]) -> Vec<String> {
    let joined = |word: &&str| matches!(plain(word).as_str(), "and" | "or");
    let part = |words: &[&str]| {
        let words = words.iter().map(|word| word.trim_matches([',', ';', '.', '!', '?']));
        let words: Vec<&str> = words.filter(|word| !word.is_empty() && *word != "any").collect();
        // Nobody in a picture is a picture without people.
        if words == ["one"] { "people".to_owned() } else { words.join(" ") }
    };
    words.split(joined).map(part).filter(|part| !part.is_empty()).collect()
}

fn plain(word: &str) -> String {
    word.trim_matches(|character: char| !character.is_alphanumeric()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::Query;

    #[test]
    fn what_is_not_wanted_is_found_as_whole_words() {
        for (query, wanted, excluded) in [
            ("a beach without people", "a beach", &["people"][..]),
            ("a beach without any people at sunset", "a beach at sunset", &["people"]),
            ("dog -leash", "dog", &["leash"]),
            ("a street, no cars", "a street", &["cars"]),
            ("no people on the beach", "on the beach", &["people"]),
            ("a dog with no collar or leash in snow", "a dog in snow", &["collar", "leash"]),
            ("a dog, not a cat, on grass", "a dog, on grass", &["a cat"]),
            ("a mountain with no one", "a mountain", &["people"]),
            ("dog −leash -collar outside", "dog outside", &["leash", "collar"]),
        ] {
            let found = split(query).unwrap_or_else(|| panic!("{query}"));
            assert_eq!(found.wanted, wanted, "{query}");
            assert_eq!(found.excluded, excluded, "{query}");
        }
    }

    #[test]
    fn other_queries_stay_as_they_are() {
        for query in [
            "a notable knot",
            "a north-facing t-shirt",
            "dog - leash",
            "no people",
            "there is no snow",
            "-dog",
            "not only dogs",
            "a man who is no longer young",
            "a dog without",
            "no",
            "5 -3",
        ] {
            assert_eq!(split(query), None, "{query}");
        }
    }

    #[test]
    fn excluded_texts_are_subtracted_by_the_weight() {
        let exclusion = Exclusion::new(ExclusionConfig { weight: 0.5 }).unwrap();
        let mut enhanced = EnhancedQuery::unchanged(&Query::new("a beach").unwrap(), "identity");
        exclusion.take_away(&mut enhanced, &[]);
        assert_eq!(enhanced.combination, Combination::Replace);
        exclusion.take_away(&mut enhanced, &["people".to_owned()]);
        let weights: Vec<f32> = enhanced.texts.iter().map(|text| text.weight).collect();
        assert_eq!((weights, enhanced.combination), (vec![1.0, -0.5], Combination::WeightedSum));
        assert_eq!(enhanced.trace, [TraceEntry::Excluded { text: "people".to_owned() }]);
        for weight in [0.0, -1.0, 3.0, f32::NAN] {
            assert!(Exclusion::new(ExclusionConfig { weight }).is_err());
        }
    }
}
