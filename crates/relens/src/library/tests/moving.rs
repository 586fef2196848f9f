//! Pictures that move, are copied, come and go with their folder, or change behind their size and time.

use super::*;

#[test]
fn a_moved_picture_keeps_its_vector_and_a_copy_borrows_it() {
    let place = Place::new();
    place.write("one/a.jpg", "red dog");
    place.write("one/b.jpg", "cat");
    assert_eq!(place.index(&embedder()).added, 2);
    fs_err::rename(place.pictures().join("one"), place.pictures().join("two")).unwrap();
    fs_err::copy(place.pictures().join("two/a.jpg"), place.pictures().join("copy.jpg")).unwrap();
    let second = embedder();
    let summary = place.index(&second);
    assert_eq!((summary.added, summary.moved, summary.copied, summary.deleted), (0, 2, 1, 0));
    assert!(second.prepared.lock().unwrap().is_empty(), "nothing is embedded again");
    let found = place.found("red dog");
    assert_eq!(found.len(), 3);
    assert!(
        found.contains(&place.pictures().join("copy.jpg"))
            && found.contains(&place.pictures().join("two/b.jpg"))
    );
    assert_eq!(place.index(&embedder()).unchanged, 3);
}

#[test]
fn an_emptied_folder_is_kept_until_it_is_forgotten() {
    let place = Place::new();
    place.write("a.jpg", "dog");
    place.write("usb/b.jpg", "cat");
    let usb = place.pictures().join("usb");
    place.library().index_directory(&usb, &&embedder(), &OPTIONS, &mut Silent).unwrap();
    place.index(&embedder());
    let parked = place.directory.path().join("parked");
    fs_err::rename(&usb, &parked).unwrap();
    let summary = place.index(&embedder());
    assert_eq!((summary.unchanged, summary.deleted), (1, 0));
    assert_eq!(summary.kept, [KeptFolder { path: usb.clone(), images: 1 }]);
    fs_err::create_dir(&usb).unwrap();
    assert_eq!(place.index(&embedder()).kept.len(), 1, "an empty place of a drive is the same");
    fs_err::remove_dir(&usb).unwrap();
    fs_err::rename(&parked, &usb).unwrap();
    let second = embedder();
    assert_eq!(place.index(&second).unchanged, 2);
    assert!(second.prepared.lock().unwrap().is_empty());
    fs_err::remove_dir_all(&usb).unwrap();
    assert_eq!(place.library().catalog_mut().forget_folder(&usb).unwrap(), 1);
    assert_eq!(place.index(&embedder()), IndexingSummary { unchanged: 1, ..IndexingSummary::default() });
}

#[test]
fn every_file_is_accounted_for() {
    let place = Place::new();
    for name in ["a.jpg", "b.heic.txt", "c.svg", "d.PSD", "e.psd", "notes.md"] {
        place.write(name, "dog");
    }
    place.write("broken.jpg", "broken");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(place.pictures().join("a.jpg"), place.pictures().join("link.jpg"))
            .unwrap();
        std::os::unix::fs::symlink(place.pictures(), place.pictures().join("loop")).unwrap();
    }
    let summary = place.index(&embedder());
    assert_eq!((summary.added, summary.skipped), (1, 1));
    let counts: Vec<(&str, usize)> =
        summary.passed_over.unread.iter().map(|(ending, (count, _))| (ending.as_str(), *count)).collect();
    assert_eq!(counts, [("psd", 2), ("svg", 1)]);
    assert_eq!(summary.passed_over.others, 2);
    if cfg!(unix) {
        assert_eq!(summary.passed_over.links, 2);
        let options = IndexingOptions { follow_links: true, ..OPTIONS };
        let followed =
            place.library().index_directory(&place.pictures(), &&embedder(), &options, &mut Silent).unwrap();
        assert_eq!((followed.copied, followed.unreadable), (1, 1), "the loop is told, not followed");
    }
}

#[test]
fn content_that_changed_behind_size_and_time_is_found_on_request() {
    let place = Place::new();
    let path = place.write("a.jpg", "dog");
    place.index(&embedder());
    let modified = fs_err::metadata(&path).unwrap().modified().unwrap();
    fs_err::write(&path, "cat").unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(place.index(&embedder()).unchanged, 1);
    let options = IndexingOptions { verify: true, ..OPTIONS };
    let verified =
        place.library().index_directory(&place.pictures(), &&embedder(), &options, &mut Silent).unwrap();
    assert_eq!((verified.updated, verified.unchanged), (1, 0));
}

#[test]
fn the_second_of_two_who_fill_a_library_waits_and_is_told_who_works() {
    let place = Place::new();
    let directory = place.directory.path().join("library");
    let first = Library::lock(&directory, |_| false).unwrap();
    let mut waited_for = Vec::new();
    let second = Library::lock(&directory, |who| {
        waited_for.push(who.to_owned());
        false
    });
    assert!(matches!(second, Err(Error::Cancelled)));
    assert_eq!(waited_for, [format!("process {}", std::process::id())]);
    drop(first);
    Library::lock(&directory, |_| false).unwrap();
}
