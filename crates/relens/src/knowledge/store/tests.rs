use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::history::Edit;
use super::*;
use crate::knowledge::json_lines;
use crate::knowledge::json_lines::tests::entities;
use crate::knowledge::words::{ENGLISH, Meaning, MeaningKind, Word};
use crate::knowledge::{Description, Source};

fn robot() -> Entity {
    Entity::described("robot", ["metal body"], Source::Person)
}

fn new_store() -> (tempfile::TempDir, KnowledgeStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = KnowledgeStore::open(&directory.path().join("home/evd.db")).unwrap();
    (directory, store)
}

fn describe(store: &mut KnowledgeStore, name: &str, text: &str) -> Result<Option<Revision>> {
    store.edit("edit", name, |entity| {
        let mut entity = entity.unwrap_or_else(|| Entity::described(name, [text], Source::Person));
        entity.senses[0].descriptions.push(Description { text: text.to_owned(), source: Source::Person });
        Ok(Some(entity))
    })
}

#[test]
fn what_a_knowledge_base_began_with_is_taken_back_by_number_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    let mut store = KnowledgeStore::open_seeded(&path, || Ok(vec![robot()])).unwrap();
    describe(&mut store, "robot", "glowing eyes").unwrap();
    assert_eq!(store.undo(None).unwrap().undoes, Some(2));
    assert!(matches!(store.undo(None), Err(Error::CannotUndo { .. })));
    assert!(store.entity("robot").unwrap().is_some());
    assert_eq!(store.undo(Some(1)).unwrap().undoes, Some(1));
    assert!(store.entity("robot").unwrap().is_none());
}

#[test]
fn edits_are_kept_and_taken_back_one_by_one() {
    let (_directory, mut store) = new_store();
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    describe(&mut store, "robot", "glowing eyes").unwrap();
    assert!(describe(&mut store, "robot", "glowing eyes").unwrap().is_none(), "nothing changed");
    store.edit("remove", "robot", |_| Ok(None)).unwrap();
    assert!(store.entity("robot").unwrap().is_none());

    assert_eq!(store.undo(None).unwrap().undoes, Some(3));
    assert_eq!(store.entity("robot").unwrap().unwrap().descriptions().count(), 2);
    assert_eq!(store.undo(None).unwrap().undoes, Some(2));
    assert_eq!(store.entity("robot").unwrap().unwrap(), robot());
    // Undoing the undo does the edit again.
    assert_eq!(store.undo(Some(5)).unwrap().undoes, Some(5));
    assert_eq!(store.entity("robot").unwrap().unwrap().descriptions().count(), 2);
    assert_eq!(store.undo(None).unwrap().undoes, Some(2));
    assert_eq!(store.undo(None).unwrap().undoes, Some(1));
    assert!(store.entities().unwrap().is_empty());
    let error = store.undo(None).unwrap_err().to_string();
    assert_eq!(error, "cannot undo: there is no edit left to undo");

    let actions: Vec<String> =
        store.history(Some("robot"), 3).unwrap().into_iter().map(|r| r.action).collect();
    assert_eq!(actions, ["undo", "undo", "undo"]);
    let changes = store.changes(2).unwrap();
    assert_eq!(changes[0].before.as_ref().unwrap(), &robot());
    assert_eq!(changes[0].after.as_ref().unwrap().descriptions().count(), 2);
}

#[test]
fn what_has_changed_again_is_not_overwritten_by_an_undo() {
    let (_directory, mut store) = new_store();
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    describe(&mut store, "robot", "glowing eyes").unwrap();
    let error = store.undo(Some(1)).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot undo: `robot` has changed again since revision 1; undo the later revision first"
    );
    assert!(matches!(store.undo(Some(99)), Err(Error::CannotUndo { .. })));
    store.undo(Some(2)).unwrap();
    let error = store.undo(Some(2)).unwrap_err().to_string();
    assert_eq!(error, "cannot undo: revision 2 was already undone by revision 3");
}

#[test]
fn renaming_keeps_what_is_known() {
    let (_directory, mut store) = new_store();
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    let rename = |to: &'static str| {
        move |entity: Option<Entity>| Ok(entity.map(|entity| Entity { name: to.into(), ..entity }))
    };
    store.edit("rename", "robot", rename("android")).unwrap();
    assert!(store.entity("robot").unwrap().is_none());
    assert_eq!(store.entity("android").unwrap().unwrap().senses, robot().senses);
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    assert!(matches!(store.edit("rename", "robot", rename("android")), Err(Error::InvalidEntity { .. })));
    store.undo(None).unwrap();
    store.undo(None).unwrap();
    assert_eq!(store.entity("robot").unwrap().unwrap(), robot());
}

#[test]
fn names_lead_to_one_entity() {
    let (_directory, mut store) = new_store();
    let named = |name: &str, alias: &str| Entity {
        aliases: vec![alias.into()],
        ..Entity::described(name, ["x"], Source::Llm)
    };
    store.edit("add", "robot", |_| Ok(Some(named("robot", "droid")))).unwrap();
    assert_eq!(store.entity("droid").unwrap().unwrap().name, "robot");
    let mut refused = |entity: Entity| {
        let name = entity.name.clone();
        store.edit("add", &name, |_| Ok(Some(entity))).unwrap_err().to_string()
    };
    assert!(refused(named("android", "droid")).ends_with("found `droid`, an alias of `robot`"));
    assert!(refused(named("droid", "robot")).ends_with("found cyclic aliases: droid → robot → droid"));
    assert!(refused(named("droid", "other")).ends_with("found `droid`, which is an entity"));
    assert!(
        refused(Entity::described("droid", [""], Source::Llm)).contains("senses[0].descriptions[0].text")
    );
    assert_eq!(store.history(None, 9).unwrap().len(), 1);
}

#[test]
fn an_import_merges_or_replaces_and_is_undone_whole() {
    let (_directory, mut store) = new_store();
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    let imported = [
        Entity::described("Robot", ["antenna"], Source::Import),
        Entity::described("ufo", ["disc"], Source::Import),
    ];
    let summary = store.import("import", &imported, ImportMode::Merge).unwrap();
    assert_eq!((summary.added, summary.changed, summary.removed), (1, 1, 0));
    assert_eq!(store.entity("robot").unwrap().unwrap().descriptions().count(), 2);
    let again = store.import("import", &imported, ImportMode::Merge).unwrap();
    assert_eq!((again.unchanged, again.revision), (2, None));

    let summary = store.import("import", &imported[1..], ImportMode::Replace).unwrap();
    assert_eq!((summary.removed, summary.unchanged), (1, 1));
    store.undo(None).unwrap();
    store.undo(None).unwrap();
    assert_eq!(store.entities().unwrap(), [robot()]);

    let bad = [imported[1].clone(), Entity::described("empty", Vec::<String>::new(), Source::Import)];
    assert!(store.import("import", &bad, ImportMode::Merge).is_err());
    assert_eq!(store.entities().unwrap(), [robot()], "nothing of a bad import is taken");
}

#[test]
fn another_file_is_not_taken_for_a_knowledge_base() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    assert!(KnowledgeStore::open_read_only(&path).is_err());
    fs_err::write(&path, "not a database, but long enough to be one".repeat(100)).unwrap();
    assert!(matches!(KnowledgeStore::open(&path), Err(Error::Corrupt { .. })));
    let other = directory.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(KnowledgeStore::open(&other), Err(Error::Corrupt { .. })));
    let (newer, _) = (directory.path().join("newer.db"), ());
    drop(KnowledgeStore::open(&newer).unwrap());
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", 3).unwrap();
    assert!(matches!(KnowledgeStore::open(&newer), Err(Error::NewerFormat { found: 3, supported: 2, .. })));
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    let seed = || Ok(vec![robot()]);
    const EDITS: usize = 25;
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let path = &path;
            scope.spawn(move || {
                let mut store = KnowledgeStore::open_seeded(path, seed).unwrap();
                for edit in 0..EDITS {
                    describe(&mut store, "robot", &format!("part {edit} of writer {writer}")).unwrap();
                }
            });
        }
    });
    let store = KnowledgeStore::open(&path).unwrap();
    assert_eq!(store.entity("robot").unwrap().unwrap().descriptions().count(), 1 + 2 * EDITS);
    // The seed was taken in once.
    assert_eq!(store.history(None, usize::MAX).unwrap().len(), 1 + 2 * EDITS);
}

const KILLED_PATH: &str = "RELENS_TEST_KILLED_PATH";

/// Run by the test below in a process of its own: stores an edit, and is killed before its history is written.
#[test]
#[ignore = "is run, and killed, by the test of a killed process"]
fn child_that_is_killed_between_edit_and_history() {
    let Some(path) = std::env::var_os(KILLED_PATH) else { return };
    let mut store = KnowledgeStore::open(Path::new(&path)).unwrap();
    let path = store.path.clone();
    store
        .transact(|transaction| {
            // A small cache makes SQLite write pages of the unfinished transaction into the file itself.
            transaction.execute_batch("PRAGMA cache_size = 1").unwrap();
            let edit = Edit { transaction, path: &path };
            let after = Some(Entity::described(
                "robot",
                (0..90).map(|n| format!("{n} {}", "x".repeat(250))),
                Source::Llm,
            ));
            edit.store(&[EntityChange { entity: "robot".into(), before: Some(robot()), after }]).unwrap();
            println!("stored");
            std::io::stdout().flush().unwrap();
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_process_killed_between_edit_and_history_leaves_neither() {
    let (_directory, mut store) = new_store();
    store.edit("add", "robot", |_| Ok(Some(robot()))).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg("knowledge::store::tests::child_that_is_killed_between_edit_and_history")
        .env(KILLED_PATH, store.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
    assert!(lines.any(|line| line.ends_with("stored")), "the child never got to its edit");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.entities().unwrap(), [robot()]);
    assert_eq!(store.history(None, 9).unwrap().len(), 1);
    describe(&mut store, "robot", "still writable").unwrap();
}

#[test]
fn what_a_process_left_that_was_killed_at_the_first_edit_is_made_anew() {
    let seed = || Ok(vec![robot()]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    let journal = directory.path().join("evd.db-journal");
    // A journal of a transaction that had not reached the file yet: its header says so much, and no pages follow.
    let cut_short = [&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7][..], &[0; 504]].concat();
    for left in [None, Some(&cut_short[..]), Some(b"half a header")] {
        fs_err::write(&path, "").unwrap();
        if let Some(left) = left {
            fs_err::write(&journal, left).unwrap();
        }
        assert!(!KnowledgeStore::is_made(&path).unwrap());
        let mut store = KnowledgeStore::open_seeded(&path, seed).unwrap();
        describe(&mut store, "robot", "shiny").unwrap();
        drop(store);
        assert!(KnowledgeStore::is_made(&path).unwrap());
        assert_eq!(KnowledgeStore::open_read_only(&path).unwrap().history(None, 9).unwrap().len(), 2);
        fs_err::remove_file(&path).unwrap();
    }
    assert!(!KnowledgeStore::is_made(&path).unwrap());
}

#[test]
fn a_knowledge_base_has_its_name_only_when_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    let seed = || {
        assert!(!path.exists());
        Ok(vec![robot()])
    };
    assert_eq!(KnowledgeStore::open_seeded(&path, seed).unwrap().entities().unwrap(), [robot()]);
    let refused = || Err(Error::EmptyQuery);
    let other = directory.path().join("other.db");
    assert!(KnowledgeStore::open_seeded(&other, refused).is_err());
    assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_imported_is_exported_byte_for_byte(entities in entities()) {
        let export = |entities: &[Entity]| {
            let mut bytes = Vec::new();
            json_lines::write(entities, &mut bytes).unwrap();
            bytes
        };
        let (_directory, mut store) = new_store();
        store.import("import", &entities, ImportMode::Replace).unwrap();
        let stored = store.entities().unwrap();
        prop_assert_eq!(export(&stored), export(&entities));
        for entity in &stored {
            prop_assert_eq!(store.entity(&entity.name).unwrap(), Some(entity.clone()));
        }
    }
}

fn taught(word: &str, meaning: &str) -> (String, String, Option<Word>) {
    let meaning = Meaning { text: meaning.to_owned(), kind: MeaningKind::Name, source: Source::Person };
    let taught = Word { word: word.to_owned(), language: ENGLISH.to_owned(), meanings: vec![meaning] };
    (word.to_owned(), ENGLISH.to_owned(), Some(taught))
}

fn meanings(store: &KnowledgeStore) -> Vec<String> {
    let words = store.words().unwrap();
    words.iter().map(|word| format!("{} → {}", word.word, word.meanings[0].text)).collect()
}

#[test]
fn words_have_a_history_and_can_be_taken_back() {
    let (_directory, mut store) = new_store();
    let first = store.edit_words("add", vec![taught("pooch", "dog"), taught("lad", "boy")]).unwrap().unwrap();
    assert_eq!((first.changed, first.entity.as_str()), (2, "lad"));
    assert!(store.edit_words("add", vec![taught("pooch", "dog")]).unwrap().is_none());
    store.edit_words("add", vec![taught("pooch", "puppy")]).unwrap();
    assert_eq!(meanings(&store), ["lad → boy", "pooch → puppy"]);
    assert!(matches!(store.undo(Some(first.id)), Err(Error::CannotUndo { .. })));
    let undone = store.undo(None).unwrap();
    assert_eq!(meanings(&store), ["lad → boy", "pooch → dog"]);
    store.undo(Some(undone.id)).unwrap();
    assert_eq!(meanings(&store), ["lad → boy", "pooch → puppy"]);
    assert_eq!(store.history(Some("pooch"), 9).unwrap().len(), 4);
    assert_eq!(store.word_changes(first.id).unwrap().len(), 2);
}

#[test]
fn a_word_that_means_itself_changes_nothing() {
    let (_directory, mut store) = new_store();
    let error = store.edit_words("add", vec![taught("lad", "boy"), taught("pooch", "pooch")]).unwrap_err();
    assert!(error.to_string().contains("meanings[0].text"), "{error}");
    assert!(store.words().unwrap().is_empty() && store.history(None, 9).unwrap().is_empty());
}

#[test]
fn a_knowledge_base_that_knew_no_words_is_brought_up_to_date_with_its_history() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("evd.db");
    let mut store = KnowledgeStore::open_seeded(&path, || Ok(vec![robot()])).unwrap();
    describe(&mut store, "robot", "glowing eyes").unwrap();
    store
        .connection
        .execute_batch("DROP TABLE words; DROP TABLE word_changes; PRAGMA user_version = 1")
        .unwrap();
    drop(store);
    let read = KnowledgeStore::open_read_only(&path).unwrap();
    assert!(read.words().unwrap().is_empty());
    assert_eq!(read.history(Some("robot"), 9).unwrap().len(), 2);
    drop(read);
    let mut store = KnowledgeStore::open(&path).unwrap();
    store.edit_words("add", vec![taught("pooch", "dog")]).unwrap();
    assert_eq!(store.history(None, 9).unwrap().len(), 3);
    store.undo(None).unwrap();
    store.undo(None).unwrap();
    assert_eq!(store.entity("robot").unwrap().unwrap(), robot());
}
