use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::embed::ModelIdentity;
use crate::embed::embeddings::Embeddings;
use crate::index::Index;
use crate::library::filter::PictureFilter;
use crate::pictures::metadata::PictureMetadata;

pub(super) fn model(fingerprint: &str) -> ModelIdentity {
    ModelIdentity { name: "tiny".to_owned(), fingerprint: fingerprint.to_owned(), dim: 2 }
}

fn image(path: &str) -> IndexedImage {
    let captions = vec!["one".to_owned(), "two".to_owned()];
    let place = Place::new(48.858, 2.294);
    IndexedImage {
        path: path.into(),
        state: FileState { size: 3, modified: -4 },
        width: 5,
        height: 6,
        fingerprint: Some([7; 32]),
        metadata: PictureMetadata { taken: Some(9), camera: Some("Pixel".to_owned()), place, captions },
    }
}

fn vectors(angles: &[f32]) -> Embeddings {
    Embeddings::from_rows(2, angles.iter().flat_map(|angle| [angle.cos(), angle.sin()]).collect()).unwrap()
}

/// A closed catalogue of two pictures.
pub(super) fn filled(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("relens.db");
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    catalog.add_batch(&[image("/p/a.jpg"), image("/p/b.jpg")], &vectors(&[0.0, 1.0]), &[]).unwrap();
    path
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_is_added_is_read_again() {
    let directory = TempDir::new().unwrap();
    let catalog = Catalog::open(&filled(&directory)).unwrap();
    assert_eq!(catalog.model(), &model("a"));
    assert_eq!((catalog.image_count().unwrap(), catalog.skipped_count().unwrap()), (2, 0));
    let found = catalog.image_at(Path::new("/p/b.jpg")).unwrap().unwrap();
    assert_eq!((found.state, found.width, found.height), (FileState { size: 3, modified: -4 }, 5, 6));
    assert_eq!(catalog.image(found.id).unwrap(), found);
    assert_eq!(catalog.captions(found.id).unwrap(), ["one", "two"]);
    let hits = catalog.index().unwrap().search(&vectors(&[1.0]), 1).unwrap();
    assert_eq!(hits[0][0].id, found.id);
    assert!(message(catalog.image(99)).contains("expected a picture with the id 99, found none"));
}

#[test]
fn a_change_by_another_connection_is_noticed() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let reader = Catalog::open(&path).unwrap();
    let before = reader.data_version().unwrap();
    assert_eq!(reader.data_version().unwrap(), before);
    Catalog::open_or_create(&path, &model("a")).unwrap().remove(&["/p/a.jpg"]).unwrap();
    assert_ne!(reader.data_version().unwrap(), before);
    assert_eq!(reader.find_image(1).unwrap(), None);
    assert!(reader.find_image(2).unwrap().is_some());
}

#[test]
fn a_picture_added_again_keeps_its_id_and_a_skip_takes_it_out() {
    let directory = TempDir::new().unwrap();
    let mut catalog = Catalog::open_or_create(&filled(&directory), &model("a")).unwrap();
    let id = catalog.image_at(Path::new("/p/a.jpg")).unwrap().unwrap().id;
    let mut again = image("/p/a.jpg");
    again.width = 50;
    again.metadata.captions.clear();
    catalog.add_batch(&[again], &vectors(&[2.0]), &[]).unwrap();
    let found = catalog.image(id).unwrap();
    assert_eq!((found.width, catalog.captions(id).unwrap().len()), (50, 0));
    assert_eq!(catalog.index().unwrap().search(&vectors(&[2.0]), 1).unwrap()[0][0].id, id);

    let skip = |state| SkippedFile { path: "/p/a.jpg".into(), state, reason: "no picture".to_owned() };
    let none = Embeddings::new(2);
    catalog.add_batch(&[], &none, &[skip(None)]).unwrap();
    assert_eq!(catalog.image_count().unwrap(), 2, "a file that could not be read keeps its vector");
    catalog.add_batch(&[], &none, &[skip(Some(found.state))]).unwrap();
    assert_eq!((catalog.image_count().unwrap(), catalog.index().unwrap().len()), (1, 1));
    assert_eq!(catalog.skipped(10).unwrap(), [skip(Some(found.state))]);
    assert_eq!(catalog.remove(&["/p/a.jpg", "/p/b.jpg", "/p/c.jpg"]).unwrap(), 1);
    assert_eq!((catalog.image_count().unwrap(), catalog.skipped_count().unwrap()), (0, 0));
}

#[test]
fn pictures_are_listed_by_directory_not_by_prefix() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relens.db");
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    let images = ["/p/a.jpg", "/p/sub/b.jpg", "/p2/c.jpg", "/p.jpg"].map(image);
    catalog.add_batch(&images, &vectors(&[0.0, 1.0, 2.0, 3.0]), &[]).unwrap();
    let under = |directory: &str| {
        let mut paths: Vec<PathBuf> =
            catalog.images_under(Path::new(directory)).unwrap().into_keys().collect();
        paths.sort();
        paths
    };
    assert_eq!(under("/p"), [Path::new("/p/a.jpg"), Path::new("/p/sub/b.jpg")]);
    assert_eq!(under("/").len(), 4);
    assert_eq!(under("/P").len(), 0);
}

#[test]
fn a_batch_that_does_not_fit_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let mut catalog = Catalog::open_or_create(&filled(&directory), &model("a")).unwrap();
    let long = Embeddings::from_rows(2, vec![3.0, 4.0]).unwrap();
    assert!(catalog.add_batch(&[image("/p/c.jpg")], &long, &[]).is_err());
    assert!(catalog.add_batch(&[image("/p/c.jpg")], &vectors(&[0.0, 1.0]), &[]).is_err());
    let wide = Embeddings::from_rows(3, vec![1.0, 0.0, 0.0]).unwrap();
    assert!(catalog.add_batch(&[image("/p/c.jpg")], &wide, &[]).is_err());
    assert_eq!(catalog.image_count().unwrap(), 2);
}

#[test]
fn another_model_is_refused_until_the_catalogue_is_rebuilt() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let error = message(Catalog::open_or_create(&path, &model("b")));
    assert!(error.contains("made by model tiny (a), but the model in use is b"), "{error}");
    assert_eq!(Catalog::open(&path).unwrap().image_count().unwrap(), 2);
    let rebuilt = Catalog::rebuild(&path, &model("b")).unwrap();
    assert_eq!((rebuilt.image_count().unwrap(), rebuilt.model()), (0, &model("b")));
    assert_eq!(Catalog::open_or_create(&path, &model("b")).unwrap().index().unwrap().len(), 0);
}

#[test]
fn what_is_no_library_is_said_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("relens.db");
    assert!(message(Catalog::open(&missing)).contains("no library here (expected relens.db)"));

    let text = directory.path().join("text.db");
    fs_err::write(&text, "not a database, but long enough to look like one".repeat(100)).unwrap();
    let foreign = directory.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1")
        .unwrap();
    for path in [text, foreign] {
        let before = fs_err::read(&path).unwrap();
        for result in [Catalog::open(&path), Catalog::open_or_create(&path, &model("a"))] {
            let error = message(result);
            assert!(error.contains("damaged: expected a relens library"), "{error}");
        }
        assert_eq!(fs_err::read(&path).unwrap(), before);
    }
}

#[test]
fn an_empty_file_is_a_library_yet_to_be_made() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relens.db");
    fs_err::write(&path, "").unwrap();
    assert!(matches!(Catalog::open(&path), Err(Error::NoLibrary { .. })));
    Catalog::open_or_create(&path, &model("a")).unwrap();
    assert_eq!(Catalog::open(&path).unwrap().image_count().unwrap(), 0);
}

#[test]
fn a_newer_format_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", FORMAT_VERSION + 1)
        .unwrap();
    for result in [Catalog::open(&path), Catalog::open_or_create(&path, &model("a"))] {
        assert!(message(result).contains("written in format version 3, this relens reads up to 2"));
    }
}

#[test]
fn every_truncation_is_an_error_or_the_whole_never_less() {
    let directory = TempDir::new().unwrap();
    let bytes = fs_err::read(filled(&directory)).unwrap();
    let damaged = directory.path().join("damaged.db");
    for length in (1..bytes.len()).step_by(1021) {
        fs_err::write(&damaged, &bytes[..length]).unwrap();
        for result in [Catalog::open(&damaged), Catalog::open_or_create(&damaged, &model("a"))] {
            let found = result.and_then(|catalog| {
                Ok((catalog.index()?.len(), catalog.image_at(Path::new("/p/b.jpg"))?.is_some()))
            });
            assert!(matches!(found, Err(Error::Corrupt { .. }) | Ok((2, true))), "{length}: {found:?}");
        }
    }
}

#[test]
fn damaged_vectors_are_named() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let damage = |sql: &str| {
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        message(Catalog::open(&path).unwrap().index())
    };
    let error = damage("UPDATE vectors SET vector = zeroblob(8) WHERE image_id = 2");
    assert!(error.contains("expected a vector of length 1 for picture 2"), "{error}");
    let error = damage("UPDATE vectors SET vector = x'00' WHERE image_id = 1");
    assert!(error.contains("expected a vector of 8 bytes for picture 1, found 1 bytes"), "{error}");
    let error = {
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute_batch("DELETE FROM meta WHERE key = 'dim'")
            .unwrap();
        message(Catalog::open(&path))
    };
    assert!(error.contains("expected `dim` in the table meta"), "{error}");
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    // SQLite itself refuses to grow beyond this, exactly as on a full disk.
    catalog.connection.pragma_update(None, "max_page_count", 16).unwrap();
    let mut added = 2;
    let error = loop {
        let mut large = image(&format!("/p/{added}.jpg"));
        large.metadata.captions = vec!["long ".repeat(4000)];
        match catalog.add_batch(&[large], &vectors(&[0.5]), &[]) {
            Ok(()) => added += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert_eq!(catalog.image_count().unwrap(), added);
    drop(catalog);
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    assert_eq!(catalog.index().unwrap().len(), added);
    catalog.add_batch(&[image("/p/later.jpg")], &vectors(&[0.5]), &[]).unwrap();
}

#[test]
fn another_writer_is_waited_for_then_named() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    catalog.connection.busy_timeout(std::time::Duration::from_millis(10)).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(matches!(catalog.remove(&["/p/a.jpg"]), Err(Error::Busy { .. })));
    assert_eq!(Catalog::open(&path).unwrap().image_count().unwrap(), 2, "readers do not wait");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(catalog.remove(&["/p/a.jpg"]).unwrap(), 1);
}

#[test]
fn a_place_that_cannot_be_written_can_be_searched() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let immutable = super::open::open_immutable(&path).unwrap();
    let count: i64 = immutable.0.query_row("SELECT count(*) FROM images", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2);
    let nowhere = directory.path().join("relens.db/library.db");
    assert!(matches!(Catalog::open_or_create(&nowhere, &model("a")), Err(Error::NotWritable { .. })));
}

#[cfg(unix)]
#[test]
fn a_name_that_is_no_utf8_is_found_again() {
    use std::os::unix::ffi::OsStrExt;
    let directory = TempDir::new().unwrap();
    let mut catalog = Catalog::open_or_create(&directory.path().join("relens.db"), &model("a")).unwrap();
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(b"/p/caf\xe9.jpg"));
    let mut named = image("");
    named.path.clone_from(&path);
    catalog.add_batch(&[named], &vectors(&[0.0]), &[]).unwrap();
    let found = catalog.image_at(&path).unwrap().unwrap();
    assert_eq!(found.path, path);
    assert_eq!(catalog.remove(&[&path]).unwrap(), 1);
}

/// A library as relens 0.1.0 made it, of two pictures.
fn of_version_1(path: &Path) {
    let old = rusqlite::Connection::open(path).unwrap();
    old.execute_batch(super::open::SCHEMA).unwrap();
    old.pragma_update(None, "application_id", 0x726c_6e73).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    let vector =
        |angle: f32| [angle.cos(), angle.sin()].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    for (id, name, angle) in [(1, "/p/a.jpg", 0.0), (2, "/p/b.jpg", 1.0)] {
        old.execute("INSERT INTO images VALUES (?1, CAST(?2 AS BLOB), 3, -4, 5, 6)", (id, name)).unwrap();
        old.execute("INSERT INTO vectors VALUES (?1, ?2)", (id, vector(angle))).unwrap();
    }
    for (key, value) in [("model_name", "tiny"), ("model_fingerprint", "a"), ("dim", "2")] {
        old.execute("INSERT INTO meta VALUES (?1, ?2)", (key, value)).unwrap();
    }
}

#[test]
fn an_old_library_is_read_as_it_is_and_changed_when_it_is_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relens.db");
    of_version_1(&path);
    let before = fs_err::read(&path).unwrap();
    let read = Catalog::open(&path).unwrap();
    let image = read.image_at(Path::new("/p/b.jpg")).unwrap().unwrap();
    assert_eq!((image.id, image.taken, image.place), (2, None, None));
    assert_eq!((read.index().unwrap().len(), read.folders().unwrap().len()), (2, 0));
    let mut filter = PictureFilter::default();
    filter.set("before", "1971").unwrap();
    assert_eq!(read.index_of(&filter).unwrap().len(), 2, "the files' own date counts");
    drop(read);
    assert_eq!(fs_err::read(&path).unwrap(), before);
    let mut changed = Catalog::open_or_create(&path, &model("a")).unwrap();
    assert_eq!(changed.index().unwrap().len(), 2);
    assert_eq!(changed.images_of_size(3).unwrap()[0].fingerprint, None);
    changed.add_folder(Path::new("/p")).unwrap();
    assert_eq!(changed.folders().unwrap(), [IndexedFolder { path: "/p".into(), images: 2 }]);
    drop(changed);
    assert_eq!(Catalog::open(&path).unwrap().folders().unwrap().len(), 1);
}

#[test]
fn folders_move_and_are_forgotten_whole() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("relens.db");
    let mut catalog = Catalog::open_or_create(&path, &model("a")).unwrap();
    let images = ["/p/a.jpg", "/p/sub/b.jpg", "/p2/c.jpg"].map(image);
    catalog.add_batch(&images, &vectors(&[0.0, 1.0, 2.0]), &[]).unwrap();
    for folder in ["/p", "/p2"] {
        catalog.add_folder(Path::new(folder)).unwrap();
    }
    assert_eq!(catalog.move_folder(Path::new("/p"), Path::new("/new/place")).unwrap(), 2);
    assert!(catalog.image_at(Path::new("/new/place/sub/b.jpg")).unwrap().is_some());
    let folders: Vec<PathBuf> = catalog.folders().unwrap().into_iter().map(|folder| folder.path).collect();
    assert_eq!(folders, [Path::new("/new/place"), Path::new("/p2")]);
    assert_eq!(catalog.forget_folder(Path::new("/new")).unwrap(), 2);
    assert_eq!((catalog.image_count().unwrap(), catalog.folders().unwrap().len()), (1, 1));
}

#[test]
fn filters_let_through_what_they_say() {
    let directory = TempDir::new().unwrap();
    let mut catalog = Catalog::open_or_create(&directory.path().join("relens.db"), &model("a")).unwrap();
    let taken = |path: &str, taken: Option<i64>, camera: &str, place| IndexedImage {
        metadata: PictureMetadata { taken, camera: Some(camera.to_owned()), place, captions: vec![] },
        ..image(path)
    };
    // 2023-06-15, 2019-01-01 and a file's date of 1969.
    let images = [
        taken("/p/Holidays/a.jpg", Some(1_686_787_200), "Google Pixel 7", Place::new(48.858, 2.294)),
        taken("/p/b.mp4", Some(1_546_300_800), "Canon EOS", Place::new(-33.9, 18.4)),
        taken("/p/Screenshots/c.png", None, "", None),
    ];
    catalog.add_batch(&images, &vectors(&[0.0, 1.0, 2.0]), &[]).unwrap();
    for (conditions, expected) in [
        ("", &[1, 2, 3][..]),
        ("after:2023-06-15", &[1]),
        ("after:2019 before:2020", &[2]),
        ("before:2019", &[3]),
        ("in:holidays", &[1]),
        ("-in:screenshots", &[1, 2]),
        ("in:/p/Screenshots in:Holidays", &[1, 3]),
        ("in:/p", &[1, 2, 3]),
        ("in:/Holidays", &[]),
        ("camera:pixel", &[1]),
        ("near:48.86,2.3", &[1]),
        ("near:48.86,2.3,20000", &[1, 2]),
        ("type:video", &[2]),
        ("type:picture", &[1, 3]),
        ("in:\"' OR 1=1\"", &[]),
    ] {
        let mut filter = PictureFilter::default();
        filter.take_from(conditions).unwrap();
        let index = catalog.index_of(&filter).unwrap();
        let mut found: Vec<u64> =
            index.search(&vectors(&[0.0]), 9).unwrap()[0].iter().map(|hit| hit.id).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{conditions}");
    }
}

#[test]
fn what_can_be_read_of_a_damaged_library_is_saved() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE vectors SET vector = x'00' WHERE image_id = 1")
        .unwrap();
    let health = Catalog::open(&path).unwrap().check().unwrap();
    assert_eq!((health.images, health.missing, health.faults.len()), (2, 2, 1));
    let repaired = Catalog::repair(&path).unwrap();
    assert_eq!((repaired.saved, repaired.lost), (1, 1));
    assert!(repaired.damaged.is_file());
    let catalog = Catalog::open(&path).unwrap();
    assert!(catalog.image_at(Path::new("/p/b.jpg")).unwrap().is_some());
    assert_eq!(catalog.check().unwrap().faults, Vec::<String>::new());
}

#[test]
fn a_damaged_library_can_be_made_anew_and_is_put_aside() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    let damaged = [&b"no database"[..], &[7; 5000]].concat();
    fs_err::write(&path, &damaged).unwrap();
    let catalog = Catalog::rebuild(&path, &model("b")).unwrap();
    assert_eq!((catalog.image_count().unwrap(), catalog.model().fingerprint.as_str()), (0, "b"));
    assert_eq!(fs_err::read(directory.path().join("relens.db.damaged")).unwrap(), damaged);
    let other = directory.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    assert!(message(Catalog::rebuild(&other, &model("b"))).contains("another program"));
}

#[test]
fn a_dimension_that_cannot_be_is_damage() {
    let directory = TempDir::new().unwrap();
    let path = filled(&directory);
    for dim in ["0", "9223372036854775808", "1000000000000", "65537", "-1", "x"] {
        rusqlite::Connection::open(&path)
            .unwrap()
            .execute("UPDATE meta SET value = ?1 WHERE key = 'dim'", [dim])
            .unwrap();
        let error = message(Catalog::open(&path));
        assert!(error.contains(&format!("of 1 to 65536 in `dim` of the table meta, found {dim}")), "{error}");
    }
}
