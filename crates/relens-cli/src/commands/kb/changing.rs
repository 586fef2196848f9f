//! `relens kb add`, `edit` and `remove`.

use anyhow::Result;
use clap::Args;
use relens::error::Error;
use relens::knowledge::entity::normalise_name;
use relens::knowledge::store::Revision;
use relens::knowledge::{Description, Entity, KnowledgeStore, Sense, Source};

use super::opening::{store, unknown_entity};
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
    /// The descriptions in the order "is", "has"; those of an entity that it is follow its own.
    fn descriptions(&self, store: &KnowledgeStore) -> Result<Vec<Description>> {
        let by_person = |text: String| Description { text, source: Source::Person };
        let mut own: Vec<Description> = self.is.iter().map(|text| by_person(with_article(text))).collect();
        own.extend(self.has.iter().cloned().map(by_person));
        for kind in &self.is {
            let shared =
                store.entity(&normalise_name(kind))?.and_then(|entity| entity.senses.into_iter().next());
            own.extend(shared.map(|sense| sense.descriptions).unwrap_or_default());
        }
        Ok(own)
    }
}

/// "aircraft carrier" becomes "an aircraft carrier", so that it reads as what the entity is.
fn with_article(text: &str) -> String {
    let text = text.trim();
    let has_article = ["a ", "an ", "the "].iter().any(|article| text.to_lowercase().starts_with(article));
    match text.chars().next() {
        Some(_) if has_article => text.to_owned(),
        Some('a' | 'e' | 'i' | 'o' | 'u') => format!("an {text}"),
        Some(_) => format!("a {text}"),
        None => String::new(),
    }
}

/// The sense that an option names, made if it is new; the first without an option.
fn sense_of<'a>(entity: &'a mut Entity, label: Option<&str>) -> Option<&'a mut Sense> {
    let position = label.map_or(Some(0), |label| {
        entity.senses.iter().position(|sense| sense.label.as_deref() == Some(label))
    });
    let position = position.filter(|&position| position < entity.senses.len()).unwrap_or_else(|| {
        entity.senses.push(Sense { label: label.map(str::to_owned), descriptions: Vec::new() });
        entity.senses.len() - 1
    });
    entity.senses.get_mut(position)
}

impl AddArguments {
    pub(crate) fn run(self) -> Result<()> {
        if !self.means.is_empty() {
            return super::words::teach(&self.name, &self.language, self.means);
        }
        let mut store = store()?;
        let descriptions = self.options.descriptions(&store)?;
        let name = normalise_name(&self.name);
        let name = store.entity(&name)?.map_or(name, |entity| entity.name);
        if descriptions.is_empty() && (self.options.alias.is_empty() || store.entity(&name)?.is_none()) {
            return Err(usage_error("expected --has or --is: what does it look like, or what is it?"));
        }
        let options = self.options;
        let revision = store.edit("add", &name, |entity| {
            let mut entity = entity.unwrap_or_else(|| Entity::not_visual(&name));
            entity.visual = true;
            entity.aliases.extend(options.alias);
            if let Some(sense) = sense_of(&mut entity, options.sense.as_deref()) {
                sense.descriptions.extend(descriptions);
            }
            Ok(Some(entity))
        })?;
        tell(revision.as_ref());
        Ok(())
    }
}

impl EditArguments {
    pub(crate) fn run(self) -> Result<()> {
        let mut store = store()?;
        let descriptions = self.options.descriptions(&store)?;
        let known = store.entity(&normalise_name(&self.name))?;
        let name = match known {
            Some(entity) => entity.name,
            None => return Err(unknown_entity(&self.name, &store.entities()?).into()),
        };
        let revision = store.edit("edit", &name, |entity| {
            entity.map(|entity| self.changed(entity, descriptions)).transpose()
        })?;
        tell(revision.as_ref());
        Ok(())
    }

    fn changed(self, mut entity: Entity, descriptions: Vec<Description>) -> relens::error::Result<Entity> {
        let missing = |field: &str, found: &str| Error::InvalidEntity {
            entity: self.name.clone(),
            field: field.to_owned(),
            expected: "one that it has".to_owned(),
            found: format!("`{found}`"),
        };
        for alias in &self.drop_alias {
            let alias = normalise_name(alias);
            let position = entity.aliases.iter().position(|have| *have == alias);
            entity.aliases.remove(position.ok_or_else(|| missing("aliases", &alias))?);
        }
        for text in &self.drop {
            let holds = |sense: &&mut Sense| sense.descriptions.iter().any(|have| have.text == *text);
            let sense = entity.senses.iter_mut().find(holds).ok_or_else(|| missing("descriptions", text))?;
            sense.descriptions.retain(|have| have.text != *text);
        }
        entity.senses.retain(|sense| !sense.descriptions.is_empty());
        entity.aliases.extend(self.options.alias);
        if !descriptions.is_empty() {
            entity.visual = true;
            if let Some(sense) = sense_of(&mut entity, self.options.sense.as_deref()) {
                sense.descriptions = descriptions;
            }
        }
        if let Some(name) = &self.rename {
            entity.name = normalise_name(name);
        }
        Ok(entity)
    }
}

impl RemoveArguments {
    pub(crate) fn run(self) -> Result<()> {
        let mut store = store()?;
        let name = normalise_name(&self.name);
        if store.entity(&name)?.is_none_or(|entity| entity.name != name) {
            return Err(unknown_entity(&self.name, &store.entities()?).into());
        }
        tell(store.edit("remove", &name, |_| Ok(None))?.as_ref());
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
