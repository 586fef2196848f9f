use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::super::LONGEST_QUERY;
use super::super::enhance_text;
use super::super::entity_finder::EntityConfig;
use super::super::entity_finder::tests::knowledge;
use super::*;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
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

/// The composer with all that is bundled, as it is for a retriever that has no files of its own.
fn bundled() -> Composer {
    Composer::open(&EnhancerTable::named("composer"), &EnhancerContext::default()).unwrap()
}

#[test]
fn the_words_of_the_papers_become_words_that_the_retriever_knows() {
    let composer = bundled();
    for (typed, expected) in [
        ("pooch snarling at a laddie", "a dog showing its teeth at a boy"),
        ("a dog anticipates the ball", "a dog waits for the ball"),
        ("a populated street", "a crowded street"),
        ("a camp of tents", "a group of tents"),
        ("a man at a mixing board", "a man at a board with many buttons"),
        ("the keeper", "the goalie"),
        ("a garbage can", "a trashcan"),
        // A place, and no shape with four corners.
        ("two girls in a square", "two girls in a plaza"),
        ("A crowd gathers in the town square .", "A crowd gathers in the plaza ."),
    ] {
        let enhanced = enhance_text(&composer, typed);
        enhanced.ensure_usable("composer").unwrap();
        assert!(enhanced.texts.iter().any(|text| text.text == expected), "{typed}: {:#?}", enhanced.texts);
        assert!(
            enhanced.trace.iter().any(|step| matches!(step, TraceEntry::Reworded { .. })),
            "{typed}: {:?}",
            enhanced.trace
        );
        assert!(enhanced.texts.iter().all(|text| !text.text.contains("four equal")), "{:#?}", enhanced.texts);
    }
    // What the captions name often enough stays.
    let familiar = enhance_text(&composer, "two dogs in a field");
    assert!(matches!(familiar.trace[..], [TraceEntry::Kept { .. }]), "{:?}", familiar.trace);
}

#[test]
fn rewordings_read_as_people_write() {
    let composer = bundled();
    for (typed, expected) in [
        ("azure-hatted lass upon a crag", "a girl in a blue hat on a rock"),
        ("tangerine-clad gent", "a man in orange"),
        ("a trio of mutts amid drifts", "three dogs in snow"),
        ("bespectacled tot clutching a plaything", "a toddler in glasses holding a toy"),
        ("elderly bloke on a settee", "an elderly man on a couch"),
    ] {
        let enhanced = enhance_text(&composer, typed);
        assert!(enhanced.texts.iter().any(|text| text.text == expected), "{typed}: {:#?}", enhanced.texts);
    }
}

#[test]
fn what_has_no_other_name_is_described_and_what_has_one_is_not() {
    let texts = |typed: &str| {
        let enhanced = enhance_text(&bundled(), typed);
        enhanced.texts.into_iter().map(|text| text.text).collect::<Vec<_>>()
    };
    assert!(texts("a mutt").iter().all(|text| !text.contains(" with ")), "{:?}", texts("a mutt"));
    let described = texts("two jaguars beside a mutt");
    assert!(
        described.iter().any(|text| text.contains("jaguars with ") && text.contains("dog")),
        "{described:?}"
    );
    // A description stands behind the noun that its thing tells of.
    let flower = texts("orange dahlia flower");
    assert!(flower.iter().all(|text| !text.contains("dahlia, ")), "{flower:?}");
}

#[test]
fn talk_is_dropped_before_anything_else() {
    let enhanced = enhance_text(&bundled(), "can you find me the one where a dog runs, please?");
    assert_eq!(enhanced.texts[0].text, "the one where a dog runs");
    assert!(matches!(&enhanced.trace[..], [TraceEntry::Replaced { to, .. }, ..] if to.is_empty()));
}

/// An embedder that lies in a directory, and knows nothing.
struct InDirectory(PathBuf);

impl TextEmbedder for InDirectory {
    fn name(&self) -> &str {
        "in-directory"
    }

    fn fingerprint(&self) -> &str {
        "in-directory"
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        Embeddings::from_rows(1, vec![1.0; texts.len()])
    }

    fn directory(&self) -> Option<&Path> {
        Some(&self.0)
    }
}

#[test]
fn a_retriever_without_a_file_of_its_own_is_taken_to_know_what_captions_use() {
    let directory = tempfile::tempdir().unwrap();
    let texts = |typed: &str| {
        let embedder: Arc<dyn TextEmbedder> = Arc::new(InDirectory(directory.path().to_owned()));
        let context = EnhancerContext { embedder: Some(embedder), ..EnhancerContext::default() };
        let composer = Composer::open(&EnhancerTable::named("composer"), &context).unwrap();
        enhance_text(&composer, typed).texts.into_iter().map(|text| text.text).collect::<Vec<_>>()
    };
    assert!(texts("the pooch").contains(&"the dog".to_owned()), "{:?}", texts("the pooch"));
    // Its own measure goes first: this one knows the word.
    fs_err::write(directory.path().join("familiarity.tsv"), "pooch\t900\nthe\t9000\n").unwrap();
    assert!(!texts("the pooch").contains(&"the dog".to_owned()), "{:?}", texts("the pooch"));
    fs_err::write(directory.path().join("familiarity.tsv"), "pooch\tmany\n").unwrap();
    let embedder: Arc<dyn TextEmbedder> = Arc::new(InDirectory(directory.path().to_owned()));
    let context = EnhancerContext { embedder: Some(embedder), ..EnhancerContext::default() };
    let error = Composer::open(&EnhancerTable::named("composer"), &context).err().unwrap().to_string();
    assert!(error.contains("familiarity.tsv") && error.contains("line 1"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_rewrite_is_empty_or_too_long_or_loses_what_counts(
        words in proptest::collection::vec(
            "two|five|7|red|green|not|without|no|pooch|azure|hatted|trio|of|square|zeppelin|a|in|,|-|snarling|œ", 1..24,
        ),
    ) {
        let typed = words.join(" ");
        let query = Query::new(&typed);
        prop_assume!(query.is_ok());
        let composer = BUNDLED.get_or_init(bundled);
        let enhanced = composer.enhance_batch(&[query.unwrap()], None).unwrap().remove(0);
        enhanced.ensure_usable("composer").unwrap();
        for WeightedText { text, .. } in &enhanced.texts {
            prop_assert!(!text.trim().is_empty() && text.len() <= LONGEST_QUERY);
            for kept in ["two", "five", "7", "red", "green", "not", "without", "no"] {
                let count = |text: &str| text.split(' ').filter(|word| *word == kept).count();
                prop_assert!(count(&typed) <= count(text), "{} lost in {} → {}", kept, typed, text);
            }
        }
    }

    #[test]
    fn a_query_of_familiar_words_is_left_as_it_is(
        words in proptest::collection::vec("dog|boy|two|red|on|the|grass|with|frisbee|runs|people|street", 1..9),
    ) {
        let typed = format!("a dog in {}", words.join(" "));
        let composer = BUNDLED.get_or_init(bundled);
        let enhanced = composer.enhance_batch(&[Query::new(&typed).unwrap()], None).unwrap().remove(0);
        prop_assert_eq!(&enhanced.texts[0].text, &typed);
        prop_assert_eq!(enhanced.texts.len(), 1);
    }
}

static BUNDLED: OnceLock<Composer> = OnceLock::new();
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
