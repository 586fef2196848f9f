//! `relens quickstart`: what a newcomer runs first.

use crate::workplace::Workplace;

#[test]
fn the_users_own_pictures_are_indexed_and_can_be_searched_at_once() {
    let workplace = Workplace::new();
    workplace.pictures("mine", 5);
    let shown = workplace.output(&["quickstart", "--images", "mine"]);
    assert!(shown.contains("5 pictures") && shown.contains("picture-"), "{shown}");
    assert!(shown.contains("relens search"), "it says what to type next: {shown}");
    assert_eq!(workplace.json(&["search", "dog", "--json"]).as_array().unwrap().len(), 5);
}

#[test]
fn the_gallery_is_shown_with_titles_and_nothing_is_left_behind() {
    let workplace = Workplace::new();
    let gallery = concat!(env!("CARGO_MANIFEST_DIR"), "/../../gallery");
    let shown = workplace.output(&["quickstart"]);
    let attribution: serde_json::Value =
        serde_json::from_slice(&fs_err::read(format!("{gallery}/attribution.json")).unwrap()).unwrap();
    let titles = attribution.as_array().unwrap();
    assert!(shown.contains(&format!("{} pictures", titles.len())), "{shown}");
    let shown_titles = titles.iter().filter(|picture| shown.contains(picture["title"].as_str().unwrap()));
    assert!(shown_titles.count() >= 3, "{shown}");
    assert!(shown.contains("relens index") && shown.contains("relens search"), "{shown}");
    assert!(!workplace.path("home").exists(), "the default library is not touched");
}

#[test]
fn every_picture_of_the_gallery_is_attributed_and_may_be_redistributed() {
    let gallery = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../gallery");
    let attribution: Vec<serde_json::Value> =
        serde_json::from_slice(&fs_err::read(gallery.join("attribution.json")).unwrap()).unwrap();
    let mut named: Vec<&str> = attribution.iter().map(|picture| picture["file"].as_str().unwrap()).collect();
    named.sort_unstable();
    let mut there: Vec<String> = fs_err::read_dir(&gallery)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".jpg"))
        .collect();
    there.sort_unstable();
    assert_eq!(named, there);
    for picture in &attribution {
        let licence = picture["licence"].as_str().unwrap();
        assert!(["Public domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-4.0"].contains(&licence), "{picture}");
        for field in ["title", "author", "source_package"] {
            assert!(!picture[field].as_str().unwrap().is_empty(), "{picture}");
        }
    }
}
