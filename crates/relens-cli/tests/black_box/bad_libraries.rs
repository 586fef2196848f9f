//! Libraries that are not there, belong to another model, or are damaged.

use std::path::{Path, PathBuf};

use crate::model_directory;
use crate::workplace::{Workplace, errors};

fn indexed() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 4);
    workplace.output(&["index", "pictures"]);
    workplace
}

#[track_caller]
fn search_fails(workplace: &Workplace, arguments: &[&str]) -> String {
    let assert = workplace.relens(&[&["search", "dog"], arguments].concat()).assert().code(1).stdout("");
    let errors = errors(&assert);
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

#[test]
fn searching_before_indexing_says_what_to_do() {
    let errors = search_fails(&Workplace::new(), &[]);
    assert!(errors.contains("home/library") && errors.contains("index a directory"), "{errors}");
}

#[test]
fn another_models_library_is_refused_by_search_and_by_index() {
    let workplace = indexed();
    model_directory::write(&workplace.path("other"), 9);
    let errors = search_fails(&workplace, &["--model", "other"]);
    assert!(errors.contains("other model") || errors.contains("made by model"), "{errors}");
    let assert = workplace.relens(&["index", "pictures", "--model", "other"]).assert().code(1);
    assert!(crate::workplace::errors(&assert).contains("made by model"));
    // Nothing of the library was lost.
    assert_eq!(workplace.json(&["search", "dog", "--json"]).as_array().unwrap().len(), 4);
}

/// All files of the library, largest names first so that the order is the same everywhere.
fn library_files(workplace: &Workplace) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(workplace.path("home/library")).unwrap();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Damages every file of the library in turn; each search fails with a message or still knows all pictures.
#[track_caller]
fn damage_each_file(damage: impl Fn(&Path)) {
    let count = library_files(&indexed()).len();
    for position in 0..count {
        let workplace = indexed();
        let file = &library_files(&workplace)[position];
        damage(file);
        let assert = workplace.relens(&["search", "dog", "--json"]).assert();
        let errors = errors(&assert);
        assert!(!errors.contains("panicked"), "{}: {errors}", file.display());
        match assert.get_output().status.code() {
            Some(0) => {
                let hits: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
                assert_eq!(
                    hits.as_array().unwrap().len(),
                    4,
                    "{}: pictures are lost silently",
                    file.display()
                );
            }
            Some(1) => assert!(errors.contains("library"), "{}: {errors}", file.display()),
            code => panic!("{}: exit code {code:?}: {errors}", file.display()),
        }
    }
}

#[test]
fn truncated_files() {
    damage_each_file(|file| {
        let bytes = fs_err::read(file).unwrap();
        fs_err::write(file, &bytes[..bytes.len() / 2]).unwrap();
    });
}

#[test]
fn files_of_other_content() {
    damage_each_file(|file| fs_err::write(file, "this is something else altogether").unwrap());
}

#[test]
fn emptied_files() {
    damage_each_file(|file| fs_err::write(file, "").unwrap());
}

#[test]
fn a_file_in_place_of_the_library() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    fs_err::write(workplace.path("library"), "text").unwrap();
    search_fails(&workplace, &["--library", "library"]);
    let assert = workplace.relens(&["index", "pictures", "--library", "library"]).assert().code(1);
    assert!(errors(&assert).contains("library"), "{}", errors(&assert));
}
