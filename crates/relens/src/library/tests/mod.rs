mod faults;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::embed::embeddings::Embeddings;
use crate::embed::{ImageEmbedder, PreparedImage};
use crate::index::Index;
use crate::progress::{Progress, Silent};
use crate::ranking::Pipeline;
use crate::ranking::pipeline::tests::WordCounts;

/// Pictures that are waiting for the model, now and at most.
#[derive(Default)]
struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A "picture" is a text file; its vector counts words, as the queries' do.
struct TextPictures {
    words: WordCounts,
    prepared: Mutex<Vec<PathBuf>>,
    gauge: Gauge,
    delay: Duration,
    broken_model: bool,
}

struct TextPicture<'a> {
    text: String,
    gauge: &'a Gauge,
}

impl Drop for TextPicture<'_> {
    fn drop(&mut self) {
        self.gauge.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn embedder() -> TextPictures {
    TextPictures {
        words: WordCounts { words: &["dog", "cat", "red", "blue"] },
        prepared: Mutex::new(Vec::new()),
        gauge: Gauge::default(),
        delay: Duration::ZERO,
        broken_model: false,
    }
}

impl<'a> ImageEmbedder for &'a TextPictures {
    type Image = TextPicture<'a>;

    fn model(&self) -> ModelIdentity {
        ModelIdentity { name: "word-counts".to_owned(), fingerprint: "words".to_owned(), dim: 4 }
    }

    fn prepare(&self, path: &Path) -> Result<PreparedImage<TextPicture<'a>>> {
        self.prepared.lock().unwrap().push(path.to_owned());
        let text = String::from_utf8_lossy(&fs_err::read(path)?).into_owned();
        assert_ne!(text, "panic", "a decoder's bug");
        if text == "broken" {
            return Err(Error::Argument {
                operation: "decoding",
                expected: "a picture".into(),
                found: "nothing".into(),
            });
        }
        let now = self.gauge.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.gauge.most.fetch_max(now, Ordering::SeqCst);
        Ok(PreparedImage { image: TextPicture { text, gauge: &self.gauge }, width: 1, height: 1 })
    }

    fn embed(&self, pictures: &[TextPicture<'a>]) -> Result<Embeddings> {
        std::thread::sleep(self.delay);
        if self.broken_model {
            return Err(Error::EmptyQuery);
        }
        let texts: Vec<&str> = pictures.iter().map(|picture| picture.text.as_str()).collect();
        self.words.embed_texts(&texts)
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Watcher {
    done: u64,
    messages: Vec<String>,
    stop_after: Option<u64>,
    started: bool,
}

impl Progress for Watcher {
    fn begin(&mut self, _: &str, _: u64) {
        self.started = true;
    }

    fn advance(&mut self, files: u64) {
        self.done = files;
    }

    fn message(&mut self, text: &str) {
        self.messages.push(text.to_owned());
    }

    fn cancelled(&mut self) -> bool {
        self.stop_after.is_some_and(|files| self.done >= files)
    }
}

const OPTIONS: IndexingOptions = IndexingOptions { jobs: 3, batch_size: 4 };

/// A folder of pictures and a place for its library.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        fs_err::create_dir(directory.path().join("pictures")).unwrap();
        Self { directory }
    }

    fn pictures(&self) -> PathBuf {
        self.directory.path().join("pictures").canonicalize().unwrap()
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.pictures().join(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, content).unwrap();
        path
    }

    fn library(&self) -> Library {
        Library::open_or_create(&self.directory.path().join("library"), &(&embedder()).model()).unwrap()
    }

    fn index(&self, embedder: &TextPictures) -> IndexingSummary {
        self.library().index_directory(&self.pictures(), &embedder, &OPTIONS, &mut Silent).unwrap()
    }

    fn found(&self, query: &str) -> Vec<PathBuf> {
        let library = Library::open(&self.directory.path().join("library")).unwrap();
        let query = Query::new(query).unwrap();
        let (found, _) = library.search(&query, 100, &Pipeline::default(), &embedder().words).unwrap();
        found.into_iter().map(|found| found.image.path).collect()
    }
}

#[test]
fn indexing_follows_the_folder() {
    let place = Place::new();
    let dog = place.write("a.jpg", "red dog");
    let cat = place.write("sub/b.jpg", "cat");
    place.write("notes.md", "dog dog");
    place.write(".hidden/c.jpg", "dog");
    let summary = place.index(&embedder());
    assert_eq!(summary, IndexingSummary { added: 2, ..IndexingSummary::default() });
    assert_eq!(place.found("dog"), [dog.clone(), cat.clone()]);

    let second = embedder();
    assert_eq!(place.index(&second), IndexingSummary { unchanged: 2, ..IndexingSummary::default() });
    assert!(second.prepared.lock().unwrap().is_empty(), "nothing is read again");

    fs_err::remove_file(&dog).unwrap();
    place.write("sub/b.jpg", "blue cat dog");
    let new = place.write("d.jpg", "dog");
    let summary = place.index(&embedder());
    assert_eq!(summary, IndexingSummary { added: 1, updated: 1, deleted: 1, ..IndexingSummary::default() });
    assert_eq!(place.found("dog"), [new, cat]);
}

#[test]
fn a_picture_that_cannot_be_used_is_left_out_and_named_once() {
    let place = Place::new();
    place.write("a.jpg", "dog");
    place.write("b.jpg", "broken");
    place.write("c.jpg", "panic");
    place.write("d.jpg", "no known word: a zero vector");
    place.write("e.jpg", "cat");
    let mut watcher = Watcher::default();
    let (embedder, mut library) = (embedder(), place.library());
    let summary = library.index_directory(&place.pictures(), &&embedder, &OPTIONS, &mut watcher).unwrap();
    assert_eq!((summary.added, summary.skipped), (2, 3));
    assert!(watcher.started);
    assert_eq!(watcher.done, 5);
    let reasons = watcher.messages.join("\n");
    assert!(reasons.contains("decoding: expected a picture, found nothing"), "{reasons}");
    assert!(reasons.contains("c.jpg: the decoder failed"), "{reasons}");
    assert!(reasons.contains("d.jpg: picture embeddings: row 0 has length 0, expected 1"), "{reasons}");

    let again = self::embedder();
    let summary = place.index(&again);
    assert_eq!((summary.unchanged, summary.skipped), (2, 3));
    assert!(again.prepared.lock().unwrap().is_empty(), "known failures are not read again");
    place.write("b.jpg", "red dog");
    fs_err::remove_file(place.pictures().join("c.jpg")).unwrap();
    let summary = place.index(&again);
    assert_eq!((summary.added, summary.deleted, summary.skipped), (1, 0, 1));
    assert_eq!(library.catalog().skipped_count().unwrap(), 1);
}

#[test]
fn memory_does_not_grow_with_the_number_of_pictures() {
    let place = Place::new();
    for number in 0..120 {
        place.write(&format!("{number:03}.jpg"), "dog");
    }
    let mut embedder = embedder();
    embedder.delay = Duration::from_millis(1);
    place.index(&embedder);
    let most = embedder.gauge.most.load(Ordering::SeqCst);
    // One batch is embedded, one waits, one is decoded, and one more may be handed over.
    assert!(most <= 4 * OPTIONS.batch_size, "{most} pictures were in memory at once");
    assert_eq!(embedder.gauge.now.load(Ordering::SeqCst), 0);
}

#[test]
fn threads_do_not_change_the_ids() {
    let rows = |jobs| {
        let place = Place::new();
        for number in 0..30 {
            place.write(&format!("{number:02}.jpg"), if number % 3 == 0 { "dog" } else { "broken" });
        }
        let options = IndexingOptions { jobs, batch_size: 7 };
        let mut library = place.library();
        library.index_directory(&place.pictures(), &&embedder(), &options, &mut Silent).unwrap();
        let ids = (0..30).map(|number| {
            let path = place.pictures().join(format!("{number:02}.jpg"));
            library.catalog().image_at(&path).unwrap().map(|image| image.id)
        });
        ids.collect::<Vec<_>>()
    };
    assert_eq!(rows(1), rows(4));
}

#[test]
fn a_stopped_run_keeps_what_is_done_and_the_next_continues() {
    let place = Place::new();
    for number in 0..20 {
        place.write(&format!("{number:02}.jpg"), "dog");
    }
    let mut watcher = Watcher { stop_after: Some(8), ..Watcher::default() };
    let mut library = place.library();
    let summary = library.index_directory(&place.pictures(), &&embedder(), &OPTIONS, &mut watcher).unwrap();
    assert_eq!((summary.added, summary.cancelled), (8, true));
    let summary = place.index(&embedder());
    assert_eq!((summary.unchanged, summary.added, summary.cancelled), (8, 12, false));
}

#[test]
fn a_model_that_always_fails_is_no_fault_of_the_pictures() {
    let place = Place::new();
    place.write("a.jpg", "dog");
    place.write("b.jpg", "cat");
    let mut broken = embedder();
    broken.broken_model = true;
    let result = place.library().index_directory(&place.pictures(), &&broken, &OPTIONS, &mut Silent);
    assert!(matches!(result, Err(Error::EmptyQuery)));
    assert_eq!(place.index(&embedder()).added, 2);
}

#[test]
fn places_that_are_no_folder_of_pictures_are_named() {
    let place = Place::new();
    let file = place.write("a.jpg", "dog");
    let mut library = place.library();
    let mut index = |root: &Path| {
        library.index_directory(root, &&embedder(), &OPTIONS, &mut Silent).unwrap_err().to_string()
    };
    assert!(index(&file).contains("expected a directory of pictures, found the file"));
    assert!(index(&place.pictures().join("missing")).contains("missing"));
    let error = Library::open_or_create(&file, &(&embedder()).model()).unwrap_err().to_string();
    assert!(error.contains("expected a directory for the library, found a file"), "{error}");
    let error = Library::open(&place.pictures()).unwrap_err().to_string();
    assert!(error.contains("no library here (expected relens.db)"), "{error}");
    let other = ModelIdentity { name: "other".to_owned(), fingerprint: "other".to_owned(), dim: 4 };
    let directory = place.directory.path().join("library");
    assert!(matches!(Library::open_or_create(&directory, &other), Err(Error::OtherModel { .. })));
    let rebuilt = Library::rebuild(&directory, &other).unwrap();
    assert!(matches!(rebuilt.index("words"), Err(Error::OtherModel { .. })));
}

#[cfg(unix)]
#[test]
fn loops_and_odd_names_do_no_harm() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("sub/a.jpg", "dog");
    std::os::unix::fs::symlink(place.pictures(), place.pictures().join("sub/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.pictures().join("dangling.jpg")).unwrap();
    let odd = place.pictures().join(std::ffi::OsStr::from_bytes(b"caf\xe9\n.jpg"));
    fs_err::write(&odd, "cat").unwrap();
    assert_eq!(place.index(&embedder()).added, 2);
    assert_eq!(place.found("cat")[0], odd);
    assert_eq!(place.index(&embedder()).unchanged, 2);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_counted_and_keeps_its_pictures() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.write("a.jpg", "dog");
    place.write("locked/b.jpg", "cat");
    assert_eq!(place.index(&embedder()).added, 2);
    let locked = place.pictures().join("locked");
    fs_err::set_permissions(&locked, std::fs::Permissions::from_mode(0o0)).unwrap();
    if std::fs::read_dir(&locked).is_ok() {
        eprintln!("skipped: this user may read every directory");
        return;
    }
    let summary = place.index(&embedder());
    assert_eq!((summary.unreadable, summary.deleted, summary.unchanged), (1, 0, 1));
    fs_err::set_permissions(&locked, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.index(&embedder()).unchanged, 2);
}
