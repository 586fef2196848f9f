use std::path::PathBuf;

use relens::progress::{Progress, Silent};
use serde_json::json;

use super::*;
use crate::data::corpus::CorpusConfig;

struct SmallCorpus {
    directory: tempfile::TempDir,
}

impl SmallCorpus {
    /// Six pictures, numbered from 1, with two captions each; the last two are for validation.
    fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        let images: Vec<_> = (1..=6)
            .map(|id| {
                let captions =
                    [format!("A dog plays with {id} red balls ."), format!("A boy on hill {id} .")];
                let sentences: Vec<_> = captions
                    .iter()
                    .enumerate()
                    .map(|(place, raw)| json!({"raw": raw, "sentid": 2 * id + place}))
                    .collect();
                let split = if id > 4 { "val" } else { "train" };
                json!({"imgid": id, "filename": format!("{id}.jpg"), "split": split, "sentences": sentences})
            })
            .collect();
        world.write("annotations.json", &json!({"dataset": "six", "images": images}).to_string());
        world.write("lexicon.jsonl", "{\"word\": \"dog\", \"alternatives\": [\"pooch\"]}\n");
        world
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    }

    fn corpus(&self) -> RewritingCorpus {
        let annotations = self.directory.path().join("annotations.json");
        let config: CorpusConfig =
            serde_json::from_value(json!({"annotations": annotations, "images": self.directory.path()}))
                .unwrap();
        RewritingCorpus::read(&config).unwrap()
    }

    /// Asked queries for pictures 1 to 5, of which 5 is for validation.
    fn asked(&self) -> PathBuf {
        let line = |id: usize| {
            json!({
                "imgid": id, "sentid": 2 * id, "caption": format!("A dog plays with {id} red balls ."),
                "rare": format!("rare {id}"), "chatty": format!("chatty {id}"), "keywords": format!("keywords {id}"),
                "concept": format!("A puppy with {id} balls ."),
            })
            .to_string()
        };
        self.write("asked.jsonl", &(1..=5).map(line).collect::<Vec<_>>().join("\n"))
    }

    fn open(&self, config: &str) -> Result<Mixture> {
        self.open_told(config, &mut Silent)
    }

    fn open_told(&self, config: &str, progress: &mut dyn Progress) -> Result<Mixture> {
        let config: MixtureConfig = toml::from_str(config).unwrap();
        config.check()?;
        Mixture::open(&config, &self.corpus(), progress)
    }
}

fn drawn(mixture: &Mixture, count: usize) -> Vec<MixturePair> {
    let mut rng = crate::random::stream(1, "test", 0);
    (0..count).map(|_| mixture.draw(&mut rng).unwrap()).collect()
}

#[derive(Default)]
struct Told(Vec<String>);

impl Progress for Told {
    fn message(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn recorded_queries_become_what_a_strong_writer_wrote() {
    let world = SmallCorpus::new();
    let asked = world.asked();
    let mut listener = Told::default();
    let text = format!(
        "better_captions = [{asked:?}]\n\
         sources = [{{ kind = \"records\", share = 1, files = [{asked:?}], wordings = [\"rare\", \"chatty\"] }}]"
    );
    let mixture = world.open_told(&text, &mut listener).unwrap();
    let pairs = drawn(&mixture, 60);
    assert!(pairs.contains(&MixturePair { query: "rare 2".into(), target: "a puppy with 2 balls".into() }));
    assert!(pairs.iter().any(|pair| pair.query.starts_with("chatty")));
    assert!(!pairs.iter().any(|pair| pair.query.starts_with("keywords")));
    assert!(!pairs.iter().any(|pair| pair.query.ends_with('5')), "a picture of another split");
    assert!(listener.0.iter().any(|text| text.contains("4 of 20 queries")), "{:?}", listener.0);
}

#[test]
fn what_is_kept_to_choose_by_is_learned_from_in_no_source() {
    let world = SmallCorpus::new();
    let asked = world.asked();
    // Of the five captions of the file the last two belong to pictures 4 and 5.
    let text = format!(
        "better_captions = [{asked:?}]\ndevelopment = {{ records = {asked:?}, last = 2 }}\n\
         sources = [{{ kind = \"records\", share = 1, files = [{asked:?}] }}, {{ kind = \"captions\", share = 1 }},\n\
         {{ kind = \"hard_queries\", share = 1, lexicon = {:?} }}, {{ kind = \"content_words\", share = 1 }}]",
        world.directory.path().join("lexicon.jsonl"),
    );
    let mixture = world.open(&text).unwrap();
    let pairs = drawn(&mixture, 300);
    let tells = |pair: &MixturePair, id: &str| pair.target.split(' ').any(|word| word == id);
    assert!(!pairs.iter().any(|pair| tells(pair, "4") || tells(pair, "5") || tells(pair, "6")));
    for id in ["1", "2", "3"] {
        assert!(pairs.iter().any(|pair| tells(pair, id)));
    }
    assert!(pairs.iter().any(|pair| pair.query.contains("pooch")));
    let development: Vec<&str> = mixture.development().iter().map(|pair| pair.query.as_str()).collect();
    assert_eq!(development, ["rare 4", "chatty 4", "keywords 4", "rare 5", "chatty 5", "keywords 5"]);
    let caption = pairs.iter().find(|pair| pair.query == "A dog plays with 1 red balls .").unwrap();
    assert_eq!(caption.target, "a puppy with 1 balls");
}

#[test]
fn the_same_seed_draws_the_same_pairs() {
    let world = SmallCorpus::new();
    let text = "sources = [{ kind = \"content_words\", share = 1 }, { kind = \"captions\", share = 1 }]";
    let (one, other) = (world.open(text).unwrap(), world.open(text).unwrap());
    assert_eq!(drawn(&one, 20), drawn(&other, 20));
}

#[test]
fn other_languages_are_read_word_by_word() {
    let world = SmallCorpus::new();
    let foreign =
        "{\"imgid\": 1, \"caption\": \"A dog plays with 1 red balls .\", \"query\": \"Ein Hund\"}\n";
    let foreign = world.write("asked-de.jsonl", foreign);
    let text =
        format!("sources = [{{ kind = \"records\", share = 1, files = [{foreign:?}], language = \"de\" }}]");
    let pair = drawn(&world.open(&text).unwrap(), 1).swap_remove(0);
    assert_eq!((pair.query.as_str(), pair.target.as_str()), ("a dog", "a dog plays with 1 red balls"));
    let text = "sources = [{ kind = \"languages\", share = 1, languages = [\"de\", \"ja\"] }]";
    let pairs = drawn(&world.open(text).unwrap(), 40);
    assert!(pairs.iter().any(|pair| pair.query.contains("dog")), "{pairs:?}");
    assert!(world.open(&text.replace("ja", "tlh")).is_err_and(|error| error.to_string().contains("tlh")));
}

#[test]
fn captions_in_another_language_belong_to_those_of_the_same_number() {
    let world = SmallCorpus::new();
    let sentences = json!([{"raw": "狗", "sentid": 1}, {"raw": "男孩", "sentid": 2}]);
    let images = json!([{"imgid": 1, "filename": "1.jpg", "split": "train", "sentences": sentences}]);
    let annotations = world.write("zh.json", &json!({"dataset": "zh", "images": images}).to_string());
    let text = format!(
        "sources = [{{ kind = \"parallel_captions\", share = 1, annotations = {annotations:?}, language = \"zh\" }}]"
    );
    let pairs = drawn(&world.open(&text).unwrap(), 20);
    assert!(
        pairs.iter().any(|pair| pair.query == "dog" && pair.target.starts_with("a dog plays")),
        "{pairs:?}"
    );
    assert!(pairs.iter().all(|pair| pair.query != "dog" || !pair.target.starts_with("a boy")));
}

#[test]
fn torn_lines_and_records_of_nobody_are_named() {
    let world = SmallCorpus::new();
    let refused = |lines: &str| {
        let file = world.write("broken.jsonl", lines);
        let text = format!("sources = [{{ kind = \"records\", share = 1, files = [{file:?}] }}]");
        world.open(&text).err().unwrap().to_string()
    };
    let good = "{\"imgid\": 1, \"caption\": \"a\", \"rare\": \"b\"}\n";
    assert!(refused(&format!("{good}{{\"imgid\": 1, \"capt")).contains("line 2"));
    assert!(refused(&format!("{good}{{\"caption\": \"a\", \"rare\": \"b\"}}")).contains("`imgid`"));
    assert!(refused("{\"imgid\": 99, \"caption\": \"a\", \"rare\": \"b\"}").contains("training picture"));
    let nothing: MixtureConfig = toml::from_str("sources = []").unwrap();
    assert!(nothing.check().is_err());
}
