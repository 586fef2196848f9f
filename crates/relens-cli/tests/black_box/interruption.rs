//! Work that is killed, stopped or runs out of disk: nothing is lost that was there, and a restart goes on.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workplace::{Workplace, errors};

/// Enough pictures that indexing is still under way when it is stopped.
const PICTURES: usize = 240;

/// Starts indexing, waits, sends signals; whether the process was still at work when the first was sent.
fn index_and_signal(
    workplace: &Workplace,
    signals: &[&str],
    after: Duration,
) -> (bool, std::process::Output) {
    let mut child = workplace
        .process(&["index", "pictures"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    let at_work = child.try_wait().unwrap().is_none();
    for signal in signals {
        send(&child, signal);
        std::thread::sleep(Duration::from_millis(5));
    }
    (at_work, child.wait_with_output().unwrap())
}

/// A workplace whose indexing was interrupted before it had ended by itself. On a busy machine an attempt may come too
/// late, or before the process listens to signals: then another is made.
fn interrupted(signals: &[&str]) -> (Workplace, std::process::Output) {
    let whole = duration_of_indexing(&Workplace::new());
    for part in [0.5, 0.35, 0.25, 0.15, 0.1, 0.4, 0.3, 0.2] {
        let workplace = Workplace::new();
        workplace.pictures("pictures", PICTURES);
        let (at_work, output) = index_and_signal(&workplace, signals, whole.mul_f64(part));
        if at_work && output.status.code().is_some_and(|code| code != 0) {
            return (workplace, output);
        }
    }
    panic!("indexing was too fast to be stopped: use more pictures");
}

/// How long indexing takes here and now when nothing stops it.
fn duration_of_indexing(workplace: &Workplace) -> Duration {
    workplace.pictures("pictures", PICTURES);
    let start = Instant::now();
    workplace.output(&["index", "pictures"]);
    start.elapsed()
}

fn send(child: &Child, signal: &str) {
    // It may have ended by itself: then there is nobody to signal, and that is no failure.
    let _ = Command::new("kill").args([signal, &child.id().to_string()]).stderr(Stdio::null()).status();
}

/// How many pictures a search can find now; 0 where there is no library yet.
fn searchable(workplace: &Workplace) -> usize {
    let assert = workplace.relens(&["search", "dog", "--json", "-k", "1000"]).assert();
    let errors = errors(&assert);
    match assert.get_output().status.code() {
        Some(0) => {
            serde_json::from_slice::<Value>(&assert.get_output().stdout).unwrap().as_array().unwrap().len()
        }
        _ => {
            assert!(errors.contains("no library here"), "{errors}");
            0
        }
    }
}

#[test]
fn kill_nine_at_any_moment_loses_nothing_and_a_restart_ends_the_same() {
    let (killed, clean) = (Workplace::new(), Workplace::new());
    killed.pictures("pictures", PICTURES);
    let whole = duration_of_indexing(&clean);
    let (mut hits_at_work, mut before) = (0, 0);
    for part in [0.05, 0.2, 0.4, 0.6, 0.1] {
        let (at_work, output) = index_and_signal(&killed, &["-KILL"], whole.mul_f64(part));
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
        hits_at_work += u32::from(at_work);
        let now = searchable(&killed);
        assert!(now >= before, "{before} pictures were searchable before the kill, {now} after");
        before = now;
    }
    assert!(hits_at_work >= 1, "indexing was too fast to be killed: use more pictures");
    killed.output(&["index", "pictures"]);
    let found = |workplace: &Workplace| -> Vec<(String, String)> {
        let hits = workplace.json(&["search", "a red cat", "--json", "-k", "1000"]);
        let hit = |hit: &Value| {
            let name = hit["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (name, hit["score"].to_string())
        };
        hits.as_array().unwrap().iter().map(hit).collect()
    };
    let expected = found(&clean);
    assert_eq!(expected.len(), PICTURES);
    assert_eq!(found(&killed), expected);
}

#[test]
fn control_c_keeps_what_is_done_and_says_how_to_go_on() {
    let (workplace, output) = interrupted(&["-INT"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("stopped") && !errors.contains("panicked"), "{errors}");
    let kept = searchable(&workplace);
    assert!(kept < PICTURES, "it did not stop");
    let report = workplace.json(&["index", "pictures", "--json"]);
    assert_eq!(report["unchanged"].as_u64().unwrap() as usize, kept, "what was done is not done again");
    assert_eq!(report["added"].as_u64().unwrap() as usize, PICTURES - kept);
}

#[test]
fn a_second_control_c_ends_at_once() {
    let (workplace, output) = interrupted(&["-INT", "-INT"]);
    let code = output.status.code();
    assert!(code == Some(130) || code == Some(1), "{output:?}");
    assert!(searchable(&workplace) <= PICTURES);
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 3);
    workplace.output(&["index", "pictures"]);
    workplace.pictures("pictures", 6);
    // A limit on the size of files stands for the full disk: writing beyond it fails in the same way.
    let binary = assert_cmd::cargo::cargo_bin!("relens");
    let script = format!("trap '' XFSZ; ulimit -f 0 || exit 77; exec '{}' index pictures", binary.display());
    let limited = workplace.process::<&str>(&[]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(workplace.path("."));
    for (name, value) in limited.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = shell.output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("skipped: this shell cannot limit the size of files");
        return;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("full") && errors.contains("library") && !errors.contains("panicked"),
        "{errors}"
    );
    assert_eq!(searchable(&workplace), 3, "what was indexed before is still there");
    let report = workplace.json(&["index", "pictures", "--json"]);
    assert_eq!((&report["added"], &report["images"]), (&Value::from(3), &Value::from(6)));
}

#[test]
fn two_writers_at_once_do_not_harm_each_other() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 60);
    let start =
        || workplace.process(&["index", "pictures"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let children = [start().unwrap(), start().unwrap()];
    for child in children {
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let refused = output.status.code() == Some(1) && errors.contains("another process");
        assert!(output.status.success() || refused, "{errors}");
    }
    workplace.output(&["index", "pictures"]);
    assert_eq!(searchable(&workplace), 60);
}
