//! `relens index`: the library follows the directory.

use serde_json::Value;

use crate::workplace::{Workplace, errors, picture};

fn counts(report: &Value) -> [u64; 6] {
    ["added", "changed", "removed", "unchanged", "skipped", "images"].map(|key| report[key].as_u64().unwrap())
}

fn index(workplace: &Workplace) -> [u64; 6] {
    counts(&workplace.json(&["index", "pictures", "--json"]))
}

#[test]
fn new_changed_and_deleted_pictures_are_found() {
    let workplace = Workplace::new();
    let paths = workplace.pictures("pictures", 4);
    assert_eq!(index(&workplace), [4, 0, 0, 0, 0, 4]);
    assert_eq!(index(&workplace), [0, 0, 0, 4, 0, 4]);

    picture(100).save(&paths[1]).unwrap();
    fs_err::remove_file(&paths[2]).unwrap();
    picture(101).save(workplace.path("pictures/new.jpg")).unwrap();
    assert_eq!(index(&workplace), [1, 1, 1, 2, 0, 4]);

    let hits = workplace.json(&["search", "--image", "pictures/picture-001.png", "--json", "-k", "10"]);
    let paths: Vec<&str> = hits.as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect();
    assert!(paths[0].ends_with("picture-001.png"), "the changed picture is found as it is now: {paths:?}");
    assert!(hits[0]["score"].as_f64().unwrap() > 0.9999);
    assert!(!paths.iter().any(|path| path.ends_with("picture-002.png")), "deleted: {paths:?}");
}

#[test]
fn subdirectories_are_indexed_and_other_files_are_not() {
    let workplace = Workplace::new();
    workplace.pictures("pictures/2024/summer", 2);
    workplace.pictures("pictures/2025", 1);
    fs_err::write(workplace.path("pictures/notes.txt"), "no picture by its name").unwrap();
    assert_eq!(index(&workplace), [3, 0, 0, 0, 0, 3]);
}

#[test]
fn indexing_another_directory_adds_to_the_library() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    workplace.pictures("holidays", 3);
    index(&workplace);
    let report = workplace.json(&["index", "holidays", "--json"]);
    assert_eq!(counts(&report), [1, 0, 0, 0, 0, 5]);
    assert_eq!(report["copied"], 2, "what is the same in both is embedded once");
    assert_eq!(index(&workplace), [0, 0, 0, 2, 0, 5], "the other directory's pictures stay");
}

#[test]
fn an_empty_directory_is_no_error() {
    let workplace = Workplace::new();
    fs_err::create_dir_all(workplace.path("pictures")).unwrap();
    assert_eq!(index(&workplace), [0; 6]);
    assert_eq!(workplace.json(&["search", "dog", "--json"]), Value::Array(Vec::new()));
}

#[test]
fn the_library_can_be_anywhere() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    let report = workplace.json(&["index", "pictures", "--library", "shelf/one", "--json"]);
    assert_eq!(counts(&report), [2, 0, 0, 0, 0, 2]);
    assert!(!workplace.path("home").exists(), "the default library is not touched");
    let hits = workplace.json(&["search", "dog", "--library", "shelf/one", "--json"]);
    assert_eq!(hits.as_array().unwrap().len(), 2);
}

#[test]
fn the_number_of_jobs_does_not_change_the_result() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 9);
    for jobs in ["1", "2", "5"] {
        workplace.output(&["index", "pictures", "--library", jobs, "--jobs", jobs]);
    }
    let search = |library| workplace.output(&["search", "two dogs", "--json", "--library", library]);
    assert_eq!(search("1"), search("2"));
    assert_eq!(search("1"), search("5"));
}

#[test]
fn a_log_gets_progress_lines_and_quiet_gets_none() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    let assert = workplace.relens(&["index", "pictures"]).assert().success();
    let log = errors(&assert);
    assert!(log.contains("progress task=index done=2 total=2"), "{log}");
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "no terminal codes in a log: {log:?}");
    let assert = workplace.relens(&["index", "pictures", "--quiet"]).assert().success();
    assert_eq!(errors(&assert), "");
}

#[test]
fn the_summary_counts_in_words() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    let summary = workplace.output(&["index", "pictures"]);
    assert!(summary.contains("2 added") && summary.contains("home/library"), "{summary}");
}
