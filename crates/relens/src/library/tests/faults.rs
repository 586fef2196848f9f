//! Kills and full disks, in processes of their own.

use std::process::{Command, Stdio};

use super::*;

const KILLED_CHILD: &str = "RELENS_TEST_KILLED_CHILD";

#[test]
#[ignore = "is run, and killed, by the test of a kill"]
fn child_that_is_killed_while_indexing() {
    let Some(directory) = std::env::var_os(KILLED_CHILD).map(PathBuf::from) else { return };
    let mut slow = embedder();
    slow.delay = Duration::from_millis(5);
    let mut library = Library::open_or_create(&directory.join("library"), &(&slow).model()).unwrap();
    library.index_directory(&directory.join("pictures"), &&slow, &OPTIONS, &mut Silent).unwrap();
}

#[test]
fn a_kill_in_the_middle_leaves_the_last_batch_and_the_next_run_continues() {
    let place = Place::new();
    let count = 200;
    for number in 0..count {
        place.write(&format!("{number:03}.jpg"), &format!("{} {number}", ["dog", "red cat"][number % 2]));
    }
    let library = place.directory.path().join("library");
    let mut committed = 0;
    for round in 1..=4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "library::tests::faults::child_that_is_killed_while_indexing"])
            .env(KILLED_CHILD, place.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Kill at another moment each time, some while a transaction is open.
        let enough = || {
            let opened = Library::open(&library).and_then(|library| library.catalog().image_count());
            opened.is_ok_and(|now| now > committed)
        };
        while !enough() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(round * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        let reopened = Library::open(&library).unwrap();
        let now = reopened.index("words").unwrap().len();
        assert!(now > committed && now.is_multiple_of(OPTIONS.batch_size), "{committed}, then {now}");
        assert_eq!(now, reopened.catalog().image_count().unwrap());
        committed = now;
    }
    assert!(committed < count, "the child was too fast to be killed");
    let summary = place.index(&embedder());
    assert_eq!((summary.unchanged, summary.added), (committed, count - committed));
    let dogs = place.found("dog");
    assert!(
        dogs[..count / 2]
            .iter()
            .zip(0..)
            .all(|(path, number)| { path.ends_with(format!("{:03}.jpg", number * 2)) })
    );
}

#[cfg(unix)]
const FULL_DISK_CHILD: &str = "RELENS_TEST_FULL_DISK_CHILD";

#[cfg(unix)]
#[test]
#[ignore = "is run by the test of a full disk, where no file may grow beyond a limit"]
fn child_that_meets_a_full_disk() {
    let Some(directory) = std::env::var_os(FULL_DISK_CHILD).map(PathBuf::from) else { return };
    let vectors = Embeddings::from_rows(4, [1.0, 0.0, 0.0, 0.0].repeat(60_000)).unwrap();
    let index = ExactIndex::from_parts("words", (0..60_000).collect(), vectors).unwrap();
    let error = index.save(&directory.join("vectors")).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");

    let mut library = Library::open_or_create(&directory.join("library"), &(&embedder()).model()).unwrap();
    let error = library
        .index_directory(&directory.join("pictures"), &&embedder(), &OPTIONS, &mut Silent)
        .unwrap_err();
    assert!(matches!(error, Error::NotWritable { .. } | Error::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("relens.db: "), "{error}");
    assert!(error.to_string().contains("is kept"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_keeps_what_is_done_and_the_next_run_continues() {
    let place = Place::new();
    let count = 300;
    for number in 0..count {
        place.write(&format!("{number:03}.jpg"), &format!("dog {number}"));
    }
    // A limit on the size of files (in blocks of 512 bytes; the signal ignored) fails a write as a full disk does.
    let script = "trap '' XFSZ; ulimit -f 1600; exec \"$0\" --ignored --exact library::tests::faults::child_that_meets_a_full_disk";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(FULL_DISK_CHILD, place.directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!place.directory.path().join("vectors").exists(), "no half-written file");
    let committed =
        Library::open(&place.directory.path().join("library")).unwrap().index("words").unwrap().len();
    assert!(
        committed > 0 && committed < count && committed.is_multiple_of(OPTIONS.batch_size),
        "{committed}"
    );
    let summary = place.index(&embedder());
    assert_eq!((summary.unchanged, summary.added), (committed, count - committed));
}
