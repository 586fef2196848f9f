//! `relens library`: what a library holds, and what becomes of it when folders move or disks fail.

mod checking;
mod listing;
mod moving;

use anyhow::Result;
use clap::Subcommand;

/// Look after a library: its folders, their moves, and its health.
#[derive(Debug, Subcommand)]
pub(crate) enum LibraryCommand {
    List(listing::ListArguments),
    Info(listing::InfoArguments),
    Forget(moving::ForgetArguments),
    Move(moving::MoveArguments),
    Check(checking::CheckArguments),
    Repair(checking::RepairArguments),
}

impl LibraryCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::List(arguments) => arguments.run(),
            Self::Info(arguments) => arguments.run(),
            Self::Forget(arguments) => arguments.run(),
            Self::Move(arguments) => arguments.run(),
            Self::Check(arguments) => arguments.run(),
            Self::Repair(arguments) => arguments.run(),
        }
    }
}
