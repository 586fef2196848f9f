//! Finding what is known of a query, among 25,000 words and entities at most 50 µs, and composing, at most 1 ms.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use relens::english::{Vocabulary, vocabulary};
use relens::enhancer::Query;
use relens::enhancer::composer::preferences::Preferences;
use relens::enhancer::composer::wording::Wording;
use relens::enhancer::open::EnhancerContext;
use relens::knowledge::{Entity, Knowledge, Source, Words, knowledge_base};
use relens::model_hub::bundled;
use relens::ranking::Pipeline;

const QUERIES: &[&str] = &[
    "a dog",
    "Two children in red shirts are playing with a hot air balloon near the old stone bridges",
    "a man riding a mountain bike down a dirt track while three women with ice cream cones are watching the race",
];

/// Of the papers' kind: hardly a word that captions use.
const RARE: &str =
    "pooch snarling at a laddie beside the decrepit caravan, sable canine retrieving a knotted twine orb";

/// The bundled knowledge base, filled up to so many entities of one to three words, with its words.
fn knowledge(count: usize) -> Knowledge {
    let words =
        Knowledge::bundled().map(|bundled| bundled.words().iter().collect::<Vec<_>>()).unwrap_or_default();
    let mut entities = Knowledge::bundled().map(|bundled| bundled.entities().to_vec()).unwrap_or_default();
    entities.retain(|entity| entity.visual);
    let names: Vec<String> = entities.iter().map(|entity| entity.name.clone()).collect();
    for number in entities.len()..count {
        let part =
            |step: usize| names.get((number * step) % names.len().max(1)).map_or("thing", String::as_str);
        let name = format!("{} {} {number}", part(7), part(13));
        entities.push(Entity::described(&name, ["anything"], Source::Import));
    }
    let knowledge = Knowledge::new(entities, "benchmark").unwrap_or_else(|error| panic!("{error}"));
    knowledge.with_words(Words::default().with(words))
}

fn lookup(criterion: &mut Criterion) {
    let knowledge = knowledge(10_000);
    let mut group = criterion.benchmark_group("lookup among 10,000 entities");
    for query in QUERIES {
        let words = query.split(' ').count();
        group.bench_function(format!("{words} words"), |bencher| {
            bencher.iter(|| knowledge.find(black_box(query)));
        });
    }
    group.finish();
}

/// All that the composer looks up of a query: its entities, and what its unfamiliar words mean in any of their forms.
fn words_and_entities(criterion: &mut Criterion) {
    let words = Knowledge::bundled().map_or(0, |bundled| bundled.words().len());
    let knowledge = knowledge(25_000_usize.saturating_sub(words));
    let counts = bundled::model(knowledge_base::BUNDLED).map(|evd| evd.join(vocabulary::BUNDLED_FILE));
    let counts = counts.and_then(|path| Vocabulary::open(&path)).unwrap_or_else(|error| panic!("{error}"));
    let wording = Wording::new(Arc::new(counts), Preferences::default(), 10);
    let mut group = criterion.benchmark_group("lookup among 25,000 words and entities");
    for query in QUERIES.iter().chain([&RARE]) {
        let words = query.split(' ').count();
        let query = Query::new(query).unwrap_or_else(|error| panic!("{error}"));
        group.bench_function(format!("{words} words"), |bencher| {
            bencher.iter(|| {
                let query = black_box(&query);
                (knowledge.find(query.text()), wording.reword(query, knowledge.words()))
            });
        });
    }
    group.finish();
}

/// The composer from the query to its texts, nothing embedded.
fn composing(criterion: &mut Criterion) {
    let pipeline = Pipeline::open("composer", &EnhancerContext::default());
    let pipeline = pipeline.unwrap_or_else(|error| panic!("{error}"));
    let mut group = criterion.benchmark_group("composing");
    for text in QUERIES.iter().chain([&RARE]) {
        let query = [Query::new(text).unwrap_or_else(|error| panic!("{error}"))];
        group.bench_function(format!("{} words", text.split(' ').count()), |bencher| {
            bencher.iter(|| pipeline.enhance(black_box(&query), None));
        });
    }
    group.finish();
}

criterion_group!(benches, lookup, words_and_entities, composing);
criterion_main!(benches);
