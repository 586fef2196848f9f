//! How long a search over 7,000 pictures takes: the comparison alone, and with the vectors read from disk.

// Criterion's macros make undocumented public items; a benchmark that cannot be set up may stop with a panic.
#![allow(missing_docs, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use relens::embed::ModelIdentity;
use relens::embed::embeddings::Embeddings;
use relens::evaluation::GroundTruthRanks;
use relens::index::{ExactIndex, Index};
use relens::library::catalog::{Catalog, FileState, IndexedImage};
use relens::ranking::CombinedQueries;

const PICTURES: usize = 7000;
const DIM: usize = 512;

fn random_vectors(rows: usize, seed: u64) -> Embeddings {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let data = (0..rows * DIM).map(|_| random.random_range(-1.0f32..1.0)).collect();
    let mut vectors = Embeddings::from_rows(DIM, data).expect("the length is a multiple");
    vectors.normalise();
    vectors
}

fn search(criterion: &mut Criterion) {
    let vectors = random_vectors(PICTURES, 1);
    let ids = (0..PICTURES as u64).collect();
    let index = ExactIndex::from_parts("model", ids, vectors.clone()).expect("they fit");
    let one = random_vectors(1, 2);
    criterion.bench_function("search 7000x512, 1 query, top 10", |bencher| {
        bencher.iter(|| index.search(&one, 10).expect("a valid query"));
    });
    let many = random_vectors(64, 3);
    criterion.bench_function("search 7000x512, 64 queries, top 10", |bencher| {
        bencher.iter(|| index.search(&many, 10).expect("valid queries"));
    });

    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("relens.db");
    let model = ModelIdentity { name: "model".to_owned(), fingerprint: "model".to_owned(), dim: DIM };
    let mut catalog = Catalog::open_or_create(&path, &model).expect("a new catalogue");
    let images: Vec<IndexedImage> = (0..PICTURES)
        .map(|number| IndexedImage {
            path: format!("/pictures/holiday/{number}.jpg").into(),
            state: FileState { size: 1, modified: 1 },
            width: 1,
            height: 1,
            ..IndexedImage::default()
        })
        .collect();
    catalog.add_batch(&images, &vectors, &[]).expect("room for it");
    drop(catalog);
    criterion.bench_function("open and search 7000x512 from SQLite", |bencher| {
        bencher.iter(|| {
            let index = Catalog::open(&path).and_then(|catalog| catalog.index()).expect("a catalogue");
            index.search(&one, 10).expect("a valid query")
        });
    });
}

fn evaluation(criterion: &mut Criterion) {
    let images = random_vectors(1000, 4);
    let captions = CombinedQueries::single(random_vectors(5000, 5));
    let image_of_caption: Vec<usize> = (0..5000).map(|caption| caption / 5).collect();
    let mut group = criterion.benchmark_group("evaluation");
    group.sample_size(10);
    group.bench_function("ranks of 5000 captions and 1000 images", |bencher| {
        bencher.iter(|| GroundTruthRanks::compute(&images, &captions, &image_of_caption).expect("they fit"));
    });
    group.finish();
}

criterion_group!(benches, search, evaluation);
criterion_main!(benches);
