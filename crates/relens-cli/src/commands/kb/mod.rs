//! `relens kb`: what things look like, and how people change it.

mod asking;
mod build;
mod changing;
mod exchange;
mod history;
mod lint;
mod listing;
mod words;

use anyhow::{Context, Result};
use clap::Subcommand;
use relens::error::Error;
use relens::knowledge::knowledge_base::HOME_FILE;
use relens::knowledge::{Entity, Knowledge, KnowledgeStore};

use crate::library_location;

/// The knowledge base: what the things that queries name look like.
///
/// Enhancers such as `descriptions` and `composer` tell the retriever what the entities of a query look like. What they
/// say comes from here, and an edit counts from the next search on: nothing has to be indexed again.
///
/// It also knows what uncommon words mean ("pooch", "snarling"): `composer` replaces what the retriever has hardly seen.
///
/// relens comes with a knowledge base. The first edit copies it to `evd.db` in RELENS_HOME, where every edit is kept
/// with its history and can be undone.
#[derive(Debug, Subcommand)]
pub(crate) enum KbCommand {
    List(listing::ListArguments),
    Show(listing::ShowArguments),
    Add(changing::AddArguments),
    Edit(changing::EditArguments),
    Remove(changing::RemoveArguments),
    History(history::HistoryArguments),
    Undo(history::UndoArguments),
    Import(exchange::ImportArguments),
    Export(exchange::ExportArguments),
    Lint(lint::LintArguments),
    Build(build::BuildArguments),
}

impl KbCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::List(arguments) => arguments.run(),
            Self::Show(arguments) => arguments.run(),
            Self::Add(arguments) => arguments.run(),
            Self::Edit(arguments) => arguments.run(),
            Self::Remove(arguments) => arguments.run(),
            Self::History(arguments) => arguments.run(),
            Self::Undo(arguments) => arguments.run(),
            Self::Import(arguments) => arguments.run(),
            Self::Export(arguments) => arguments.run(),
            Self::Lint(arguments) => arguments.run(),
            Self::Build(arguments) => arguments.run(),
        }
    }
}

/// The knowledge base that searches use, for reading.
fn knowledge() -> Result<Knowledge> {
    Ok(Knowledge::of_home(&library_location::home()?)?)
}

/// The user's own knowledge base, for changing: a copy of the bundled one if there was none yet.
fn store() -> Result<KnowledgeStore> {
    let path = library_location::home()?.join(HOME_FILE);
    let bundled = || Ok(Knowledge::bundled()?.into_entities());
    KnowledgeStore::open_seeded(&path, bundled).with_context(|| format!("{} cannot be used", path.display()))
}

/// The user's own knowledge base if there is one.
fn existing_store() -> Result<Option<KnowledgeStore>> {
    let path = library_location::home()?.join(HOME_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Some(KnowledgeStore::open_read_only(&path)?))
}

/// How many names that look like the one asked for are offered.
const SIMILAR_NAMES: usize = 3;

/// The error for a name that is not there, with names like it.
fn unknown_entity(name: &str, entities: &[Entity]) -> Error {
    let wanted = name.to_lowercase();
    let shares_word =
        |entity: &&Entity| wanted.split(' ').any(|word| entity.name.split(' ').any(|other| other == word));
    let near = |entity: &&Entity| {
        entity.name.starts_with(&wanted)
            || wanted.starts_with(entity.name.as_str()) && entity.name.len() > 2
            || shares_word(entity)
    };
    let similar = entities.iter().filter(near).take(SIMILAR_NAMES).map(|entity| format!("`{}`", entity.name));
    Error::UnknownEntity { name: name.to_owned(), similar: similar.collect() }
}
