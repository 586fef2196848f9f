//! Finding the entities of a query among 10,000: at most 50 µs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use relens::knowledge::{Entity, Knowledge, Source};

const QUERIES: &[&str] = &[
    "a dog",
    "Two children in red shirts are playing with a hot air balloon near the old stone bridges",
    "a man riding a mountain bike down a dirt track while three women with ice cream cones are watching the race",
];

/// The bundled knowledge base, filled up to 10,000 entities of one to three words.
fn knowledge() -> Knowledge {
    let mut entities = Knowledge::bundled().map(|bundled| bundled.entities().to_vec()).unwrap_or_default();
    entities.retain(|entity| entity.visual);
    let names: Vec<String> = entities.iter().map(|entity| entity.name.clone()).collect();
    for number in entities.len()..10_000 {
        let part =
            |step: usize| names.get((number * step) % names.len().max(1)).map_or("thing", String::as_str);
        let name = format!("{} {} {number}", part(7), part(13));
        entities.push(Entity::described(&name, ["anything"], Source::Import));
    }
    Knowledge::new(entities, "benchmark").unwrap_or_else(|error| panic!("{error}"))
}

fn lookup(criterion: &mut Criterion) {
    let knowledge = knowledge();
    let mut group = criterion.benchmark_group("lookup among 10,000 entities");
    for query in QUERIES {
        let words = query.split(' ').count();
        group.bench_function(format!("{words} words"), |bencher| {
            bencher.iter(|| knowledge.find(black_box(query)));
        });
    }
    group.finish();
}

criterion_group!(benches, lookup);
criterion_main!(benches);
