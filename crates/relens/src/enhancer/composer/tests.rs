use super::super::enhance_text;
use super::super::entity_finder::EntityConfig;
use super::super::entity_finder::tests::knowledge;
use super::*;
use crate::english::WordList;
use crate::knowledge::wordnet::WordNet;

fn generator(wordnet: Option<WordNet>) -> Generator {
    let captions = ["a dog runs after a frisbee", "the dog and an animal on green grass", "a large hull"];
    let vocabulary = Arc::new(Vocabulary::of_captions(captions));
    let spelling = Spelling::new(vocabulary, knowledge(), Arc::new(WordList::default()));
    let finder = EntityFinder::new(knowledge(), None, EntityConfig::default());
    Generator::new(finder, spelling, GeneratorConfig::default()).with_wordnet(wordnet)
}

fn candidates(query: &str) -> Vec<Candidate> {
    generator(None).generate(&[Query::new(query).unwrap()]).unwrap().remove(0)
}

#[test]
fn every_kind_of_change_is_offered() {
    let texts: Vec<String> = candidates("Show me a very nice animla, a dgo on gras")
        .into_iter()
        .map(|candidate| candidate.text)
        .collect();
    assert_eq!(texts[0], "Show me a very nice animal, a dgo on grass");
    assert_eq!(texts[1], "an animal, a dgo on grass");
    let cleaned = candidates("Show me a really great photo of an animal").remove(0).text;
    assert_eq!(cleaned, "an animal");
    let texts: Vec<String> =
        candidates("a dog with a frisbee").into_iter().map(|candidate| candidate.text).collect();
    for expected in [
        "a dog with four legs with a frisbee",
        "a dog with a frisbee held in the mouth",
        "a dog with four legs, a wagging tail and floppy ears with a frisbee",
        "a dog with a wagging tail with a frisbee with a flat round plastic disc",
    ] {
        assert!(texts.iter().any(|text| text == expected), "{expected}: {texts:#?}");
    }
    assert!(texts.len() <= GeneratorConfig::default().max_candidates);
}

#[test]
fn candidates_differ_from_the_query_and_from_each_other_and_are_always_the_same() {
    let query = "A dog, a frisbee and a zeppelin over the dogs";
    let first = candidates(query);
    let mut texts: Vec<&str> = first.iter().map(|candidate| candidate.text.as_str()).collect();
    assert!(!texts.contains(&query) && first.iter().all(|candidate| !candidate.changes.is_empty()));
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), first.len());
    assert_eq!(first, candidates(query));
}

#[test]
fn wordnet_offers_other_names() {
    let directory = crate::knowledge::wordnet::tests::dictionary();
    let wordnet = WordNet::open(directory.path()).unwrap();
    let query = Query::new("two dogs").unwrap();
    let candidates = generator(Some(wordnet)).generate(&[query]).unwrap().remove(0);
    let texts: Vec<&str> = candidates.iter().map(|candidate| candidate.text.as_str()).collect();
    assert_eq!(texts[..2], ["two domestic dogs", "two animals"]);
}

#[test]
fn nothing_to_change_offers_nothing() {
    for query in ["happiness", "very", "show me", "!"] {
        assert_eq!(candidates(query), [], "{query}");
    }
}

#[test]
fn the_enhancer_explains_what_is_rare_and_leaves_the_rest() {
    let composer =
        Composer::new(generator(None), Language::default(), ChoiceConfig::default(), Mix::default());
    let texts = |query: &str| {
        let enhanced = enhance_text(&composer, query);
        enhanced.ensure_usable("composer").unwrap();
        enhanced.texts.into_iter().map(|text| text.text).collect::<Vec<_>>()
    };
    assert_eq!(texts("a dog and a frisbee"), ["a dog and a frisbee"]);
    assert_eq!(texts("a zeppelin"), ["a zeppelin", "a zeppelin with a huge silver hull"]);
    assert_eq!(texts("a photo of a dgo, a dog on gras")[1], "a dgo, a dog on grass");
}

#[test]
fn the_words_of_the_papers_become_words_that_the_retriever_knows() {
    let composer = Composer::open(&EnhancerTable::named("composer"), &EnhancerContext::default()).unwrap();
    for (typed, expected) in [
        ("pooch snarling at a laddie", "dog showing its teeth at a boy"),
        ("a dog anticipates the ball", "a dog waits for the ball"),
        ("a populated street", "a crowded street"),
        ("a camp of tents", "a group of tents"),
        ("a man at a mixing board", "a man at a board with many buttons"),
        ("the keeper", "the goalie"),
        ("a garbage can", "a trashcan"),
    ] {
        let enhanced = enhance_text(&composer, typed);
        enhanced.ensure_usable("composer").unwrap();
        assert!(enhanced.texts.iter().any(|text| text.text == expected), "{typed}: {:#?}", enhanced.texts);
        assert!(
            enhanced.trace.iter().any(|step| matches!(step, TraceEntry::Reworded { .. })),
            "{typed}: {:?}",
            enhanced.trace
        );
    }
    // What the captions name often enough stays.
    let familiar = enhance_text(&composer, "two dogs in a field");
    assert!(matches!(familiar.trace[..], [TraceEntry::Kept { .. }]), "{:?}", familiar.trace);
}

#[test]
fn talk_is_dropped_before_anything_else() {
    let composer = Composer::open(&EnhancerTable::named("composer"), &EnhancerContext::default()).unwrap();
    let enhanced = enhance_text(&composer, "can you find me the one where a dog runs, please?");
    assert_eq!(enhanced.texts[0].text, "the one where a dog runs");
    assert!(matches!(&enhanced.trace[..], [TraceEntry::Replaced { to, .. }, ..] if to.is_empty()));
}

#[test]
fn filler_and_entities_that_are_to_be_kept_stay() {
    let generate = |query: Query| generator(None).generate(&[query]).unwrap().remove(0);
    let query = || Query::new("Show me a dog with a frisbee").unwrap();
    let texts = |candidates: Vec<Candidate>| {
        candidates.into_iter().map(|candidate| candidate.text).collect::<Vec<_>>().join("\n")
    };
    let all = texts(generate(query()));
    assert!(all.contains("plastic disc") && all.lines().any(|text| text == "a dog with a frisbee"), "{all}");
    let kept = texts(generate(query().keeping(["Show me", "frisbee"])));
    assert!(!kept.contains("plastic disc") && kept.lines().all(|text| text.starts_with("Show me")), "{kept}");
}
