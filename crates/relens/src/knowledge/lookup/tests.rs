use proptest::prelude::*;

use super::*;
use crate::english::words::is_unspaced;

fn lookup(names: &[&str]) -> Lookup {
    let mut lookup = Lookup::new();
    for (entity, name) in names.iter().enumerate() {
        lookup.insert(name, entity);
    }
    lookup
}

fn found(names: &[&str], text: &str) -> Vec<String> {
    lookup(names).find(text).into_iter().map(|mention| mention.surface).collect()
}

#[test]
fn a_name_is_never_found_inside_a_word() {
    assert!(
        found(&["car", "man", "lantern"], "card, scar, cars-only jack-o'-lantern man-eating womanly")
            .is_empty()
    );
    assert_eq!(found(&["car"], "(Car) CARS. the car's"), ["Car", "CARS", "car"]);
}

#[test]
fn the_longest_name_wins() {
    let names = ["fire", "truck", "fire truck", "truck driver", "driver", "dog", "hot dog", "hot dog stand"];
    assert_eq!(found(&names, "a red fire-truck and a fire, truck"), ["fire-truck", "fire", "truck"]);
    assert_eq!(found(&names, "two hot dog stands"), ["hot dog stands"]);
    assert_eq!(found(&names, "a hot dogs' house"), ["hot dogs"]);
    // Of equal lengths the left one; what is left over is found all the same.
    assert_eq!(found(&names, "fire truck driver"), ["fire truck", "driver"]);
}

#[test]
fn a_longer_name_further_right_beats_a_shorter_one() {
    assert_eq!(found(&["a b", "b c d", "a"], "a b c d"), ["a", "b c d"]);
}

#[test]
fn plurals_lead_to_their_entity() {
    let mentions = lookup(&["mouse", "tennis shoe", "leaf", "person"])
        .find("Mice and people in Tennis Shoes under leaves");
    let entities: Vec<usize> = mentions.iter().map(|mention| mention.entity).collect();
    assert_eq!(entities, [0, 3, 1, 2]);
    assert!(mentions.iter().all(|mention| mention.plural));
}

#[test]
fn a_possessive_inside_a_name_may_be_left_out() {
    let names = ["rubik's cube", "jack-o'-lantern"];
    assert_eq!(
        found(&names, "a Rubik’s cube, rubiks cubes, the jack o lanterns"),
        ["Rubik’s cube", "rubiks cubes", "jack o lanterns"]
    );
}

#[test]
fn the_word_as_it_stands_is_preferred() {
    let names = ["glass", "glasses"];
    assert_eq!(lookup(&names).find("glasses")[0].entity, 1);
    assert_eq!(lookup(&names).find("glass")[0].entity, 0);
    assert_eq!(lookup(&names[..1]).find("glasses")[0].entity, 0);
}

#[test]
fn what_somebody_does_is_not_found() {
    assert_eq!(found(&["stand", "dog"], "the dog stands by a stand"), ["dog", "stand"]);
}

#[test]
fn chinese_needs_no_spaces() {
    let names = ["航空母舰", "山东舰", "海", "海滩", "t恤"];
    assert_eq!(found(&names, "山东舰是一艘航空母舰，在海滩边"), ["山东舰", "航空母舰", "海滩"]);
    assert_eq!(found(&names, "穿T恤的人"), ["T恤"]);
}

#[test]
fn nothing_is_found_in_nothing() {
    for text in ["", "  ", "!?", "🐕"] {
        assert!(found(&["dog", ""], text).is_empty());
    }
    assert!(!Lookup::new().insert("...", 0));
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec("[abs]{1,3}|海|滩", 1..4).prop_map(|words| words.join(" "))
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec("[abs]{1,4}|海|滩|[ ,.'-]|é|cab", 0..20)
        .prop_map(|parts| parts.join(" ").replace("  ", ""))
}

proptest! {
    #[test]
    fn matches_are_whole_words_apart_from_each_other_and_the_longest(
        names in prop::collection::vec(name(), 1..12), text in text()
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let lookup = lookup(&names);
        let mentions = lookup.find(&text);
        for mention in &mentions {
            prop_assert_eq!(&text[mention.range.clone()], &mention.surface);
            let before = text[..mention.range.start].chars().next_back();
            let after = text[mention.range.end..].chars().next();
            let first = mention.surface.chars().next().unwrap();
            let last = mention.surface.chars().next_back().unwrap();
            let splits = |left: char, right: char| {
                left.is_alphanumeric() && right.is_alphanumeric() && !is_unspaced(left) && !is_unspaced(right)
            };
            prop_assert!(!before.is_some_and(|before| splits(before, first)));
            prop_assert!(!after.is_some_and(|after| splits(last, after)));
        }
        for pair in mentions.windows(2) {
            prop_assert!(pair[0].range.end <= pair[1].range.start);
        }
        // Whatever else could have been found overlaps something at least as long that was.
        let all = words(&text);
        let forms: Vec<_> = (0..all.len()).map(|position| lookup.forms(&all, position)).collect();
        let mut candidates = Vec::new();
        (0..all.len()).for_each(|first| lookup.matches_from(&all, &forms, first, &mut candidates));
        for candidate in candidates {
            let span = all[candidate.first].range.start..all[candidate.first + candidate.length - 1].range.end;
            let beaten_by = mentions.iter().find(|mention| {
                mention.range.start < span.end && span.start < mention.range.end
                    && words(&mention.surface).len() >= candidate.length
            });
            prop_assert!(beaten_by.is_some(), "{span:?} of {text:?}");
        }
    }
}
