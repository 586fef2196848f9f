//! Opening: creation, versions, and the places where a library may only be read.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use relens_models::regular_file;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{Catalog, catalog_error};
use crate::embed::ModelIdentity;
use crate::error::{Error, Result};
use crate::private_file;

/// The format that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 2;

/// What is found where another program keeps its data: nothing of it is ever touched.
const FOREIGN: &str = "the database of another program";

/// `rlns`: marks the file as a relens library among SQLite files.
const APPLICATION_ID: i64 = 0x726c_6e73;
/// How long to wait for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More components than any model's vectors have. What is larger in a file is damage, and no reason to ask for memory.
const LARGEST_DIM: usize = 1 << 16;

/// Pages of 16 KB hold several vectors each; the default 4 KB would hold one, half empty.
const PAGE_SIZE: u32 = 16_384;

pub(super) const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE images (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        path BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL
    );
    CREATE TABLE vectors (
        image_id INTEGER PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
        vector BLOB NOT NULL
    );
    CREATE TABLE captions (
        image_id INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        text TEXT NOT NULL,
        PRIMARY KEY (image_id, position)
    ) WITHOUT ROWID;
    CREATE TABLE skipped (
        path BLOB PRIMARY KEY,
        size INTEGER,
        modified INTEGER,
        reason TEXT NOT NULL
    ) WITHOUT ROWID;
";

/// What version 2 adds: what makes a picture known under another path, what its file tells of it, and the folders that
/// were indexed.
const VERSION_2: &str = "
    ALTER TABLE images ADD COLUMN fingerprint BLOB;
    ALTER TABLE images ADD COLUMN taken INTEGER;
    ALTER TABLE images ADD COLUMN camera TEXT;
    ALTER TABLE images ADD COLUMN latitude REAL;
    ALTER TABLE images ADD COLUMN longitude REAL;
    CREATE INDEX images_by_size ON images (size);
    CREATE TABLE folders (path BLOB PRIMARY KEY) WITHOUT ROWID;
";

/// After every change of a picture, by whichever program, `generation` is another text: what was derived of the pictures
/// before does not hold any more. Libraries of version 2 that were made before there was a generation get one.
const GENERATION: &str = "
    INSERT OR IGNORE INTO meta (key, value) VALUES ('generation', hex(randomblob(16)));
    CREATE TRIGGER IF NOT EXISTS image_inserted AFTER INSERT ON images BEGIN
        UPDATE meta SET value = hex(randomblob(16)) WHERE key = 'generation';
    END;
    CREATE TRIGGER IF NOT EXISTS image_updated AFTER UPDATE ON images BEGIN
        UPDATE meta SET value = hex(randomblob(16)) WHERE key = 'generation';
    END;
    CREATE TRIGGER IF NOT EXISTS image_deleted AFTER DELETE ON images BEGIN
        UPDATE meta SET value = hex(randomblob(16)) WHERE key = 'generation';
    END;
";

/// A library of version 1 that is only read looks like one of version 2 through these.
const VERSION_1_AS_2: &str = "
    CREATE TEMP VIEW images AS SELECT *, NULL AS fingerprint, NULL AS taken, NULL AS camera, NULL AS latitude,
        NULL AS longitude FROM main.images;
    CREATE TEMP TABLE folders (path BLOB PRIMARY KEY);
";

impl Catalog {
    /// Opens a catalogue for searching; it is not changed, and may lie in a place that cannot be written.
    ///
    /// # Errors
    /// [`Error::NoLibrary`], [`Error::Corrupt`], [`Error::NewerFormat`] or [`Error::Database`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.is_file() {
            return Err(no_library(path));
        }
        ensure_database(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            application_and_version(&connection).map(|identity| (connection, identity))
        });
        let (connection, identity) = match opened {
            // Write-ahead mode needs a file of its own beside the database, which a read-only place refuses. With no
            // pending log there the database is complete, and may be read as a file that nobody changes.
            Err(error) if is_read_only_place(&error) && !has_pending_log(path) => open_immutable(path),
            opened => opened,
        }
        .map_err(|error| catalog_error(path, error))?;
        match identity {
            (0, 0) => return Err(no_library(path)),
            identity => check_identity(path, identity)?,
        }
        if identity.1 == 1 {
            connection
                .execute_batch("PRAGMA temp_store = MEMORY")
                .and_then(|()| connection.execute_batch(VERSION_1_AS_2))
                .map_err(|error| catalog_error(path, error))?;
        }
        let model = read_model(path, &connection)?;
        Ok(Self { path: path.to_owned(), connection, model })
    }

    /// Opens a catalogue to change it, or creates it for `model`; the pages of an existing one are checked.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if another model made the vectors there; those of [`open`](Self::open);
    /// [`Error::NotWritable`] and [`Error::DiskFull`].
    pub fn open_or_create(path: &Path, model: &ModelIdentity) -> Result<Self> {
        ensure_database(path)?;
        private_file::create(path);
        let mut connection = Connection::open(path).map_err(|error| catalog_error(path, error))?;
        let prepared = prepare_for_writing(path, &mut connection, model);
        let model_there = prepared.and_then(|()| read_model(path, &connection))?;
        let catalog = Self { path: path.to_owned(), connection, model: model_there };
        catalog.ensure_model(&model.fingerprint)?;
        if catalog.model.dim != model.dim {
            let expected = format!("vectors of {} components, as the model makes", model.dim);
            return Err(catalog.corrupt(expected, catalog.model.dim.to_string()));
        }
        Ok(catalog)
    }

    /// Opens a catalogue to fill it anew by `model`: everything that another model made is removed. A damaged one is put
    /// aside under a name that ends in `.damaged`.
    ///
    /// # Errors
    /// As for [`open_or_create`](Self::open_or_create), without [`Error::OtherModel`].
    pub fn rebuild(path: &Path, model: &ModelIdentity) -> Result<Self> {
        match Self::emptied(path, model) {
            Err(Error::Corrupt { found, .. }) if found != FOREIGN => {
                put_aside(path)?;
                Self::emptied(path, model)
            }
            emptied => emptied,
        }
    }

    fn emptied(path: &Path, model: &ModelIdentity) -> Result<Self> {
        ensure_database(path)?;
        let failed = |error| catalog_error(path, error);
        private_file::create(path);
        let mut connection = Connection::open(path).map_err(failed)?;
        prepare_for_writing(path, &mut connection, model)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        transaction
            // In the file itself and not by a new one: readers that have it open see the old content until the
            // commit.
            .execute_batch("DELETE FROM images; DELETE FROM skipped; DELETE FROM folders; DELETE FROM meta;")
            .and_then(|()| write_model(&transaction, model))
            .and_then(|()| transaction.execute_batch(GENERATION))
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection, model: model.clone() })
    }
}

/// Refuses a file that is neither empty nor a database: SQLite takes a few stray bytes for an empty one.
fn ensure_database(path: &Path) -> Result<()> {
    const SIGNATURE: &[u8] = b"SQLite format 3\0";
    let mut beginning = Vec::with_capacity(SIGNATURE.len());
    if path.exists() {
        // SQLite would wait for a pipe.
        drop(regular_file::open(path)?);
    }
    match std::fs::File::open(path) {
        Ok(file) => file.take(SIGNATURE.len() as u64).read_to_end(&mut beginning)?,
        // A file that is yet to be made, or that SQLite will refuse with its own words.
        Err(_) => return Ok(()),
    };
    if beginning.is_empty() || beginning == SIGNATURE {
        return Ok(());
    }
    Err(Error::Corrupt {
        path: path.to_owned(),
        expected: "a relens library".to_owned(),
        found: "a file of another kind".to_owned(),
    })
}

fn prepare_for_writing(path: &Path, connection: &mut Connection, model: &ModelIdentity) -> Result<()> {
    let failed = |error| catalog_error(path, error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    let identity = application_and_version(connection).map_err(failed)?;
    if identity != (0, 0) {
        check_identity(path, identity)?;
        // Before anything is written: a damaged file must not be made worse.
        let result: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if result != "ok" {
            let expected = "a library whose pages fit together".to_owned();
            return Err(Error::Corrupt { path: path.to_owned(), expected, found: result });
        }
    }
    let settings =
        format!("PRAGMA page_size = {PAGE_SIZE}; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;");
    connection.execute_batch(&settings).map_err(failed)?;
    // Searches go on while an index is written.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(failed)?;
    // Two processes may create at once: the second finds the version set when it gets the lock.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let identity = application_and_version(&transaction).map_err(failed)?;
    if identity == (0, 0) {
        let tables: i64 = transaction
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        if tables > 0 {
            return Err(foreign(path));
        }
        transaction
            .execute_batch(SCHEMA)
            .and_then(|()| transaction.execute_batch(VERSION_2))
            .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
            .and_then(|()| transaction.pragma_update(None, "user_version", FORMAT_VERSION))
            .and_then(|()| write_model(&transaction, model))
            .map_err(failed)?;
    } else if identity.1 == 1 {
        transaction
            .execute_batch(VERSION_2)
            .and_then(|()| transaction.pragma_update(None, "user_version", FORMAT_VERSION))
            .map_err(failed)?;
    }
    transaction.execute_batch(GENERATION).map_err(failed)?;
    transaction.commit().map_err(failed)
}

fn application_and_version(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get(0));
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?))
}

fn check_identity(path: &Path, (application, version): (i64, i64)) -> Result<()> {
    if application != APPLICATION_ID {
        return Err(foreign(path));
    }
    if version > i64::from(FORMAT_VERSION) {
        let found = u32::try_from(version).unwrap_or(u32::MAX);
        return Err(Error::NewerFormat { path: path.to_owned(), found, supported: FORMAT_VERSION });
    }
    Ok(())
}

fn write_model(connection: &Connection, model: &ModelIdentity) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT INTO meta (key, value) VALUES (?1, ?2)")?;
    insert.execute(("model_name", &model.name))?;
    insert.execute(("model_fingerprint", &model.fingerprint))?;
    insert.execute(("dim", model.dim.to_string()))?;
    Ok(())
}

pub(super) fn read_model(path: &Path, connection: &Connection) -> Result<ModelIdentity> {
    let value = |key: &str| -> Result<String> {
        connection
            .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|error| catalog_error(path, error))?
            .ok_or_else(|| Error::Corrupt {
                path: path.to_owned(),
                expected: format!("`{key}` in the table meta"),
                found: "none".to_owned(),
            })
    };
    let dim = value("dim")?;
    Ok(ModelIdentity {
        name: value("model_name")?,
        fingerprint: value("model_fingerprint")?,
        dim: dim.parse().ok().filter(|dim| (1..=LARGEST_DIM).contains(dim)).ok_or_else(|| {
            Error::Corrupt {
                path: path.to_owned(),
                expected: format!("a number of components of 1 to {LARGEST_DIM} in `dim` of the table meta"),
                found: dim,
            }
        })?,
    })
}

pub(super) fn open_immutable(path: &Path) -> rusqlite::Result<(Connection, (i64, i64))> {
    // Of the characters that a URI reserves, these can stand in a path.
    let mut uri = String::from("file:");
    for character in path.to_string_lossy().chars() {
        match character {
            '%' => uri.push_str("%25"),
            '?' => uri.push_str("%3f"),
            '#' => uri.push_str("%23"),
            other => uri.push(other),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    let identity = application_and_version(&connection)?;
    Ok((connection, identity))
}

fn is_read_only_place(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// Whether a log beside the database holds transactions that are not in it yet.
fn has_pending_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    PathBuf::from(log).metadata().is_ok_and(|metadata| metadata.len() > 0)
}

/// Gives a damaged catalogue, and the files that SQLite keeps beside it, another name.
pub(super) fn put_aside(path: &Path) -> Result<()> {
    for ending in ["", "-wal", "-shm"] {
        let named = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let file = named(ending);
        if file.exists() {
            fs_err::rename(&file, named(&format!(".damaged{ending}")))?;
        }
    }
    Ok(())
}

fn foreign(path: &Path) -> Error {
    Error::Corrupt {
        path: path.to_owned(),
        expected: "a relens library".to_owned(),
        found: FOREIGN.to_owned(),
    }
}

fn no_library(path: &Path) -> Error {
    let directory = path.parent().unwrap_or(path).to_owned();
    let expected = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Error::NoLibrary { path: directory, expected }
}
