//! `relens kb`: what things look like, and how people change it.

mod building;
mod changing;
mod opening;
mod reading;
mod revisions;
mod words;

use anyhow::Result;
use clap::Subcommand;

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
    List(reading::KnowledgeListArguments),
    Show(reading::ShowArguments),
    Add(changing::AddArguments),
    Edit(changing::EditArguments),
    Remove(changing::RemoveArguments),
    History(revisions::HistoryArguments),
    Undo(revisions::UndoArguments),
    Import(revisions::KnowledgeImportArguments),
    Export(revisions::ExportArguments),
    Lint(reading::LintArguments),
    Build(building::BuildArguments),
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
