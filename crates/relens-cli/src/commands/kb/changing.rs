//! `relens kb add`, `edit` and `remove`.

use anyhow::Result;
use clap::Args;
use relens::knowledge::store::Revision;
use relens::knowledge::{EntityDetails, EntityEdit};

use super::opening::store;
use crate::progress;
use crate::usage::usage_error;

/// The descriptions and aliases of an entity.
#[derive(Debug, Args)]
struct DescriptionArguments {
    /// What it is: another entity ("aircraft carrier"), whose descriptions it shares, or a phrase; may be repeated.
    #[arg(long = "is", value_name = "TEXT")]
    is: Vec<String>,

    /// A description that reads naturally after "which has": "two red sails"; may be repeated.
    #[arg(long, value_name = "TEXT")]
    has: Vec<String>,

    /// The sense that the descriptions belong to, such as "animal" for a bat. Default: the first.
    #[arg(long, value_name = "LABEL")]
    sense: Option<String>,

    /// Another name for it; may be repeated.
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
}

/// Add an entity, or descriptions and aliases to one that is there; or say what a word means.
///
/// Example: relens kb add pooch --means dog
/// Example: relens kb add "shandong ship" --is "aircraft carrier" --has "ski-jump bow" --alias 山东舰
#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// Its name.
    #[arg(value_name = "ENTITY")]
    name: String,

    #[command(flatten)]
    options: DescriptionArguments,

    /// What a word means, in common words that fit in its place; may be repeated. It goes before what was known.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["is", "has", "sense", "alias"])]
    means: Vec<String>,

    /// The language of a word that is given --means.
    // What conflicts with `means` lifts the requirement, so that it has to be named again.
    #[arg(
        long,
        value_name = "CODE",
        requires = "means",
        conflicts_with_all = ["is", "has", "sense", "alias"],
        default_value = "en"
    )]
    language: String,
}

/// Change an entity: descriptions that are given replace those of the sense.
///
/// Example: relens kb edit wedding --has "bride in red silk robe" --has "gold phoenix crown"
#[derive(Debug, Args)]
pub(crate) struct EditArguments {
    /// Its name or an alias.
    #[arg(value_name = "ENTITY")]
    name: String,

    #[command(flatten)]
    options: DescriptionArguments,

    /// A description to take away; may be repeated.
    #[arg(long, value_name = "TEXT")]
    drop: Vec<String>,

    /// An alias to take away; may be repeated.
    #[arg(long, value_name = "NAME")]
    drop_alias: Vec<String>,

    /// A new name.
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
}

/// Remove an entity.
#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// Its name.
    #[arg(value_name = "ENTITY")]
    name: String,
}

impl DescriptionArguments {
    fn details(self) -> EntityDetails {
        EntityDetails { is: self.is, has: self.has, sense: self.sense, aliases: self.alias }
    }
}

impl AddArguments {
    pub(crate) fn run(self) -> Result<()> {
        if !self.means.is_empty() {
            return super::words::teach(&self.name, &self.language, self.means);
        }
        let details = self.options.details();
        if details.is.is_empty() && details.has.is_empty() && details.aliases.is_empty() {
            return Err(usage_error("expected --has or --is: what does it look like, or what is it?"));
        }
        tell(store()?.add_details(&self.name, details)?.as_ref());
        Ok(())
    }
}

impl EditArguments {
    pub(crate) fn run(self) -> Result<()> {
        let edit = EntityEdit {
            details: self.options.details(),
            drop: self.drop,
            drop_aliases: self.drop_alias,
            rename: self.rename,
        };
        tell(store()?.change_details(&self.name, edit)?.as_ref());
        Ok(())
    }
}

impl RemoveArguments {
    pub(crate) fn run(self) -> Result<()> {
        tell(store()?.remove_entity(&self.name)?.as_ref());
        Ok(())
    }
}

/// Notes on standard error the revision that was made and how to undo it.
fn tell(revision: Option<&Revision>) {
    match revision {
        Some(revision) => {
            let Revision { id, action, entity, .. } = revision;
            progress::note(&format!("revision {id}: {action} `{entity}` (relens kb undo takes it back)"));
        }
        None => progress::note("nothing changed"),
    }
}
