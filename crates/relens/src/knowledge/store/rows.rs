//! Entities to rows and back.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::knowledge::{Description, Entity, Sense, Source};

/// All entities, sorted by name.
pub(super) fn read_all(connection: &Connection) -> rusqlite::Result<Vec<Entity>> {
    let mut ids = Vec::new();
    let mut entities = Vec::new();
    let mut statement = connection.prepare("SELECT id, name, visual, frequency FROM entities ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        ids.push(row.get::<_, i64>(0)?);
        entities.push(bare_entity(row)?);
    }
    let mut fill = |sql: &str, add: &dyn Fn(&mut Entity, &Row<'_>) -> rusqlite::Result<()>| {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // One statement for each table, not for each entity: a knowledge base has tens of thousands of them.
            let position = ids.binary_search(&row.get(0)?);
            if let Some(entity) = position.ok().and_then(|position| entities.get_mut(position)) {
                add(entity, row)?;
            }
        }
        Ok::<_, rusqlite::Error>(())
    };
    fill("SELECT entity, alias FROM aliases ORDER BY alias", &add_alias)?;
    fill("SELECT entity, label FROM senses ORDER BY entity, position", &add_sense)?;
    fill(
        "SELECT entity, sense, text, source FROM descriptions ORDER BY entity, sense, position",
        &add_description,
    )?;
    entities.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entities)
}

/// One entity by its name.
pub(super) fn read(connection: &Connection, name: &str) -> rusqlite::Result<Option<Entity>> {
    let sql = "SELECT id, name, visual, frequency FROM entities WHERE name = ?1";
    let found =
        connection.query_row(sql, [name], |row| Ok((row.get::<_, i64>(0)?, bare_entity(row)?))).optional()?;
    let Some((id, mut entity)) = found else { return Ok(None) };
    let mut fill = |sql: &str, add: &dyn Fn(&mut Entity, &Row<'_>) -> rusqlite::Result<()>| {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            add(&mut entity, row)?;
        }
        Ok::<_, rusqlite::Error>(())
    };
    fill("SELECT entity, alias FROM aliases WHERE entity = ?1 ORDER BY alias", &add_alias)?;
    fill("SELECT entity, label FROM senses WHERE entity = ?1 ORDER BY position", &add_sense)?;
    fill(
        "SELECT entity, sense, text, source FROM descriptions WHERE entity = ?1 ORDER BY sense, position",
        &add_description,
    )?;
    Ok(Some(entity))
}

/// The entity that has this name or alias.
pub(super) fn name_of_alias(connection: &Connection, alias: &str) -> rusqlite::Result<Option<String>> {
    let sql =
        "SELECT entities.name FROM aliases JOIN entities ON entities.id = aliases.entity WHERE alias = ?1";
    connection.query_row(sql, [alias], |row| row.get(0)).optional()
}

/// Replaces whatever is stored under `name`; `None` removes it.
pub(super) fn replace(connection: &Connection, name: &str, entity: Option<&Entity>) -> rusqlite::Result<()> {
    // Aliases, senses and descriptions go with it, by the tables' own rule.
    connection.prepare_cached("DELETE FROM entities WHERE name = ?1")?.execute([name])?;
    let Some(entity) = entity else { return Ok(()) };
    connection
        .prepare_cached("INSERT INTO entities (name, visual, frequency) VALUES (?1, ?2, ?3)")?
        .execute(params![entity.name, entity.visual, entity.frequency.cast_signed()])?;
    let id = connection.last_insert_rowid();
    for alias in &entity.aliases {
        connection
            .prepare_cached("INSERT INTO aliases (alias, entity) VALUES (?1, ?2)")?
            .execute(params![alias, id])?;
    }
    for (position, sense) in (0_i64..).zip(&entity.senses) {
        connection
            .prepare_cached("INSERT INTO senses (entity, position, label) VALUES (?1, ?2, ?3)")?
            .execute(params![id, position, sense.label])?;
        for (order, Description { text, source }) in (0_i64..).zip(&sense.descriptions) {
            connection
                .prepare_cached(
                    "INSERT INTO descriptions (entity, sense, position, text, source) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![id, position, order, text, source.as_str()])?;
        }
    }
    Ok(())
}

fn bare_entity(row: &Row<'_>) -> rusqlite::Result<Entity> {
    Ok(Entity {
        visual: row.get(2)?,
        frequency: row.get::<_, i64>(3)?.cast_unsigned(),
        ..Entity::not_visual(&row.get::<_, String>(1)?)
    })
}

fn add_alias(entity: &mut Entity, row: &Row<'_>) -> rusqlite::Result<()> {
    entity.aliases.push(row.get(1)?);
    Ok(())
}

fn add_sense(entity: &mut Entity, row: &Row<'_>) -> rusqlite::Result<()> {
    entity.senses.push(Sense { label: row.get(1)?, descriptions: Vec::new() });
    Ok(())
}

fn add_description(entity: &mut Entity, row: &Row<'_>) -> rusqlite::Result<()> {
    let source: String = row.get(3)?;
    let source = Source::from_word(&source).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(3, Type::Text, format!("unknown source `{source}`").into())
    })?;
    let position = usize::try_from(row.get::<_, i64>(1)?).ok();
    let sense = position.and_then(|position| entity.senses.get_mut(position));
    let sense = sense
        .ok_or_else(|| rusqlite::Error::FromSqlConversionFailure(1, Type::Integer, "no such sense".into()))?;
    sense.descriptions.push(Description { text: row.get(2)?, source });
    Ok(())
}
