//! Finds the entities that a text names.
//!
//! Names and texts are compared word by word on their lemmas, so that "mice" finds "mouse", "card" never finds "car",
//! and "hot-dog stand" finds "hot dog" and "stand". Of matches that overlap the one with more words wins, then the one
//! further left. Chinese and Japanese are compared character by character, without spaces.

mod verbs;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;

use crate::english::lemma::singulars;
use crate::english::words::{WordInText, words};

/// Deterministic, so that nothing depends on the seed of a hash.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// An entity that a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The number that the entity was inserted with.
    pub entity: usize,
    /// Where its name stands in the text, in bytes.
    pub range: Range<usize>,
    /// The name as it stands there.
    pub surface: String,
    /// Whether it stands there in the plural.
    pub plural: bool,
}

/// A trie over the words of names.
#[derive(Debug, Default)]
pub struct Lookup {
    words: Map<Box<str>, u32>,
    /// The node that follows a node by a word.
    children: Map<(u32, u32), u32>,
    /// The entity whose name ends at a node; node 0 is the root.
    entities: Vec<Option<u32>>,
}

/// A name found in a text, as a range of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NameMatch {
    first: usize,
    length: usize,
    entity: u32,
    plural: bool,
}

impl Lookup {
    /// No names yet.
    pub fn new() -> Self {
        Self { entities: vec![None], ..Self::default() }
    }

    /// Makes `name` lead to `entity`, unless it leads to another one already. Returns whether it does now.
    pub fn insert(&mut self, name: &str, entity: usize) -> bool {
        let Ok(entity) = u32::try_from(entity) else { return false };
        let mut node = 0;
        for word in words(name) {
            let next = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
            // Words are numbered once, so that the tree is a map of pairs of numbers and not of strings.
            let word = *self.words.entry(word.text.as_ref().into()).or_insert(next);
            let fresh = u32::try_from(self.entities.len()).unwrap_or(u32::MAX);
            node = *self.children.entry((node, word)).or_insert(fresh);
            if node == fresh {
                self.entities.push(None);
            }
        }
        match self.entities.get_mut(node as usize) {
            Some(end) if node != 0 => *end.get_or_insert(entity) == entity,
            _ => false,
        }
    }

    /// The entities that `text` names, from left to right, none overlapping another.
    pub fn find(&self, text: &str) -> Vec<Mention> {
        let words = words(text);
        let forms: Vec<Vec<(u32, bool)>> =
            (0..words.len()).map(|position| self.forms(&words, position)).collect();
        let mut candidates: Vec<NameMatch> = Vec::new();
        for first in 0..words.len() {
            self.matches_from(&words, &forms, first, &mut candidates);
        }
        // The longest name wins wherever it stands: "ice cream cone" before "ice cream".
        candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.length), candidate.first));
        let mut taken = vec![false; words.len()];
        let mut chosen = Vec::new();
        for candidate in candidates {
            let span = &mut taken[candidate.first..candidate.first + candidate.length];
            if !span.contains(&true) {
                span.fill(true);
                chosen.push(candidate);
            }
        }
        chosen.sort_by_key(|candidate| candidate.first);
        chosen.into_iter().map(|candidate| mention(text, &words, candidate)).collect()
    }

    /// The known words that the word at `position` may stand for: itself, then what it is the plural of.
    fn forms(&self, words: &[WordInText<'_>], position: usize) -> Vec<(u32, bool)> {
        let Some(word) = words.get(position) else { return Vec::new() };
        let itself = self.words.get(word.text.as_ref()).map(|&id| (id, false));
        let singular = singulars(&word.text);
        let singular = singular.iter().filter_map(|form| self.words.get(form.as_str())).map(|&id| (id, true));
        itself.into_iter().chain(singular).collect()
    }

    /// Adds the names that begin at the word `first`, one for each length: the longest may lose to an overlapping one
    /// further right. Of names of one length the one whose words stand in the text as they are is taken.
    fn matches_from(
        &self,
        words: &[WordInText<'_>],
        forms: &[Vec<(u32, bool)>],
        first: usize,
        found: &mut Vec<NameMatch>,
    ) {
        if !words.get(first).is_some_and(|word| word.may_begin) {
            return;
        }
        // Several nodes at once: a word may stand for itself and for its singular, and both may go on.
        let mut reached: Vec<(u32, bool)> = vec![(0, false)];
        for (length, word) in words.iter().skip(first).enumerate().map(|(steps, word)| (steps + 1, word)) {
            if length > 1 && !word.joins {
                break;
            }
            let Some(forms) = forms.get(first + length - 1) else { break };
            let step = |&(node, _): &(u32, bool)| {
                forms
                    .iter()
                    .filter_map(move |&(form, plural)| Some((*self.children.get(&(node, form))?, plural)))
            };
            reached = reached.iter().flat_map(step).collect();
            if reached.is_empty() {
                break;
            }
            let end = reached.iter().find_map(|&(node, plural)| {
                let entity = self.entities.get(node as usize).copied().flatten()?;
                Some(NameMatch { first, length, entity, plural })
            });
            let verb = length == 1 && is_verb(words, first);
            found.extend(end.filter(|_| word.may_end && !verb));
        }
    }
}

/// Whether the word at `position` is what somebody named before it does.
fn is_verb(words: &[WordInText<'_>], position: usize) -> bool {
    let Some(word) = words.get(position).filter(|word| word.joins) else { return false };
    let before = |steps: usize| position.checked_sub(steps).and_then(|position| words.get(position));
    // Something between the two, as in "children's faces", and they are no subject and verb.
    let previous = before(1).filter(|previous| previous.range.end + 1 == word.range.start);
    let earlier = before(2).filter(|_| previous.is_some_and(|previous| previous.joins));
    verbs::is_verb(
        &word.text,
        previous.map(|word| word.text.as_ref()),
        earlier.map(|word| word.text.as_ref()),
    )
}

fn mention(text: &str, words: &[WordInText<'_>], candidate: NameMatch) -> Mention {
    let NameMatch { first, length, entity, plural } = candidate;
    let start = words.get(first).map_or(0, |word| word.range.start);
    let end = words.get(first + length - 1).map_or(start, |word| word.range.end);
    let surface = text.get(start..end).unwrap_or_default().to_owned();
    Mention { entity: entity as usize, range: start..end, surface, plural }
}

#[cfg(test)]
mod tests;
