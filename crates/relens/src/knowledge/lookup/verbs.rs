//! Words that are a noun or a verb: after somebody who acts they are a verb.
//!
//! "The man stands" shows no stand, and "a dog jumps" no jump. A tagger would know more; this knows the frequent cases
//! and errs towards the noun, which only adds a description.

use crate::english::words::is_listed;

/// Words that are looked up as nouns but often are what somebody does.
const NOUN_OR_VERB: &str = "\
    bats bend bends bikes boards bow bows box boxes brush brushes camp camps climb climbs crash crashes cross \
    crosses dance dances dive dives dress drink drinks exercise face faces fan fans fetch fish fishes flies flip \
    flips float floats fly grind grinds gather gesture gestures grin grins guard guards hand hands hike hikes hug \
    hugs huddle huddles jump jumps kick kicks kiss kisses land lands laugh laughs lead leads leaves lift lifts \
    light lights line lines march marches match paddle paddles paint paints parade parades pet pets picture \
    pictures pile piles pitch pitches point points pose poses race races rest ride rides rock rocks roll rolls row \
    rows run runs sail sails shop shops shower showers sign signs skate skates ski skis sled sleds slide slides \
    smile smiles smoke smokes snowboards splash splashes split spot spots spray sprays stand stands step steps \
    stick sticks surf surfs swing swings toss track tracks train trains trail trails tug tugs walk walks watch \
    watches water waters wave waves wrestle wrestles";

/// Words after which one of those is a verb.
const ACTING: &str = "\
    adults athlete athletes boy boys can cannot child children couple crowd dog dogs family female females girl \
    girls group guy guys he it kid kids lady male males man men people person persons player players puppies puppy \
    she teenager teenagers that they to toddler we which who will woman women you";

/// Of those, words that are a verb far more often than not: a noun only where a determiner leads up to them.
const MOSTLY_VERB: &str = "\
    climb climbs fetch flip flips jump jumps kick kicks laugh laughs point points pose poses ride rides run runs \
    smile smiles stand stands walk walks watch watches";
const DETERMINERS: &str = "\
    another any each every four her his its many my no of one our several some that the their these this those \
    three two your";

/// Whether `word` is what somebody does, seen from the two words before it: the nearer one first.
pub(super) fn is_verb(word: &str, previous: Option<&str>, before: Option<&str>) -> bool {
    if !is_listed(NOUN_OR_VERB, word) {
        return false;
    }
    let Some(previous) = previous else { return false };
    if is_listed(ACTING, previous) {
        return true;
    }
    let leads = |determiner: &str| {
        // "a runs" is no noun phrase, "a run" is.
        is_listed(DETERMINERS, determiner) || matches!(determiner, "a" | "an") && !word.ends_with('s')
    };
    is_listed(MOSTLY_VERB, word) && !leads(previous) && !before.is_some_and(leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_does_is_no_thing() {
        assert!(is_verb("stands", Some("man"), Some("a")));
        assert!(is_verb("rock", Some("to"), None));
        assert!(is_verb("stands", Some("shirt"), Some("blue")));
        assert!(is_verb("watches", Some("shirt"), Some("a")));
        assert!(!is_verb("stands", Some("wooden"), Some("two")));
        assert!(!is_verb("stand", Some("wooden"), Some("a")));
        assert!(!is_verb("stand", None, None));
        assert!(!is_verb("waves", Some("large"), None));
        assert!(!is_verb("house", Some("dog"), None));
    }
}
