//! What can go wrong between a folder of pictures and a ranking.

use crate::counted::{by_number, counted};
use std::path::PathBuf;

use relens_models::error::ModelError;

/// The result of working with data, indexes, catalogues or queries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate. Every variant says where it happened, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be opened, read or written; the message of `fs-err` names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// A model could not be loaded or run.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// A model of the hub cannot be had.
    #[error("{model}: {reason}")]
    Hub {
        /// The model's name.
        model: String,
        /// What was expected and found, and where.
        reason: String,
    },

    /// A video cannot be read.
    #[error("{path}: {reason}")]
    Video {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and found.
        reason: String,
    },

    /// A function was called with arguments that do not fit each other.
    #[error("{operation}: expected {expected}, found {found}")]
    Argument {
        /// The function.
        operation: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },

    /// A vector holds NaN or an infinity, so that no ranking can be made from it.
    #[error("{what}: row {row} holds {found} at component {component}, expected finite numbers")]
    NonFinite {
        /// Which vectors.
        what: String,
        /// The row.
        row: usize,
        /// The component in that row.
        component: usize,
        /// The value found.
        found: f32,
    },

    /// A vector does not have length 1, so that a dot product is no cosine.
    #[error("{what}: row {row} has length {found}, expected 1 (L2-normalised)")]
    NotNormalised {
        /// Which vectors.
        what: String,
        /// The row.
        row: usize,
        /// Its length.
        found: f32,
    },

    /// A file of captions or entities is not what its format says.
    #[error("{path}: {location}: expected {expected}, found {found}")]
    Dataset {
        /// The annotations file.
        path: PathBuf,
        /// The line, or the field's path within the file.
        location: String,
        /// What the format asks for there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// A file is in none of the dataset formats that relens reads.
    #[error("{path}: expected {expected}, found {found}")]
    UnknownDatasetFormat {
        /// The annotations file.
        path: PathBuf,
        /// The formats that are read.
        expected: String,
        /// How the file begins.
        found: String,
    },

    /// The dataset has no such split.
    #[error("{dataset}: expected one of the splits {available}, found `{requested}`")]
    UnknownSplit {
        /// The dataset's name.
        dataset: String,
        /// The split asked for.
        requested: String,
        /// The splits that there are.
        available: String,
    },

    /// Pictures that the annotations name are not on disk.
    #[error(
        "{dataset}: {count} of {} {} missing under {directory} (first: {first})",
        counted(*total, "picture"),
        by_number(count, "is", "are")
    )]
    MissingImages {
        /// The dataset's name.
        dataset: String,
        /// Where the pictures were looked for.
        directory: PathBuf,
        /// How many are missing.
        count: usize,
        /// How many the annotations name.
        total: usize,
        /// The first missing names.
        first: String,
    },

    /// Vectors of one model were about to meet vectors of another.
    #[error("{what}: made by model {expected}, but the model in use is {found}; index again with that model")]
    OtherModel {
        /// The index or library.
        what: String,
        /// The fingerprint recorded in it.
        expected: String,
        /// The fingerprint of the model in use.
        found: String,
    },

    /// A file written by relens is damaged.
    #[error("{path}: damaged: expected {expected}, found {found}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },

    /// A file was written by a newer relens.
    #[error("{path}: written in format version {found}, this relens reads up to {supported}; update relens")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The newest version that this code reads.
        supported: u32,
    },

    /// A bundled file or directory is in none of the places where it could be.
    #[error("{what} is not among the files that come with relens; looked for {searched}")]
    NotBundled {
        /// What was asked for, relative to the data directory.
        what: String,
        /// The full paths that were tried.
        searched: String,
    },

    /// There is no library at this place.
    #[error("{path}: no library here (expected {expected}); index a directory of pictures first")]
    NoLibrary {
        /// The library's directory.
        path: PathBuf,
        /// The file that was looked for.
        expected: String,
    },

    /// The disk is full; what was committed before is still there.
    #[error("{path}: the disk is full; what was there before is kept, free some space and run again")]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },

    /// A file cannot be written: a missing permission, a read-only place, a quota.
    #[error("{path}: cannot be written: {reason}")]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },

    /// Another process is writing to the library.
    #[error("{path}: another process is writing to this library; wait until it has finished")]
    Busy {
        /// The file.
        path: PathBuf,
    },

    /// The database refused an operation for another reason.
    #[error("{path}: {source}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },

    /// A query has no text in it.
    #[error("the query is empty: expected at least one visible character")]
    EmptyQuery,

    /// A query is longer than anything a person would type.
    #[error("the query is too long: expected at most {limit} bytes, found {found}")]
    QueryTooLong {
        /// The limit.
        limit: usize,
        /// The query's length.
        found: usize,
    },

    /// There is no enhancer of this name.
    #[error("unknown enhancer `{name}`; available: {available}, or a file that ends in .toml")]
    UnknownEnhancer {
        /// The name asked for.
        name: String,
        /// The names that there are.
        available: String,
    },

    /// An enhancer failed.
    #[error("enhancer `{enhancer}`: {reason}")]
    Enhancer {
        /// The enhancer's name.
        enhancer: String,
        /// Why.
        reason: String,
    },

    /// An entity, or its names beside those of others, cannot be taken into a knowledge base.
    #[error("entity `{entity}`, field `{field}`: expected {expected}, found {found}")]
    InvalidEntity {
        /// The entity's name.
        entity: String,
        /// The field, as a path.
        field: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },

    /// The knowledge base has no such entity.
    #[error("the knowledge base has no entity `{name}`{}", similar_names(.similar))]
    UnknownEntity {
        /// The name asked for.
        name: String,
        /// Names that are there and look like it.
        similar: Vec<String>,
    },

    /// An edit of the knowledge base cannot be taken back.
    #[error("cannot undo: {reason}")]
    CannotUndo {
        /// Why.
        reason: String,
    },

    /// The user stopped the work; what was committed before is kept.
    #[error("stopped; what was finished before is kept")]
    Cancelled,
}

fn similar_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; did you mean {}?", names.join(", ")) }
}
