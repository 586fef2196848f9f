//! Checkpoints come back as they were written, and damage is noticed and survived.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use relens_training::TrainingError;
use relens_training::run::checkpoint::{CheckpointStore, Snapshot};
use serde_json::json;

fn snapshot(step: u64) -> Snapshot {
    let tensors = |offset: f32| {
        let values: Vec<f32> = (0..6).map(|index| offset + index as f32 * 0.1 + step as f32).collect();
        BTreeMap::from([("head.weight".to_owned(), Tensor::from_vec(values, (2, 3), &Device::Cpu).unwrap())])
    };
    Snapshot {
        step,
        weights: tensors(0.0),
        optimizer: tensors(10.0),
        average: BTreeMap::new(),
        state: json!({"epoch": step / 2, "best": null}),
    }
}

fn store(directory: &Path, steps: &[u64], keep: usize) -> CheckpointStore {
    let store = CheckpointStore::open(directory, keep).unwrap();
    for &step in steps {
        store.save(&snapshot(step)).unwrap();
    }
    store
}

/// What happens to a file's bytes.
type Damage = fn(&mut Vec<u8>);

fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

fn values(tensors: &BTreeMap<String, Tensor>) -> Vec<f32> {
    tensors["head.weight"].flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn what_is_saved_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let loaded = store(directory.path(), &[3, 7], 5).latest().unwrap().unwrap();
    let expected = snapshot(7);
    assert_eq!(loaded.step, 7);
    assert_eq!(values(&loaded.weights), values(&expected.weights));
    assert_eq!(values(&loaded.optimizer), values(&expected.optimizer));
    assert!(loaded.average.is_empty());
    assert_eq!(loaded.state, expected.state);
}

#[test]
fn an_empty_store_has_no_latest() {
    let directory = tempfile::tempdir().unwrap();
    assert!(store(directory.path(), &[], 3).latest().unwrap().is_none());
}

#[test]
fn the_last_few_and_the_best_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), &[1], 2);
    store.mark_best(Some(1)).unwrap();
    for step in 2..=6 {
        store.save(&snapshot(step)).unwrap();
    }
    assert_eq!(store.steps().unwrap(), [1, 5, 6]);
    assert_eq!(store.best().unwrap(), Some(1));
}

#[test]
fn a_truncated_or_altered_checkpoint_falls_back_to_the_one_before() {
    let damages: [(&str, Damage); 4] = [
        ("weights.safetensors", |bytes| bytes.truncate(bytes.len() / 2)),
        ("optimizer.safetensors", |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("state.json", Vec::clear),
        ("manifest.json", |bytes| bytes.truncate(10)),
    ];
    for (file, change) in damages {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path(), &[4, 8], 5);
        damage(&store.path(8).join(file), change);
        let error = store.load(8).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains("step-8"), "{error}");
        assert_eq!(store.latest().unwrap().unwrap().step, 4, "{file}");
        store.save(&snapshot(8)).unwrap();
        assert_eq!(store.latest().unwrap().unwrap().step, 8, "a damaged checkpoint is written anew");
    }
}

#[test]
fn a_missing_file_counts_as_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), &[4, 8], 5);
    std::fs::remove_file(store.path(8).join("average.safetensors")).unwrap();
    assert_eq!(store.latest().unwrap().unwrap().step, 4);
}

#[test]
fn nothing_usable_is_an_error_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), &[4], 5);
    damage(&store.path(4).join("weights.safetensors"), Vec::clear);
    let error = store.latest().unwrap_err();
    assert!(matches!(error, TrainingError::NoUsableCheckpoint { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("0 bytes"), "{error}");
}

#[test]
fn leftovers_of_a_kill_are_swept_and_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(directory.path(), &[4], 5);
    let partial = directory.path().join("checkpoints/.partial-step-8");
    std::fs::create_dir(&partial).unwrap();
    std::fs::write(partial.join("weights.safetensors"), b"half").unwrap();
    drop(first);
    let store = CheckpointStore::open(directory.path(), 5).unwrap();
    assert!(!partial.exists());
    assert_eq!(store.latest().unwrap().unwrap().step, 4);
}

#[test]
fn weights_that_are_not_numbers_are_never_saved() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), &[4], 5);
    let mut broken = snapshot(8);
    let nan = Tensor::new(&[f32::NAN], &Device::Cpu).unwrap();
    broken.weights.insert("head.bias".into(), nan);
    let error = store.save(&broken).unwrap_err().to_string();
    assert!(error.contains("head.bias"), "{error}");
    assert_eq!(store.latest().unwrap().unwrap().step, 4);
}

#[test]
fn a_disk_that_cannot_be_written_leaves_earlier_checkpoints() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path(), &[4], 5);
    let hindrance = directory.path().join("checkpoints/.partial-step-8");
    std::fs::write(&hindrance, b"a file where the directory should be").unwrap();
    let error = store.save(&snapshot(8)).unwrap_err().to_string();
    assert!(error.contains(".partial-step-8"), "{error}");
    assert_eq!(store.latest().unwrap().unwrap().step, 4);
}

#[test]
fn a_run_of_another_version_says_so() {
    let directory = tempfile::tempdir().unwrap();
    store(directory.path(), &[3], 5);
    let manifest = directory.path().join("checkpoints/step-3/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"format_version\": 2", "\"format_version\": 1")).unwrap();
    let error = CheckpointStore::refuse_other_versions(directory.path()).unwrap_err();
    assert!(matches!(error, TrainingError::OtherVersion { expected: 2, found: 1, .. }), "{error}");
    assert!(error.to_string().contains("another version of relens began this run"), "{error}");
}
