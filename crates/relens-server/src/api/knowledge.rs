//! What entities look like: read, changed, with its history and undo.

use axum::extract::State;
use axum::http::StatusCode;
use relens::knowledge::entity::normalise_name;
use relens::knowledge::store::{EntityChange, Revision, WordChange};
use relens::knowledge::{Description, Entity, KnowledgeStore, Sense, Source};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extract::{JsonAnswer, JsonBody, PathPart, QueryPart};
use super::{Shared, ensure_writable};
use crate::engine::Services;
use crate::problem::HttpProblem;

/// Entries of a list if no number is said.
const LISTED: usize = 50;
/// Entries of a list, at most.
const MOST_LISTED: usize = 1000;
/// Revisions of more changes, such as imports, are told by their number only.
const CHANGES_SHOWN: usize = 20;

/// Which entries, and how many.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// What the name has in it; all if nothing is said.
    search: Option<String>,
    /// How many; 50 if nothing is said, 1,000 at most.
    limit: Option<usize>,
    /// How many to leave out.
    #[serde(default)]
    offset: usize,
}

impl ListQuery {
    /// The entries of the page, and how many there are in all.
    pub(super) fn page<T>(&self, entries: Vec<T>) -> (Vec<T>, usize) {
        let (total, limit) = (entries.len(), self.limit.unwrap_or(LISTED).min(MOST_LISTED));
        (entries.into_iter().skip(self.offset).take(limit).collect(), total)
    }

    pub(super) fn needle(&self) -> String {
        normalise_name(self.search.as_deref().unwrap_or_default())
    }
}

/// One meaning of an entity's name.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntitySense {
    /// What tells it from the others, such as "animal"; the only one needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sense: Option<String>,
    /// What it looks like, each fit to stand after "which has".
    descriptions: Vec<String>,
}

/// Something that can be seen, and what it looks like.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityBody {
    /// Its name; in a request that of the address, if it is left out. Another one renames the entity.
    #[serde(default)]
    entity: Option<String>,
    /// Whether a picture can show it.
    #[serde(default = "yes")]
    visual: bool,
    /// How often captions name it.
    #[serde(default)]
    frequency: u64,
    /// Other names.
    #[serde(default)]
    aliases: Vec<String>,
    /// Its meanings, the most likely first.
    #[serde(default)]
    senses: Vec<EntitySense>,
}

fn yes() -> bool {
    true
}

impl From<&Entity> for EntityBody {
    fn from(entity: &Entity) -> Self {
        let senses = entity.senses.iter().map(|sense| EntitySense {
            sense: sense.label.clone(),
            descriptions: sense.descriptions.iter().map(|description| description.text.clone()).collect(),
        });
        Self {
            entity: Some(entity.name.clone()),
            visual: entity.visual,
            frequency: entity.frequency,
            aliases: entity.aliases.clone(),
            senses: senses.collect(),
        }
    }
}

impl EntityBody {
    /// The entity as a person describes it, under this name if the body has none.
    fn described(self, name: String) -> Entity {
        let by_person = |text| Description { text, source: Source::Person };
        let senses = self.senses.into_iter().map(|sense| Sense {
            label: sense.sense,
            descriptions: sense.descriptions.into_iter().map(by_person).collect(),
        });
        Entity {
            name: self.entity.unwrap_or(name),
            visual: self.visual,
            frequency: self.frequency,
            aliases: self.aliases,
            senses: senses.collect(),
        }
    }
}

/// Some of the entities.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EntitiesAnswer {
    /// The entities, by name.
    entities: Vec<EntityBody>,
    /// How many there are in all.
    total: usize,
}

/// The entities whose names have a text in them.
pub(super) async fn list_entities(
    State(engine): Shared,
    QueryPart(query): QueryPart<ListQuery>,
) -> Result<JsonAnswer<EntitiesAnswer>, HttpProblem> {
    let work = move |engine: &Services| {
        let knowledge = engine.knowledge.current()?;
        let needle = query.needle();
        let holds = |entity: &&Entity| {
            entity.name.contains(&needle) || entity.aliases.iter().any(|alias| alias.contains(&needle))
        };
        let mut found: Vec<&Entity> = knowledge.entities().iter().filter(holds).collect();
        // What begins with the text is what was meant.
        found.sort_by_key(|entity| (!entity.name.starts_with(&needle), entity.name.as_str()));
        let (page, total) = query.page(found);
        Ok(EntitiesAnswer { entities: page.into_iter().map(EntityBody::from).collect(), total })
    };
    engine.run(work).await.map(JsonAnswer)
}

/// What is known of an entity.
pub(super) async fn entity(
    State(engine): Shared,
    PathPart(name): PathPart<String>,
) -> Result<JsonAnswer<EntityBody>, HttpProblem> {
    let work = move |engine: &Services| {
        let knowledge = engine.knowledge.current()?;
        let unknown = || HttpProblem::not_found("the knowledge base has no entity of this name");
        knowledge.by_name(&name).map(EntityBody::from).ok_or_else(unknown)
    };
    engine.run(work).await.map(JsonAnswer)
}

/// A change of the knowledge base.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ChangeAnswer {
    /// The number by which it can be undone; none if nothing changed.
    revision: Option<i64>,
    /// What was changed.
    entity: Option<String>,
}

impl From<Option<Revision>> for ChangeAnswer {
    fn from(revision: Option<Revision>) -> Self {
        match revision {
            Some(revision) => Self { revision: Some(revision.id), entity: Some(revision.entity) },
            None => Self { revision: None, entity: None },
        }
    }
}

/// Changes the knowledge base on a thread of its own, where it may be changed.
pub(super) async fn change(
    engine: std::sync::Arc<Services>,
    edit: impl FnOnce(&Services, &mut KnowledgeStore) -> Result<Option<Revision>, HttpProblem> + Send + 'static,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    ensure_writable(&engine)?;
    let work = move |engine: &Services| {
        let mut store = engine.knowledge.store()?;
        Ok(ChangeAnswer::from(edit(engine, &mut store)?))
    };
    engine.run(work).await.map(JsonAnswer)
}

/// Stores an entity in place of what is there. Searches use it at once.
pub(super) async fn put_entity(
    State(engine): Shared,
    PathPart(name): PathPart<String>,
    JsonBody(body): JsonBody<EntityBody>,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    change(engine, move |_, store| {
        let known = store.known_name(&name)?;
        Ok(store.replace_entity(&name, body.described(known))?)
    })
    .await
}

/// Removes an entity.
pub(super) async fn delete_entity(
    State(engine): Shared,
    PathPart(name): PathPart<String>,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    change(engine, move |_, store| Ok(store.remove_entity(&name)?)).await
}

/// Which revisions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Only those of this entity or word.
    entity: Option<String>,
    /// How many; 50 if nothing is said.
    limit: Option<usize>,
}

/// A revision and what it changed.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RevisionAnswer {
    /// When, by what, and how much.
    #[serde(flatten)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    revision: Revision,
    /// Entities before and after; none for large revisions.
    #[schemars(with = "Vec<serde_json::Value>")]
    changes: Vec<EntityChange>,
    /// Words before and after; none for large revisions.
    #[schemars(with = "Vec<serde_json::Value>")]
    words: Vec<WordChange>,
}

/// What was changed, the latest first.
pub(super) async fn history(
    State(engine): Shared,
    QueryPart(query): QueryPart<HistoryQuery>,
) -> Result<JsonAnswer<Vec<RevisionAnswer>>, HttpProblem> {
    let work = move |engine: &Services| {
        let Some(store) = engine.knowledge.existing_store()? else { return Ok(Vec::new()) };
        let name = query.entity.as_deref().map(normalise_name);
        let limit = query.limit.unwrap_or(LISTED).min(MOST_LISTED);
        let revisions = store.history(name.as_deref(), limit)?.into_iter().map(|revision| {
            let few = revision.changed <= CHANGES_SHOWN;
            let changes = if few { store.changes(revision.id)? } else { Vec::new() };
            let words = if few { store.word_changes(revision.id)? } else { Vec::new() };
            Ok(RevisionAnswer { revision, changes, words })
        });
        Ok(revisions.collect::<relens::error::Result<Vec<_>>>()?)
    };
    engine.run(work).await.map(JsonAnswer)
}

/// What to undo.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UndoRequest {
    /// A revision's number; the latest if nothing is said.
    #[serde(default)]
    revision: Option<i64>,
}

/// Takes back a revision. This is a revision too, and can be taken back.
pub(super) async fn undo(
    State(engine): Shared,
    JsonBody(request): JsonBody<UndoRequest>,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    change(engine, move |_, store| {
        // A store that was made just now holds nothing but what came with relens.
        if store.history(None, 1)?.first().is_none_or(|latest| latest.action == "seed") {
            return Err(HttpProblem::new(StatusCode::CONFLICT, "cannot undo: nothing was changed yet"));
        }
        Ok(Some(store.undo(request.revision)?))
    })
    .await
}
