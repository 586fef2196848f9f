//! Whatever interrupts a run, what comes out is what an uninterrupted one would have written.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{tiny, train};
use crate::TrainingError;
use crate::run::checkpoint::CheckpointStore;
use relens::progress::{Progress, Silent};

/// Set in the processes that are going to fail: where they train.
const CHILD: &str = "RELENS_TEST_FAILING_RUN";

/// The files that have to be equal.
const FILES: [&str; 4] =
    ["metrics.jsonl", "samples.jsonl", "model/open_clip_model.safetensors", "model/metrics.json"];

/// Stops after a number of updates.
struct StopAfter(u64);

impl Progress for StopAfter {
    fn cancelled(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 == 0
    }
}

/// Takes its time, so that a kill finds it at work.
struct Slow;

impl Progress for Slow {
    fn advance(&mut self, _done: u64) {
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn uninterrupted() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    train(&tiny::config(directory.path()), &mut Silent).unwrap();
    directory
}

fn assert_same(expected: &Path, found: &Path) {
    for name in FILES {
        let read = |directory: &Path| std::fs::read(directory.join(name)).unwrap();
        assert!(read(expected) == read(found), "{name} differs from the uninterrupted run's");
    }
    let snapshot = |directory: &Path| CheckpointStore::open(directory, 2).unwrap().latest().unwrap().unwrap();
    let (expected, found) = (snapshot(expected), snapshot(found));
    assert_eq!((expected.step, &expected.state), (found.step, &found.state));
    for (name, tensor) in &expected.optimizer {
        let flat = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(flat(tensor), flat(&found.optimizer[name]), "{name}");
    }
}

#[test]
fn an_interrupted_run_gives_the_same_bytes() {
    let expected = uninterrupted();
    let directory = tempfile::tempdir().unwrap();
    let config = tiny::config(directory.path());
    let mut interruptions = 0;
    loop {
        match train(&config, &mut StopAfter(3)) {
            Ok(_) => break,
            Err(TrainingError::Interrupted { .. }) => interruptions += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(interruptions < 50, "no progress");
    }
    assert!(interruptions >= 3);
    assert_same(expected.path(), directory.path());
}

#[test]
fn two_runs_of_one_seed_give_the_same_bytes_and_another_seed_others() {
    let expected = uninterrupted();
    let other = tempfile::tempdir().unwrap();
    let mut config = tiny::config(other.path());
    train(&config, &mut Silent).unwrap();
    assert_same(expected.path(), other.path());
    let directory = tempfile::tempdir().unwrap();
    config.output = directory.path().to_owned();
    config.seed += 1;
    train(&config, &mut Silent).unwrap();
    let read = |directory: &Path| std::fs::read(directory.join("metrics.jsonl")).unwrap();
    assert!(read(expected.path()) != read(directory.path()));
}

#[test]
fn a_damaged_checkpoint_costs_time_but_no_byte() {
    let expected = uninterrupted();
    let directory = tempfile::tempdir().unwrap();
    let config = tiny::config(directory.path());
    assert!(train(&config, &mut StopAfter(7)).is_err());
    let checkpoints = CheckpointStore::open(directory.path(), 2).unwrap();
    let steps = checkpoints.steps().unwrap();
    let weights = checkpoints.path(*steps.last().unwrap()).join("weights.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 3]).unwrap();
    train(&config, &mut Silent).unwrap();
    assert_same(expected.path(), directory.path());
}

#[test]
fn a_finished_run_is_left_alone() {
    let directory = uninterrupted();
    let config = tiny::config(directory.path());
    let modified = |path: PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
    let model = directory.path().join("model/open_clip_model.safetensors");
    let before = modified(model.clone());
    let again = train(&config, &mut Silent).unwrap();
    assert_eq!(modified(model), before);
    assert!(again.metrics.contains_key("image_retrieval_recall@1"));
}

#[test]
#[ignore = "is run by the test of a killed run, which kills it"]
fn child_that_is_killed() {
    if let Some(directory) = std::env::var_os(CHILD) {
        train(&tiny::config(Path::new(&directory)), &mut Slow).unwrap();
    }
}

#[test]
fn a_killed_run_goes_on() {
    let expected = uninterrupted();
    let directory = tempfile::tempdir().unwrap();
    for kills in 1..=2 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "stages::retriever::tests::resuming::child_that_is_killed"])
            .env(CHILD, directory.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = |name: &str| {
            std::fs::read_to_string(directory.path().join(name)).map_or(0, |text| text.lines().count())
        };
        let (start, goal) = (Instant::now(), 4 * kills);
        while lines("metrics.jsonl") < goal {
            assert!(start.elapsed() < Duration::from_secs(60), "the child makes no progress");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!directory.path().join("model").exists(), "killed before the end");
    }
    train(&tiny::config(directory.path()), &mut Silent).unwrap();
    assert_same(expected.path(), directory.path());
}

#[cfg(unix)]
#[test]
#[ignore = "is run by the test of a full disk, where no file may grow beyond a limit"]
fn child_that_meets_a_full_disk() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let error = train(&tiny::config(Path::new(&directory)), &mut Silent).unwrap_err().to_string();
    assert!(
        error.contains("checkpoints/.partial-step-") && error.contains("optimizer.safetensors"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_keeps_the_checkpoints_and_the_next_run_continues() {
    let expected = uninterrupted();
    let directory = tempfile::tempdir().unwrap();
    // A limit on the size of files (in blocks of 512 bytes; the signal ignored) fails a write as a full disk does.
    // The first phase's optimizer state fits, the second's does not.
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" --ignored --exact \
                  stages::retriever::tests::resuming::child_that_meets_a_full_disk";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let checkpoints = CheckpointStore::open(directory.path(), 2).unwrap();
    let last = checkpoints.latest().unwrap().unwrap().step;
    assert!(last > 0 && last < expected_steps(expected.path()), "{last}");
    train(&tiny::config(directory.path()), &mut Silent).unwrap();
    assert_same(expected.path(), directory.path());
}

fn expected_steps(directory: &Path) -> u64 {
    CheckpointStore::open(directory, 2).unwrap().latest().unwrap().unwrap().step
}
