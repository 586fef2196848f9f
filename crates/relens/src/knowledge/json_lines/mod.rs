//! The knowledge base as a file: JSON Lines, a header and then one entity a line, sorted by name.
//!
//! ```text
//! {"format":"relens-evd","version":1}
//! {"entity":"bat","visual":true,"frequency":3,"senses":[{"sense":"animal","descriptions":[{"text":"leathery wings","source":"llm"}]}, …]}
//! {"entity":"bicycle","visual":true,"frequency":120,"aliases":["bike"],"senses":[{"descriptions":[…]}]}
//! ```
//!
//! What [`write()`] has written, [`read`] reads, and writing that again gives the same bytes.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::entity::{Entity, Invalid};
use crate::dataset::text_lines::{broken_line, excerpt, for_each_line};
use crate::error::{Error, Result};

/// What the header calls the format.
pub const FORMAT: &str = "relens-evd";
/// The version that is written, and the newest that is read.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
}

/// Reads all entities of a file.
///
/// # Errors
/// [`Error::Dataset`] naming line and field: a header of another format, malformed JSON, unknown fields, an entity that
/// cannot be taken (no descriptions, texts that are too long), names that are there twice, aliases that go in a circle.
/// [`Error::NewerFormat`]; [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<Entity>> {
    let mut header = None;
    let mut entities = Vec::new();
    let mut lines = Vec::new();
    for_each_line(path, |number, line| {
        if header.is_none() {
            header = Some(read_header(path, number, line)?);
            return Ok(());
        }
        let entity: Entity = parse_line(path, number, line)?;
        entity.validate().map_err(|invalid| invalid_line(path, number, &entity.name, &invalid))?;
        entities.push(entity);
        lines.push(number);
        Ok(())
    })?;
    if header.is_none() {
        return Err(broken_line(path, 1, &header_line(), "an empty file"));
    }
    NameCheck::default().all(&entities).map_err(|(position, invalid)| {
        let number = lines.get(position).copied().unwrap_or(0);
        invalid_line(path, number, &entities[position].name, &invalid)
    })?;
    Ok(entities)
}

/// Writes the header and the entities, sorted by name.
///
/// # Errors
/// [`Error::Io`] when `writer` fails.
pub fn write(entities: &[Entity], writer: &mut impl Write) -> Result<()> {
    let mut sorted: Vec<&Entity> = entities.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    writeln!(writer, "{}", header_line())?;
    for entity in sorted {
        serde_json::to_writer(&mut *writer, entity).map_err(std::io::Error::from)?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}

/// Parses one JSON line; an error names the line and the field.
pub(crate) fn parse_line<'de, T: Deserialize<'de>>(path: &Path, number: usize, line: &'de str) -> Result<T> {
    // To keep track of the field costs as much as to parse, so that it is done for lines with an error only.
    if let Ok(value) = serde_json::from_str(line) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let field = if field == "." || field == "?" { String::new() } else { format!(", field `{field}`") };
        Error::Dataset {
            path: path.to_owned(),
            location: format!("line {number}{field}"),
            expected: "a JSON object of the format".to_owned(),
            found: error.inner().to_string(),
        }
    })?;
    deserializer.end().map_err(|_| broken_line(path, number, "one JSON object", "more text after it"))?;
    Ok(value)
}

/// The error of an entity that was parsed but cannot be taken.
pub(super) fn invalid_line(path: &Path, number: usize, entity: &str, invalid: &Invalid) -> Error {
    let Invalid { field, expected, found } = invalid;
    Error::Dataset {
        path: path.to_owned(),
        location: format!("line {number}, entity {}, field `{field}`", excerpt(entity)),
        expected: expected.clone(),
        found: found.clone(),
    }
}

fn read_header(path: &Path, number: usize, line: &str) -> Result<Header> {
    let header: Header = serde_json::from_str(line)
        .map_err(|_| broken_line(path, number, &format!("the header {}", header_line()), &excerpt(line)))?;
    if header.format != FORMAT {
        return Err(broken_line(path, number, &format!("format `{FORMAT}`"), &excerpt(&header.format)));
    }
    if header.version == 0 || header.version > VERSION {
        return Err(Error::NewerFormat { path: path.to_owned(), found: header.version, supported: VERSION });
    }
    Ok(header)
}

fn header_line() -> String {
    format!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION}}}")
}

/// Whether the names and aliases of many entities fit together: each name leads to one entity.
#[derive(Debug, Default)]
pub struct NameCheck<'a> {
    entities: HashMap<&'a str, usize>,
    aliases: HashMap<&'a str, usize>,
}

impl<'a> NameCheck<'a> {
    /// Checks all entities together.
    ///
    /// # Errors
    /// The position of the first entity that does not fit, and why.
    pub fn all(mut self, entities: &'a [Entity]) -> Result<(), (usize, Invalid)> {
        for (position, entity) in entities.iter().enumerate() {
            if self.entities.insert(&entity.name, position).is_some() {
                return Err((position, invalid("entity", "a name that is there once", &entity.name)));
            }
        }
        for (position, entity) in entities.iter().enumerate() {
            for (which, alias) in entity.aliases.iter().enumerate() {
                let field = format!("aliases[{which}]");
                if let Some(&other) = self.entities.get(alias.as_str()) {
                    let back = entities.get(other).is_some_and(|other| other.aliases.contains(&entity.name));
                    let (name, expected) = (&entity.name, "a name that is no entity itself");
                    let found = if back {
                        format!("cyclic aliases: {name} → {alias} → {name}")
                    } else {
                        format!("the entity `{alias}`")
                    };
                    return Err((position, Invalid { field, expected: expected.into(), found }));
                }
                if let Some(other) = self.aliases.insert(alias, position) {
                    let owner = entities.get(other).map_or("another entity", |owner| owner.name.as_str());
                    let found = format!("`{alias}`, also an alias of `{owner}`");
                    return Err((
                        position,
                        Invalid { field, expected: "an alias of one entity".into(), found },
                    ));
                }
            }
        }
        Ok(())
    }
}

fn invalid(field: &str, expected: &str, found: &str) -> Invalid {
    Invalid { field: field.to_owned(), expected: expected.to_owned(), found: format!("`{found}` again") }
}

#[cfg(test)]
pub(crate) mod tests;
