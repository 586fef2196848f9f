//! Fluent English of a text in which words were replaced: articles fit, what belongs behind its noun stands there, and
//! nothing is said twice.

use std::borrow::Cow;

use super::clean::mend;
use super::phrases::ends_phrase;
use crate::english::article::{is_determiner, is_plural, may_begin_noun_phrase, missing};
use crate::english::words::is_listed;

/// Meanings that begin so read better behind the word that they tell of: "bespectacled man" is a man in glasses.
const BEHIND_THE_NOUN: &str = "in with on without";
/// Words that may stand between a quality and its noun.
const QUALITIES: &str = "big large little long old short small tall tiny young";
/// What belongs to a verb: "picking up".
const PARTICLES: &str = "along around away back down in off on out over through up";
/// Verbs that say nothing without their objects: who is "making sparks" is not making the metal.
const SAYS_NOTHING_ALONE: &str = "\
    being doing getting giving going having holding making putting showing taking using wearing does gets gives goes \
    has holds makes puts shows takes uses wears";
/// What a garment is like: "blue-hatted" is in a blue hat.
const OF_GARMENTS: &str = "\
    beige black blue brown checkered dark denim floral gold golden gray green grey leather light orange pink plaid \
    purple red silk silver striped tan white yellow";

/// A stretch of the new text: what stands before it in the old one, and itself.
pub(in crate::enhancer) struct Passage<'a> {
    /// What parts it from the unit before.
    pub(in crate::enhancer) gap: &'a str,
    /// The words.
    pub(in crate::enhancer) text: Cow<'a, str>,
    /// Whether it is a meaning, or stands behind other words than before.
    pub(in crate::enhancer) new: bool,
    /// Whether somebody typed just these words.
    pub(in crate::enhancer) typed: bool,
    /// Whether only spaces or hyphens part it from the unit before.
    pub(in crate::enhancer) joins: bool,
}

/// The units as a text.
pub(in crate::enhancer) fn fluent(mut units: Vec<Passage<'_>>) -> String {
    wear_colours(&mut units);
    put_behind_nouns(&mut units);
    leave_objects(&mut units);
    say_once(&mut units);
    assembled(&units)
}

/// "blue-in a hat girl" becomes "in a blue hat girl", and "blue-clad girl" "in blue girl", where the colour or the
/// garment is new.
fn wear_colours(units: &mut Vec<Passage<'_>>) {
    let mut position = 1;
    while position < units.len() {
        let (Some(colour), Some(garment)) = (units.get(position - 1), units.get(position)) else { break };
        let worn = garment.gap == "-" && is_listed(OF_GARMENTS, colour.text.to_lowercase().as_str());
        let worn = if !worn {
            None
        } else if garment.new {
            let (preposition, rest) = garment.text.split_once(' ').unwrap_or_default();
            let (article, noun) = rest.split_once(' ').unwrap_or_default();
            let article = matches!(article, "a" | "an").then_some(article);
            let noun = article.map_or(rest, |_| noun);
            let mut phrase = vec![preposition.to_owned()];
            if let Some(article) = article {
                let mut article = article.to_owned();
                mend(&mut article, &colour.text);
                phrase.push(article);
            }
            phrase.extend([colour.text.to_string(), noun.to_owned()]);
            (is_listed(BEHIND_THE_NOUN, preposition) && !noun.is_empty()).then(|| phrase.join(" "))
        } else {
            (colour.new && garment.text == "clad").then(|| format!("in {}", colour.text))
        };
        match worn {
            Some(worn) => {
                units.remove(position);
                if let Some(unit) = units.get_mut(position - 1) {
                    (unit.text, unit.new) = (worn.into(), true);
                }
            }
            None => position += 1,
        }
    }
}

/// "in a hat girl" reads "girl in a hat", and "a showing its teeth dog" "a dog showing its teeth".
fn put_behind_nouns(units: &mut Vec<Passage<'_>>) {
    let mut position = 0;
    while position + 1 < units.len() {
        let before = position.checked_sub(1).and_then(|before| units.get(before));
        let Some(this) = units.get(position) else { break };
        let determined = |before: &Passage<'_>| {
            let word = before.text.to_lowercase();
            is_determiner(&word) || word == "of"
        };
        let mut parts = this.text.split(' ');
        let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let tells = this.new && !second.is_empty();
        // "Showing its teeth" and "picking up trash" are what a noun does; "herding dog" is a noun itself.
        let acts = first.ends_with("ing") && (is_determiner(second) || is_listed(PARTICLES, second));
        // At the beginning of a text "showing its teeth" may have what follows as its object.
        let behind = tells
            && (is_listed(BEHIND_THE_NOUN, first)
                && before.is_none_or(|before| !this.joins || determined(before))
                || acts && this.joins && before.is_some_and(determined));
        let qualities =
            units.iter().skip(position + 1).take_while(|unit| unit.joins && is_quality(&unit.text)).count();
        let noun = position + 1 + qualities;
        // A number is no noun: in "two bespectacled two" there is none.
        let is_head = |noun: &Passage<'_>| {
            noun.joins && head_length(&noun.text) > 0 && !is_determiner(&noun.text.to_lowercase())
        };
        if behind && units.get(noun).is_some_and(is_head) {
            let this = units.remove(position);
            let Some(noun) = units.get_mut(noun - 1) else { break };
            // What the noun's own meaning has behind its head, "man talking to students", stays behind.
            let words: Vec<&str> = noun.text.split(' ').collect();
            let (head, rest) = words.split_at(head_length(&noun.text));
            noun.text = [head, &[&*this.text], rest].concat().join(" ").into();
            (noun.new, noun.typed) = (true, false);
            // The article before fits the word that stands behind it now.
            if let Some(next) = units.get_mut(position) {
                (next.gap, next.joins, next.new) = (this.gap, this.joins, true);
            }
            position += qualities;
        }
        position += 1;
    }
}

fn is_quality(word: &str) -> bool {
    is_listed(OF_GARMENTS, word) || is_listed(QUALITIES, word)
}

/// How many words the noun and what stands before it are; 0 if no noun comes first.
fn head_length(text: &str) -> usize {
    text.split(' ').take_while(|word| !ends_phrase(word) && !word.ends_with("ing")).count()
}

/// "playing guitar an instrument" reads "playing an instrument": an object of its own goes where the text has one.
fn leave_objects(units: &mut [Passage<'_>]) {
    for position in 1..units.len() {
        let Some([before, this, next]) =
            units.get_mut(position - 1..).and_then(|rest| rest.first_chunk_mut::<3>())
        else {
            break;
        };
        let words: Vec<&str> = this.text.split(' ').collect();
        let Some((verb, rest)) = words.split_first() else { continue };
        let object = rest.iter().skip_while(|word| is_listed(PARTICLES, word)).count();
        let (next_word, before) =
            (next.text.split(' ').next().unwrap_or_default(), before.text.to_lowercase());
        let acts = verb.ends_with("ing") || verb.ends_with('s');
        let has_object = this.new
            && acts
            && !is_listed(SAYS_NOTHING_ALONE, verb)
            && object > 0
            && !rest
                .iter()
                .skip(rest.len() - object)
                .any(|word| ends_phrase(word) || is_listed(PARTICLES, word));
        if has_object
            && this.joins
            && !is_determiner(&before)
            && next.joins
            && may_begin_noun_phrase(next_word)
        {
            this.text = words.get(..words.len() - object).unwrap_or_default().join(" ").into();
        }
    }
}

/// "colorful flower flower" reads "colorful flower": what a meaning says that stands beside it is left out of it. Who types
/// "red red" means it.
fn say_once(units: &mut Vec<Passage<'_>>) {
    let same = |left: &str, right: &str| {
        let bare = |word: &str| word.to_lowercase().trim_end_matches('s').to_owned();
        bare(left) == bare(right)
    };
    let mut position = 0;
    while position < units.len() {
        let before = position.checked_sub(1).and_then(|before| units.get(before));
        let last_before = before.and_then(|unit| unit.text.rsplit(' ').next()).map(str::to_owned);
        let after = units.get(position + 1).filter(|after| after.joins);
        let first_after = after.and_then(|unit| unit.text.split(' ').next()).map(str::to_owned);
        let Some(unit) = units.get_mut(position).filter(|unit| unit.new && !unit.typed) else {
            position += 1;
            continue;
        };
        let repeated = last_before.filter(|_| unit.joins).zip(unit.text.split_once(' '));
        let without_first = repeated.filter(|(last, (first, _))| same(last, first));
        if let Some(rest) = without_first.map(|(_, (_, rest))| rest.to_owned()) {
            unit.text = rest.into();
        }
        let last = unit.text.rsplit(' ').next().unwrap_or_default();
        if first_after.is_some_and(|first| same(&first, last)) {
            match unit.text.rsplit_once(' ').map(|(rest, _)| rest.to_owned()) {
                Some(rest) => unit.text = rest.into(),
                // The word alone: the next one says it.
                None => {
                    let (gap, joins) = (unit.gap, unit.joins);
                    units.remove(position);
                    if let Some(next) = units.get_mut(position) {
                        (next.gap, next.joins, next.new) = (gap, joins, true);
                    }
                    continue;
                }
            }
        }
        position += 1;
    }
}

/// The units one after the other; compounds are parted where something in them was replaced, and articles fit.
fn assembled(units: &[Passage<'_>]) -> String {
    let mut result = String::new();
    let mut last: Option<(usize, bool)> = None;
    for (position, unit) in units.iter().enumerate() {
        let new = unit.new || last.is_some_and(|(_, new)| new);
        let parted = unit.joins && new && !unit.gap.contains(char::is_whitespace);
        result.push_str(if parted { " " } else { unit.gap });
        if let Some((start, _)) = last.filter(|_| new) {
            let before = result.get(start..).unwrap_or_default().trim_end().to_owned();
            let lower = before.to_lowercase();
            if matches!(lower.as_str(), "a" | "an") {
                let mut article = lower;
                mend(&mut article, &unit.text);
                let spaces = result.len() - start - before.len();
                result.truncate(start);
                if takes_article(unit, units.get(position + 1)) {
                    let capital = before.starts_with('A');
                    result.push_str(&if capital { article.replacen('a', "A", 1) } else { article });
                    result.extend(std::iter::repeat_n(' ', spaces));
                }
            }
        }
        last = Some((result.len(), unit.new));
        result.push_str(&unit.text);
    }
    result
}

/// Whether "a" can stay before a meaning: not before "three" or, unless it tells of the noun behind it, "stairs".
fn takes_article(unit: &Passage<'_>, next: Option<&Passage<'_>>) -> bool {
    if !unit.new {
        return true;
    }
    if unit.text.split(' ').next().is_some_and(is_determiner) {
        return false;
    }
    let tells_of_next = next.is_some_and(|next| next.joins && !ends_phrase(&next.text));
    tells_of_next || missing(&unit.text).is_some() || !unit.text.split(' ').any(is_plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "_" marks what is new; words of one unit are joined by dots.
    fn text(marked: &str) -> String {
        let mut units = Vec::new();
        let mut rest = marked;
        while !rest.is_empty() {
            let end = rest.find([' ', '-']).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            let new = word.strip_prefix('_');
            let text = new.unwrap_or(word).replace('.', " ");
            let gap = if units.is_empty() { "" } else { &marked[marked.len() - rest.len() - 1..][..1] };
            let (typed, joins) = (new.is_none(), !units.is_empty());
            units.push(Passage { gap, text: text.into(), new: new.is_some(), typed, joins });
            rest = after.get(1..).unwrap_or_default();
        }
        fluent(units)
    }

    #[test]
    fn what_is_new_reads_as_people_write() {
        for (marked, expected) in [
            ("a _in.glasses girl", "a girl in glasses"),
            ("a _blue-_in.a.hat girl", "a girl in a blue hat"),
            ("an _orange-_in.a.hat girl", "a girl in an orange hat"),
            ("_blue-clad _boy runs", "boy in blue runs"),
            ("blue-clad _boy runs", "blue-clad boy runs"),
            ("orange _colorful.flower flower", "orange colorful flower"),
            ("a _cat cat", "a cat"),
            ("in a sea _sea.flower", "in a sea flower"),
            ("an _three dogs", "three dogs"),
            ("on a _stairs", "on stairs"),
            ("on a _stairs railing", "on a stairs railing"),
            ("A _owl", "An owl"),
            ("a snow-_covered tree", "a snow covered tree"),
            ("a _showing.its.teeth dog barks", "a dog showing its teeth barks"),
            ("a _herding.dog barks", "a herding dog barks"),
            ("an _in.glasses old man", "an old man in glasses"),
            ("an _in.glasses _man.talking.to.students", "a man in glasses talking to students"),
            ("showing dogs a _showing.its.teeth black dog", "showing dogs a black dog showing its teeth"),
            ("man _playing.guitar a banjo", "man playing a banjo"),
            ("dog _moves.animals sheep", "dog moves sheep"),
            ("dog _moves.animals in a field", "dog moves animals in a field"),
            ("man _picking.up.trash cans", "man picking up cans"),
            ("man _making.sparks metal", "man making sparks metal"),
            ("dog _moving.fast uphill", "dog moving fast uphill"),
            ("", ""),
        ] {
            assert_eq!(text(marked), expected, "{marked}");
        }
    }
}
