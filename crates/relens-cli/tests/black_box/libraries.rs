//! `relens library` and `relens config`: folders that come, go and move, and settings that are typed once.

use serde_json::Value;

use crate::workplace::{Workplace, errors};

fn indexed() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("pictures/one", 3);
    workplace.json(&["index", "pictures/one", "--json"]);
    workplace
}

#[test]
fn a_folder_is_listed_moved_and_forgotten() {
    let workplace = indexed();
    let list = |workplace: &Workplace| workplace.json(&["library", "list", "--json"]);
    assert_eq!(list(&workplace)[0]["images"], 3);
    assert_eq!(list(&workplace)[0]["state"], "there");
    fs_err::rename(workplace.path("pictures/one"), workplace.path("pictures/two")).unwrap();
    assert_eq!(list(&workplace)[0]["state"], "missing");
    let told = workplace.output(&["library", "move", "pictures/one", "pictures/two"]);
    assert!(told.starts_with("3 pictures moved to "), "{told}");
    let report = workplace.json(&["index", "pictures/two", "--json"]);
    assert_eq!((report["unchanged"].as_u64(), report["added"].as_u64()), (Some(3), Some(0)));
    assert!(workplace.output(&["library", "check"]).contains("the library is whole"));
    let told = workplace.output(&["library", "forget", "pictures/two"]);
    assert!(told.starts_with("3 pictures forgotten"), "{told}");
    assert_eq!(list(&workplace), Value::Array(Vec::new()));
    assert_eq!(workplace.json(&["library", "info", "--json"])["images"], 0);
    let message = errors(&workplace.relens(&["library", "forget", "nowhere"]).assert().failure());
    assert!(message.contains("nothing of this folder"), "{message}");
}

#[test]
fn a_moved_folder_is_not_embedded_again() {
    let workplace = indexed();
    fs_err::rename(workplace.path("pictures/one"), workplace.path("pictures/two")).unwrap();
    let report = workplace.json(&["index", "pictures", "--json"]);
    assert_eq!((report["moved"].as_u64(), report["added"].as_u64()), (Some(3), Some(0)), "{report}");
    assert_eq!(report["images"], 3);
}

#[test]
fn a_folder_that_is_empty_now_is_kept_and_what_to_type_is_said() {
    let workplace = indexed();
    fs_err::rename(workplace.path("pictures/one"), workplace.path("unplugged")).unwrap();
    fs_err::create_dir(workplace.path("pictures/one")).unwrap();
    let told = workplace.output(&["index", "pictures/one"]);
    assert!(told.contains("kept: 3 pictures of ") && told.contains("relens library forget "), "{told}");
    fs_err::remove_dir(workplace.path("pictures/one")).unwrap();
    let told = workplace.output(&["index", "pictures/one"]);
    assert!(told.contains("kept: 3 pictures of ") && told.contains("relens library forget "), "{told}");
    assert_eq!(workplace.json(&["library", "info", "--json"])["images"], 3);
}

#[test]
fn files_that_are_not_read_are_counted_with_the_reason() {
    let workplace = Workplace::new();
    fs_err::create_dir(workplace.path("pictures")).unwrap();
    for name in ["a.svg", "b.SVG", "c.jp2", "d.txt", ".hidden.png"] {
        fs_err::write(workplace.path("pictures").join(name), "x").unwrap();
    }
    let told = workplace.output(&["index", "pictures"]);
    let parts = [
        "not read: 2 of the format .svg",
        "not read: 1 of the format .jp2",
        "no pictures: 1 other",
        "hidden: 1",
    ];
    for part in parts {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(told.contains("no pictures that can be read were found"), "{told}");
}

#[test]
fn a_picture_beyond_the_limit_is_read_once_the_limit_is_higher() {
    let workplace = Workplace::new();
    fs_err::create_dir(workplace.path("pictures")).unwrap();
    for name in ["large.png", "large.jpg"] {
        image::RgbImage::new(1100, 1000).save(workplace.path("pictures").join(name)).unwrap();
    }
    workplace.output(&["config", "set", "max_megapixels", "1"]);
    let assert = workplace.relens(&["index", "pictures", "--json"]).assert().success();
    let report: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert_eq!((&report["added"], &report["skipped"]), (&1.into(), &1.into()), "a JPEG is decoded smaller");
    assert!(errors(&assert).contains("found 1100 × 1000; the limit is a setting, max_megapixels"));
    workplace.output(&["config", "set", "max_megapixels", "2"]);
    assert_eq!(workplace.json(&["index", "pictures", "--json"])["added"], 1);
}

#[test]
fn a_damaged_library_says_what_to_type_and_can_be_rebuilt() {
    let workplace = indexed();
    fs_err::write(workplace.path("home/library/relens.db"), [7; 9000]).unwrap();
    let message = errors(&workplace.relens(&["index", "pictures/one"]).assert().failure());
    assert!(message.contains("relens library repair") && message.contains("--rebuild"), "{message}");
    for reading in [&["search", "dog"][..], &["library", "info"], &["library", "check"]] {
        let message = errors(&workplace.relens(reading).assert().failure());
        assert!(message.contains("--rebuild"), "{reading:?}: {message}");
    }
    let report = workplace.json(&["index", "pictures/one", "--rebuild", "--json"]);
    assert_eq!(report["added"], 3);
    assert!(workplace.path("home/library/relens.db.damaged").is_file());
}

#[test]
fn a_library_that_is_whole_is_left_alone_by_a_repair() {
    let workplace = indexed();
    let told = workplace.output(&["library", "repair"]);
    assert!(told.contains("the library is whole: there is nothing to repair"), "{told}");
    assert!(!workplace.path("home/library/relens.db.damaged").exists());
    fs_err::remove_file(workplace.path("pictures/one/picture-000.png")).unwrap();
    let told = workplace.output(&["library", "check"]);
    assert!(told.contains("3 pictures, 3 vectors\n1 picture whose file is missing\n"), "{told}");
    // A vector too long: everything else is saved.
    let database = rusqlite::Connection::open(workplace.path("home/library/relens.db")).unwrap();
    database.execute("UPDATE vectors SET vector = x'00' WHERE image_id = 2", []).unwrap();
    drop(database);
    let told = workplace.output(&["library", "repair"]);
    assert!(told.starts_with("2 pictures saved, 1 lost\nthe damaged library is kept as "), "{told}");
    assert!(workplace.output(&["library", "check"]).starts_with("2 pictures, 2 vectors\n"));
}

#[cfg(unix)]
#[test]
fn what_is_kept_is_readable_by_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let workplace = indexed();
    let mode = fs_err::metadata(workplace.path("home/library/relens.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn settings_stand_for_options_and_what_is_typed_comes_first() {
    let workplace = indexed();
    let path = workplace.output(&["config", "path"]);
    assert!(path.trim().ends_with("home/config.toml"), "{path}");
    workplace.output(&["config", "set", "library", "elsewhere"]);
    workplace.output(&["config", "set", "jobs", "1"]);
    let shown = workplace.output(&["config", "show"]);
    assert!(shown.contains("library = \"elsewhere\"") && shown.contains("jobs = 1"), "{shown}");
    assert_eq!(workplace.json(&["index", "pictures/one", "--json"])["library"], "elsewhere");
    assert_eq!(workplace.json(&["library", "info", "--library", "home/library", "--json"])["images"], 3);
    workplace.output(&["config", "set", "library", ""]);
    assert!(!workplace.output(&["config", "show"]).contains("library ="));
    for (key, value) in [("colour", "red"), ("jobs", "many"), ("jobs", "0")] {
        workplace.relens(&["config", "set", key, value]).assert().code(2);
    }
    fs_err::write(workplace.path("home/config.toml"), "colour = 1\n").unwrap();
    let message = errors(&workplace.relens(&["index", "pictures/one"]).assert().failure());
    assert!(message.contains("config.toml") && message.contains("unknown field `colour`"), "{message}");
}

#[test]
fn a_search_looks_among_the_pictures_that_its_conditions_let_through() {
    let workplace = Workplace::new();
    workplace.pictures("pictures/Holidays", 2);
    workplace.pictures("pictures/Screenshots", 3);
    workplace.json(&["index", "pictures", "--json"]);
    let count = |arguments: &[&str]| workplace.json(arguments).as_array().unwrap().len();
    assert_eq!(count(&["search", "a", "red", "dog", "--json"]), 5, "no quotes are needed");
    assert_eq!(count(&["search", "a red dog in:Holidays", "--json"]), 2);
    assert_eq!(count(&["search", "dog", "--not-in", "holidays", "--json"]), 3);
    assert_eq!(count(&["search", "dog", "--before", "1990", "--json"]), 0);
    assert_eq!(count(&["search", "dog", "in", "1990", "--json"]), 0);
    assert_eq!(count(&["search", "dog", "in", "1990", "--no-dates", "--json"]), 5);
    assert_eq!(
        count(&["search", "--image", "pictures/Holidays/picture-000.png", "--type", "video", "--json"]),
        0
    );
    workplace.relens(&["search", "dog", "--after", "soon"]).assert().code(2);
    let assert = workplace.relens(&["search", "dog in:Holidays -in:Holidays"]).assert().success();
    assert!(errors(&assert).contains("no picture in the library meets these conditions"), "{assert}");
    workplace.output(&["search", "dog", "--contact-sheet", "sheet.jpg"]);
    assert!(fs_err::read(workplace.path("sheet.jpg")).unwrap().starts_with(b"\xff\xd8\xff"));
}

#[test]
fn missing_pictures_are_left_out_or_marked() {
    let workplace = indexed();
    fs_err::remove_file(workplace.path("pictures/one/picture-001.png")).unwrap();
    let found = workplace.json(&["search", "dog", "--json"]);
    assert_eq!(found.as_array().unwrap().len(), 2);
    let found = workplace.json(&["search", "dog", "--missing", "--json"]);
    let missing: Vec<&Value> =
        found.as_array().unwrap().iter().filter(|hit| hit["missing"] == Value::Bool(true)).collect();
    assert_eq!((found.as_array().unwrap().len(), missing.len()), (3, 1));
}

#[test]
fn an_empty_library_says_what_to_do() {
    let workplace = Workplace::new();
    fs_err::create_dir(workplace.path("pictures")).unwrap();
    workplace.json(&["index", "pictures", "--json"]);
    let told = errors(&workplace.relens(&["search", "dog"]).assert().success());
    assert!(told.contains("the library is empty; `relens index DIR`"), "{told}");
}
