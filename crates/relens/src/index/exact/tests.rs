use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Few different values, so that equal scores are common.
fn coarse_vectors(dim: usize, rows: usize) -> impl Strategy<Value = Embeddings> {
    prop::collection::vec(-1i8..=1, dim * rows).prop_map(move |values| {
        let mut data: Vec<f32> = values.into_iter().map(f32::from).collect();
        // A zero vector has no direction.
        data.chunks_exact_mut(dim).for_each(|row| row[0] = if row[0] == 0.0 { 1.0 } else { row[0] });
        let mut vectors = Embeddings::from_rows(dim, data).unwrap();
        vectors.normalise();
        vectors
    })
}

/// All scores, sorted by the definition of the order.
fn oracle(stored: &[(u64, Vec<f32>)], query: &[f32], k: usize) -> Vec<u64> {
    let mut hits: Vec<Hit> = stored
        .iter()
        .map(|(id, vector)| {
            let vector = Embeddings::from_rows(vector.len(), vector.clone()).unwrap();
            Hit { id: *id, score: vector.scores(query).unwrap()[0] }
        })
        .collect();
    hits.sort_by(Hit::ranking_order);
    hits.into_iter().take(k).map(|hit| hit.id).collect()
}

fn found(index: &ExactIndex, queries: &Embeddings, k: usize) -> Vec<Vec<u64>> {
    let hits = index.search(queries, k).unwrap();
    hits.into_iter().map(|hits| hits.into_iter().map(|hit| hit.id).collect()).collect()
}

proptest! {
    #[test]
    fn search_equals_the_sorted_list_after_any_changes(
        vectors in coarse_vectors(5, 90),
        queries in coarse_vectors(5, 3),
        ids in prop::collection::vec(0u64..60, 90),
        removed in prop::collection::vec(0u64..60, 0..30),
        k in 0usize..100,
    ) {
        let mut index = ExactIndex::new(5, "model").unwrap();
        let mut stored: Vec<(u64, Vec<f32>)> = Vec::new();
        for (id, vector) in ids.iter().zip(vectors.iter()) {
            index.add(&[*id], &Embeddings::from_rows(5, vector.to_vec()).unwrap()).unwrap();
            stored.retain(|(other, _)| other != id);
            stored.push((*id, vector.to_vec()));
        }
        let before = stored.len();
        stored.retain(|(id, _)| !removed.contains(id));
        prop_assert_eq!(index.remove(&removed).unwrap(), before - stored.len());
        prop_assert_eq!(index.len(), stored.len());
        let expected: Vec<Vec<u64>> = queries.iter().map(|query| oracle(&stored, query, k)).collect();
        prop_assert_eq!(found(&index, &queries, k), expected);
    }
}

fn circle(count: usize) -> Embeddings {
    let angles = (0..count).map(|i| i as f32 * std::f32::consts::TAU / count as f32);
    Embeddings::from_rows(2, angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect()).unwrap()
}

#[test]
fn many_tasks_find_what_one_would() {
    let vectors = circle(3 * ROWS_PER_TASK + 7);
    let ids: Vec<u64> = (0..vectors.rows() as u64).collect();
    let index = ExactIndex::from_parts("model", ids, vectors.clone()).unwrap();
    let queries = vectors.select(&(0..vectors.rows()).step_by(97).collect::<Vec<_>>()).unwrap();
    let hits = index.search(&queries, 3).unwrap();
    assert_eq!(hits.len(), queries.rows());
    for (hits, query) in hits.iter().zip(queries.iter()) {
        let mut expected: Vec<Hit> =
            (0u64..).zip(vectors.scores(query).unwrap()).map(|(id, score)| Hit { id, score }).collect();
        expected.sort_by(Hit::ranking_order);
        assert_eq!(hits[..], expected[..3]);
    }
}

#[test]
fn vectors_that_give_no_cosine_are_refused_and_nothing_is_added() {
    let mut index = ExactIndex::new(2, "model").unwrap();
    for data in [vec![1.0, 0.0, f32::NAN, 0.0], vec![1.0, 0.0, 2.0, 0.0], vec![1.0, 0.0, 0.0, 0.0]] {
        assert!(index.add(&[1, 2], &Embeddings::from_rows(2, data).unwrap()).is_err());
    }
    assert!(index.add(&[1], &circle(2)).is_err());
    assert!(index.add(&[1], &Embeddings::from_rows(1, vec![1.0]).unwrap()).is_err());
    assert_eq!(index.len(), 0);
    assert_eq!(found(&index, &circle(1), 5), [Vec::<u64>::new()]);
    let infinite = Embeddings::from_rows(2, vec![f32::INFINITY, 0.0]).unwrap();
    assert!(index.search(&infinite, 1).is_err());
    assert!(index.search(&Embeddings::from_rows(1, vec![1.0]).unwrap(), 1).is_err());
}

fn saved(directory: &TempDir) -> (std::path::PathBuf, ExactIndex) {
    let index = ExactIndex::from_parts("a model", vec![5, 3, 8], circle(3)).unwrap();
    let path = directory.path().join("vectors.relens");
    index.save(&path).unwrap();
    (path, index)
}

#[test]
fn a_saved_index_opens_as_it_was_and_can_be_changed() {
    let directory = TempDir::new().unwrap();
    let (path, index) = saved(&directory);
    let mut opened = ExactIndex::open(&path, "a model").unwrap();
    assert_eq!((opened.len(), opened.dim(), opened.fingerprint()), (3, 2, "a model"));
    assert_eq!(opened.search(&circle(5), 3).unwrap(), index.search(&circle(5), 3).unwrap());
    opened.remove(&[3]).unwrap();
    opened.save(&path).unwrap();
    assert_eq!(found(&ExactIndex::open(&path, "a model").unwrap(), &circle(1), 3), [vec![5, 8]]);
    assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn an_empty_index_can_be_saved() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("vectors");
    ExactIndex::new(4, "").unwrap().save(&path).unwrap();
    assert!(ExactIndex::open(&path, "").unwrap().is_empty());
}

#[test]
fn another_model_or_a_newer_format_is_refused() {
    let directory = TempDir::new().unwrap();
    let (path, _) = saved(&directory);
    let error = ExactIndex::open(&path, "b").unwrap_err().to_string();
    assert!(error.contains("made by model a model, but the model in use is b"), "{error}");
    let mut bytes = fs_err::read(&path).unwrap();
    bytes[8] = 9;
    fs_err::write(&path, bytes).unwrap();
    let error = ExactIndex::open(&path, "a model").unwrap_err().to_string();
    assert!(error.contains("written in format version 9, this relens reads up to 1"), "{error}");
}

#[test]
fn every_truncation_and_every_flipped_byte_is_noticed() {
    let directory = TempDir::new().unwrap();
    let (path, _) = saved(&directory);
    let bytes = fs_err::read(&path).unwrap();
    let damaged = directory.path().join("damaged");
    for length in 0..bytes.len() {
        fs_err::write(&damaged, &bytes[..length]).unwrap();
        assert!(ExactIndex::open(&damaged, "a model").is_err(), "truncated to {length}");
    }
    // Bytes 36 to 63 are reserved.
    for position in (0..36).chain(64..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[position] ^= 0x41;
        fs_err::write(&damaged, flipped).unwrap();
        assert!(ExactIndex::open(&damaged, "a model").is_err(), "flipped byte {position}");
    }
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let directory = TempDir::new().unwrap();
    let (path, index) = saved(&directory);
    let under_a_file = path.join("vectors");
    assert!(index.save(&under_a_file).unwrap_err().to_string().contains("vectors"));
    assert_eq!(ExactIndex::open(&path, "a model").unwrap().len(), 3);
}
