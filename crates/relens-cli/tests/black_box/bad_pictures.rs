//! Pictures that cannot be read cost themselves alone: each is counted and named, the rest is indexed.

use std::path::Path;

use serde_json::Value;

use crate::workplace::{Workplace, errors};

/// Indexes `pictures`, which holds three good pictures and one bad file; the report and standard error.
#[track_caller]
fn index_with(bad_name: &str, write: impl FnOnce(&Path)) -> (Value, String) {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 3);
    write(&workplace.path("pictures").join(bad_name));
    let assert = workplace.relens(&["index", "pictures", "--json"]).assert().success();
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    // What was skipped must not be searchable, and must not hide the others.
    let hits = workplace.json(&["search", "dog", "--json", "-k", "10"]);
    assert_eq!(hits.as_array().unwrap().len() as u64, report["images"].as_u64().unwrap());
    (report, errors(&assert))
}

#[track_caller]
fn is_skipped_and_named(bad_name: &str, bytes: &[u8]) {
    let (report, errors) = index_with(bad_name, |path| fs_err::write(path, bytes).unwrap());
    assert_eq!((&report["added"], &report["skipped"]), (&Value::from(3), &Value::from(1)), "{errors}");
    assert!(errors.contains(bad_name), "{errors}");
}

fn jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    crate::workplace::picture(7).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

#[test]
fn truncated() {
    let jpeg = jpeg();
    is_skipped_and_named("truncated.jpg", &jpeg[..jpeg.len() / 3]);
}

#[test]
fn empty() {
    is_skipped_and_named("empty.png", b"");
}

#[test]
fn no_picture_at_all() {
    is_skipped_and_named("letter.jpeg", b"Dear reader, this is a text.");
}

#[test]
fn wrongly_named_is_read_by_its_content() {
    let (report, errors) = index_with("really-a-jpeg.png", |path| fs_err::write(path, jpeg()).unwrap());
    assert_eq!((&report["added"], &report["skipped"]), (&Value::from(4), &Value::from(0)), "{errors}");
}

#[test]
fn decompression_bomb() {
    // A PNG of a few dozen bytes that claims 50,000 × 50,000 pixels: refused before memory is set aside.
    let mut header = b"IHDR".to_vec();
    header.extend(50_000u32.to_be_bytes());
    header.extend(50_000u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    bytes.extend(13u32.to_be_bytes());
    bytes.extend(&header);
    bytes.extend(crc32(&header).to_be_bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(b"IDAT");
    bytes.extend(crc32(b"IDAT").to_be_bytes());
    is_skipped_and_named("bomb.png", &bytes);
}

/// The checksum of a PNG chunk (ISO 3309).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(unix)]
#[test]
fn a_name_that_is_not_utf8_is_indexed_and_printed_as_it_is() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let workplace = Workplace::new();
    fs_err::create_dir_all(workplace.path("pictures")).unwrap();
    let name = OsStr::from_bytes(b"pictur\xe9 \xff.jpg");
    fs_err::write(workplace.path("pictures").join(name), jpeg()).unwrap();
    let report = workplace.json(&["index", "pictures", "--json"]);
    assert_eq!((&report["added"], &report["skipped"]), (&Value::from(1), &Value::from(0)));
    let assert = workplace.relens(&["search", "dog"]).assert().success();
    let line = &assert.get_output().stdout;
    assert!(line.windows(name.len()).any(|part| part == name.as_bytes()), "{line:?}");
    assert!(
        workplace.json(&["search", "dog", "--json"])[0]["path"]
            .as_str()
            .unwrap()
            .contains("pictur\u{fffd} \u{fffd}")
    );
    // It is still the same picture at the next run.
    let again = workplace.json(&["index", "pictures", "--json"]);
    assert_eq!(again["unchanged"], 1);
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_read_is_named_and_the_rest_is_indexed() {
    use std::os::unix::fs::PermissionsExt;

    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    workplace.pictures("pictures/locked", 2);
    let locked = workplace.path("pictures/locked");
    let allow = |mode| fs_err::set_permissions(&locked, std::fs::Permissions::from_mode(mode)).unwrap();
    allow(0o000);
    let mut process = workplace.process(&["index", "pictures", "--json"]);
    if fs_err::read_dir(&locked).is_ok() && !workplace.give_to_nobody(&mut process) {
        eprintln!("skipped: this user may read every directory, and nobody else can run the binary");
        return;
    }
    let output = process.output().unwrap();
    allow(0o755);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["added"], 2, "{errors}");
    assert!(errors.contains("locked"), "{errors}");
}

#[cfg(unix)]
#[test]
fn pictures_in_a_directory_that_became_unreadable_are_not_forgotten() {
    use std::os::unix::fs::PermissionsExt;

    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    workplace.pictures("pictures/locked", 2);
    let locked = workplace.path("pictures/locked");
    let allow = |mode| fs_err::set_permissions(&locked, std::fs::Permissions::from_mode(mode)).unwrap();
    let index = || {
        let mut process = workplace.process(&["index", "pictures", "--json"]);
        // Both runs as the same user, or the library would belong to another.
        let restricted = workplace.give_to_nobody(&mut process);
        (restricted, process.output().unwrap())
    };
    index();
    allow(0o000);
    let (restricted, output) = index();
    allow(0o755);
    if !restricted && fs_err::read_dir(&locked).is_ok() {
        eprintln!("note: this user may read every directory");
    }
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["removed"], &report["images"]), (&Value::from(0), &Value::from(4)), "{report}");
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let assert = Workplace::new().relens(&["index", "nowhere"]).assert().code(1);
    assert!(errors(&assert).contains("nowhere"), "{}", errors(&assert));
}

#[test]
fn a_file_in_place_of_a_directory_is_an_error() {
    let workplace = Workplace::new();
    fs_err::write(workplace.path("notes.txt"), "text").unwrap();
    let assert = workplace.relens(&["index", "notes.txt"]).assert().code(1);
    assert!(errors(&assert).contains("notes.txt"), "{}", errors(&assert));
}
