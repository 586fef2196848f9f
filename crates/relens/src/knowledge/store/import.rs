//! Many entities at once.

use std::collections::HashMap;

use serde::Serialize;

use super::history::{Edit, Revision};
use super::{database_error, rows};
use crate::error::Result;
use crate::knowledge::{Entity, records};

/// What happens to entities that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// They gain the new senses, descriptions and aliases; nothing is lost.
    Merge,
    /// What is imported becomes the whole knowledge base.
    Replace,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Entities that are new.
    pub added: usize,
    /// Entities that were there and are different now.
    pub changed: usize,
    /// Entities that are gone.
    pub removed: usize,
    /// Entities that were there just so.
    pub unchanged: usize,
    /// The revision, if anything changed.
    pub revision: Option<Revision>,
}

/// Takes in `entities` in one revision.
pub(super) fn import(
    edit: &Edit<'_>,
    action: &str,
    entities: &[Entity],
    mode: ImportMode,
) -> Result<ImportSummary> {
    let stored = rows::read_all(edit.transaction).map_err(|error| database_error(edit.path, error))?;
    let before: HashMap<String, Entity> =
        stored.into_iter().map(|entity| (entity.name.clone(), entity)).collect();
    let mut after: HashMap<String, Option<Entity>> = HashMap::new();
    if mode == ImportMode::Replace {
        after.extend(before.keys().map(|name| (name.clone(), None)));
    }
    for entity in entities {
        let entity = entity.clone().normalised();
        entity.ensure_valid()?;
        let name = entity.name.clone();
        // A file may name an entity twice: what it said earlier is merged, whichever mode it is.
        let known = match (after.remove(&name), mode) {
            (Some(Some(earlier)), _) => Some(earlier),
            (_, ImportMode::Merge) => before.get(&name).cloned(),
            (_, ImportMode::Replace) => None,
        };
        let merged = match known {
            Some(mut known) => {
                records::merge(&mut known, entity);
                known
            }
            None => entity,
        };
        after.insert(name, Some(merged));
    }
    let mut summary = ImportSummary { added: 0, changed: 0, removed: 0, unchanged: 0, revision: None };
    for (name, entity) in &after {
        match (before.get(name), entity) {
            (None, Some(_)) => summary.added += 1,
            (Some(_), None) => summary.removed += 1,
            (Some(old), Some(new)) if old != new => summary.changed += 1,
            _ => summary.unchanged += 1,
        }
    }
    let mut after: Vec<(String, Option<Entity>)> = after.into_iter().collect();
    // A hash map has no order, and the history should read the same for the same file.
    after.sort_by(|left, right| left.0.cmp(&right.0));
    summary.revision = edit.apply(action, None, after)?;
    Ok(summary)
}
