//! A stage's TOML file. Several structures may share out its fields among them.
//!
//! serde's `flatten` would do that, too, but it forgets where a value stood and lets unknown fields pass. Here every
//! error names its line.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::DeTable;

use crate::{Result, TrainingError};

/// Reads a file whose fields are those of one structure. Relative paths in it are taken from the working directory.
///
/// # Errors
/// The file cannot be read, is not TOML, or is not what the structure expects, with the line.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&fs_err::read_to_string(path)?).map_err(|error| malformed(path, error.to_string()))
}

/// The fields of a file that no structure has taken yet.
pub struct ConfigTable<'a> {
    path: &'a Path,
    text: &'a str,
    fields: DeTable<'a>,
    /// All fields that anybody has asked for.
    known: BTreeSet<&'static str>,
}

impl<'a> ConfigTable<'a> {
    /// The fields of `text`, which was read from `path`.
    pub(crate) fn parse(path: &'a Path, text: &'a str) -> Result<Self> {
        let fields = DeTable::parse(text).map_err(|error| malformed(path, error.to_string()))?.into_inner();
        Ok(Self { path, text, fields, known: BTreeSet::new() })
    }

    /// Puts the fields of `defaults`, a TOML text, where the file has none of these names.
    pub(crate) fn fill_in(&mut self, defaults: &'a str) -> Result<()> {
        let defaults = DeTable::parse(defaults).map_err(|error| malformed(self.path, error.to_string()))?;
        for (name, value) in defaults.into_inner() {
            if !self.fields.contains_key(&name) {
                self.fields.insert(name, value);
            }
        }
        Ok(())
    }

    /// Takes the fields of a structure.
    ///
    /// # Errors
    /// [`TrainingError::ConfigFile`] for a field that is missing or not what the structure expects, with its line.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<T> {
        let names = field_names::<T>();
        self.known.extend(names);
        let (mut own, mut rest) = (DeTable::new(), DeTable::new());
        for (name, value) in std::mem::take(&mut self.fields) {
            let part = if names.contains(&name.get_ref().as_ref()) { &mut own } else { &mut rest };
            part.insert(name, value);
        }
        self.fields = rest;
        let own = Spanned::new(0..self.text.len(), own);
        T::deserialize(toml::de::Deserializer::from(own)).map_err(|mut error| {
            error.set_input(Some(self.text));
            malformed(self.path, error.to_string())
        })
    }

    /// Refuses what is left: no structure has such a field.
    pub(crate) fn finish(self) -> Result<()> {
        let Some(unknown) = self.fields.keys().min_by_key(|name| name.span().start) else { return Ok(()) };
        let line = self.text.get(..unknown.span().start).unwrap_or_default().matches('\n').count() + 1;
        let known: Vec<&str> = self.known.into_iter().collect();
        let name = unknown.get_ref();
        let expected = known.join(", ");
        Err(malformed(self.path, format!("line {line}: unknown field `{name}`, expected one of: {expected}")))
    }
}

fn malformed(path: &Path, reason: String) -> TrainingError {
    TrainingError::ConfigFile { path: path.to_owned(), reason }
}

/// The names of a structure's fields, which serde tells whoever is asked to read one.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It reads nothing, so it always fails; the names are there by then.
    drop(T::deserialize(FieldNames(&mut names)));
    names
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Self::Error> {
        Err(Self::Error::custom("no structure"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> std::result::Result<V::Value, Self::Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct First {
        width: usize,
        rate: f64,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Second {
        part: Inner,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        depth: usize,
    }

    impl Default for Second {
        fn default() -> Self {
            Self { part: Inner { depth: 7 } }
        }
    }

    fn read(text: &str) -> Result<(First, Second)> {
        let mut table = ConfigTable::parse("stage.toml".as_ref(), text)?;
        table.fill_in("width = 1\nrate = 0.5\n")?;
        let both = (table.take()?, table.take()?);
        table.finish().map(|()| both)
    }

    #[test]
    fn two_structures_share_out_a_table() {
        let found = read("rate = 2.0\n[part]\ndepth = 3\n").unwrap();
        assert_eq!(found, (First { width: 1, rate: 2.0 }, Second { part: Inner { depth: 3 } }));
        assert_eq!(read("").unwrap().1.part.depth, 7);
    }

    #[test]
    fn every_error_names_file_and_line() {
        for (text, expected) in [
            (
                "rate = 2.0\n\nmagic = 1\n",
                "line 3: unknown field `magic`, expected one of: part, rate, width",
            ),
            ("width = 1\nrate = \"fast\"\n", "line 2, column 8"),
            ("[part]\ndeep = 3\n", "line 2, column 1"),
            ("width = \n", "line 1"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("stage.toml"), "{text:?}: {message}");
        }
    }
}
