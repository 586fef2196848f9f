//! The JSON of classify-by-description tools: `{"class name": ["descriptor", …], …}` (Menon and Vondrick, 2022).

use std::collections::HashSet;
use std::path::Path;

use relens_models::regular_file::{self, FileKind};

use super::entity::{Entity, Invalid, Source};
use crate::dataset::text_lines::excerpt;
use crate::error::{Error, Result};

/// Reads a descriptor file. Every class becomes an entity of one sense; underscores in names become spaces.
///
/// # Errors
/// [`Error::Dataset`] naming the class and descriptor if the JSON is malformed, a class has no descriptors, or a
/// descriptor is empty or too long; [`Error::Io`].
pub fn read(path: &Path) -> Result<Vec<Entity>> {
    let text = regular_file::read_to_string(path, FileKind::Records)?;
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let classes: serde_json::Map<String, serde_json::Value> =
        serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            fault(
                path,
                "the file".to_owned(),
                "{\"class\": [\"descriptor\", …], …}",
                error.inner().to_string(),
            )
        })?;
    let mut entities: Vec<Entity> = Vec::with_capacity(classes.len());
    let mut names = HashSet::new();
    for (class, descriptors) in classes {
        let descriptors: Vec<String> = serde_path_to_error::deserialize(descriptors).map_err(|error| {
            let location = format!("class {}, descriptor {}", excerpt(&class), error.path());
            fault(path, location, "a list of texts", error.inner().to_string())
        })?;
        let entity = Entity::described(&class.replace('_', " "), descriptors, Source::Import).normalised();
        entity.validate().map_err(|Invalid { field, expected, found }| {
            fault(path, format!("class {}, field `{field}`", excerpt(&class)), &expected, found)
        })?;
        if !names.insert(entity.name.clone()) {
            let found = format!("`{}` again", entity.name);
            return Err(fault(path, format!("class {}", excerpt(&class)), "a class of its own", found));
        }
        entities.push(entity);
    }
    Ok(entities)
}

fn fault(path: &Path, location: String, expected: &str, found: String) -> Error {
    Error::Dataset { path: path.to_owned(), location, expected: expected.to_owned(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Entity>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn classes_become_entities() {
        let entities =
            read_text(r#"{"Great_Dane": ["very tall", "floppy ears."], "hen": ["red comb"]}"#).unwrap();
        assert_eq!(
            entities[0],
            Entity::described("great dane", ["very tall", "floppy ears"], Source::Import)
        );
        assert_eq!(entities[1].name, "hen");
    }

    #[test]
    fn faults_name_class_and_descriptor() {
        for (text, expected) in [
            ("[]", "the file: expected {\"class\": [\"descriptor\", …], …}"),
            (r#"{"hen": []}"#, "class `hen`, field `senses[0].descriptions`: expected 1 to 100"),
            (r#"{"hen": ["comb", 3]}"#, "class `hen`, descriptor [1]: expected a list of texts"),
            (r#"{"hen": [" "]}"#, "class `hen`, field `senses[0].descriptions[0].text`: expected a text"),
            (r#"{"hen": ["comb"], "Hen": ["comb"]}"#, "class `Hen`: expected a class of its own"),
        ] {
            let message = read_text(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
