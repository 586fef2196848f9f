//! Entities, their senses, and the descriptions of each sense.

use serde::{Deserialize, Serialize};

/// The longest name of an entity, an alias or a sense, in characters.
pub const MAX_NAME_CHARACTERS: usize = 100;
/// The longest description, in characters. A text tower sees some 70 tokens of a whole query.
pub const MAX_DESCRIPTION_CHARACTERS: usize = 300;
/// The most descriptions that one sense may have.
pub const MAX_DESCRIPTIONS: usize = 100;

/// Who wrote a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A large language model.
    Llm,
    /// A person, through `relens kb add` or `relens kb edit`.
    Person,
    /// A file in another program's format.
    Import,
}

impl Source {
    /// The word that files and the database use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Person => "person",
            Self::Import => "import",
        }
    }

    /// The source that this word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Llm, Self::Person, Self::Import].into_iter().find(|source| source.as_str() == word)
    }
}

/// A short phrase that tells an entity from similar ones by sight; it reads naturally after "which has" or "with".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// The phrase.
    pub text: String,
    /// Who wrote it.
    pub source: Source,
}

/// One meaning of an entity's name: "bat" is an animal and a piece of sports equipment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sense {
    /// What tells this sense from the others, such as "animal". The only sense of an entity needs none.
    #[serde(default, rename = "sense", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it looks like.
    pub descriptions: Vec<Description>,
}

/// Something that can be seen, under the name that people use for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// The name, in lower case and in the singular where it has one.
    #[serde(rename = "entity")]
    pub name: String,
    /// Whether a picture can show it. A word judged not visual is kept, so that it is not judged again.
    #[serde(default = "visual_by_default")]
    pub visual: bool,
    /// How often it was met in the captions that it was collected from; 0 where nobody counted.
    #[serde(default)]
    pub frequency: u64,
    /// Other names for the same thing, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Its meanings, the most likely first; none exactly if it is not visual.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub senses: Vec<Sense>,
}

fn visual_by_default() -> bool {
    true
}

/// Why an entity cannot be taken into a knowledge base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The field, as a path: `senses[0].descriptions[2].text`.
    pub field: String,
    /// What may stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl Invalid {
    pub(super) fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), expected: expected.into(), found: found.into() }
    }
}

impl Entity {
    /// A visual entity of one sense.
    pub fn described<I>(name: &str, descriptions: I, source: Source) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let descriptions =
            descriptions.into_iter().map(|text| Description { text: text.into(), source }).collect();
        Self {
            name: name.to_owned(),
            visual: true,
            frequency: 0,
            aliases: Vec::new(),
            senses: vec![Sense { label: None, descriptions }],
        }
    }

    /// A word judged not to be a visual entity.
    pub fn not_visual(name: &str) -> Self {
        Self { name: name.to_owned(), visual: false, frequency: 0, aliases: Vec::new(), senses: Vec::new() }
    }

    /// The texts of all descriptions, sense by sense.
    pub fn descriptions(&self) -> impl Iterator<Item = &Description> {
        self.senses.iter().flat_map(|sense| &sense.descriptions)
    }

    /// Brings names to lower case and single spaces, descriptions to single spaces without a full stop at the end,
    /// sorts the aliases, and drops what is there twice.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.name = normalise_name(&self.name);
        self.aliases = self.aliases.iter().map(|alias| normalise_name(alias)).collect();
        self.aliases.sort();
        self.aliases.dedup();
        for sense in &mut self.senses {
            sense.label = sense.label.as_deref().map(single_spaced);
            for description in &mut sense.descriptions {
                description.text = single_spaced(description.text.trim().trim_end_matches(['.', ';', ',']));
            }
            let mut seen = std::collections::HashSet::new();
            sense.descriptions.retain(|description| seen.insert(description.text.clone()));
        }
        self
    }

    /// Checks everything that can be said of one entity by itself.
    ///
    /// # Errors
    /// The first field that cannot be taken.
    pub fn validate(&self) -> Result<(), Invalid> {
        validate_name("entity", &self.name)?;
        for (position, alias) in self.aliases.iter().enumerate() {
            let field = format!("aliases[{position}]");
            validate_name(&field, alias)?;
            if *alias == self.name {
                return Err(Invalid::new(field, "a name other than the entity's own", format!("`{alias}`")));
            }
        }
        if !self.visual {
            let empty = self.senses.is_empty();
            let not_empty =
                || Invalid::new("senses", "none, as it is not visual", self.senses.len().to_string());
            return empty.then_some(()).ok_or_else(not_empty);
        }
        if self.senses.is_empty() {
            return Err(Invalid::new("senses", "at least one sense with descriptions", "none"));
        }
        let mut labels = std::collections::HashSet::new();
        for (position, sense) in self.senses.iter().enumerate() {
            sense.validate(&format!("senses[{position}]"), self.senses.len() > 1)?;
            if !labels.insert(sense.label.as_deref()) {
                let found = sense.label.as_deref().unwrap_or_default();
                return Err(Invalid::new(format!("senses[{position}].sense"), "a label of its own", found));
            }
        }
        Ok(())
    }
}

impl Sense {
    fn validate(&self, field: &str, needs_label: bool) -> Result<(), Invalid> {
        match &self.label {
            Some(label) => validate_text(&format!("{field}.sense"), label, MAX_NAME_CHARACTERS)?,
            None if needs_label => {
                return Err(Invalid::new(
                    format!("{field}.sense"),
                    "a label, as there are several senses",
                    "none",
                ));
            }
            None => {}
        }
        let count = self.descriptions.len();
        if count == 0 || count > MAX_DESCRIPTIONS {
            let expected = format!("1 to {MAX_DESCRIPTIONS} descriptions");
            let found = if count == 0 { "none".to_owned() } else { count.to_string() };
            return Err(Invalid::new(format!("{field}.descriptions"), expected, found));
        }
        for (position, description) in self.descriptions.iter().enumerate() {
            validate_text("", &description.text, MAX_DESCRIPTION_CHARACTERS).map_err(|invalid| Invalid {
                field: format!("{field}.descriptions[{position}].text"),
                ..invalid
            })?;
        }
        Ok(())
    }
}

/// Lower case, words parted by one space.
pub fn normalise_name(name: &str) -> String {
    single_spaced(&name.to_lowercase())
}

fn single_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn validate_name(field: &str, name: &str) -> Result<(), Invalid> {
    validate_text(field, name, MAX_NAME_CHARACTERS)?;
    if !name.chars().any(char::is_alphanumeric) {
        return Err(Invalid::new(field, "at least one letter or digit", format!("`{name}`")));
    }
    if normalise_name(name) != name {
        return Err(Invalid::new(
            field,
            format!("`{}` (lower case, single spaces)", normalise_name(name)),
            format!("`{name}`"),
        ));
    }
    Ok(())
}

pub(super) fn validate_text(field: &str, text: &str, limit: usize) -> Result<(), Invalid> {
    let characters = text.chars().count();
    if text.trim().is_empty() {
        return Err(Invalid::new(field, "a text", "an empty one"));
    }
    if characters > limit {
        return Err(Invalid::new(field, format!("at most {limit} characters"), characters.to_string()));
    }
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(Invalid::new(field, "no control characters", format!("{control:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_names_its_field() {
        let good = Entity::described("crane", ["long legs"], Source::Llm);
        type Spoil = fn(&mut Entity);
        let description = "senses[0].descriptions[0].text";
        let faults: [(&str, Spoil); 8] = [
            ("entity", |entity| entity.name = "  ".into()),
            ("entity", |entity| entity.name = "Crane".into()),
            ("aliases[0]", |entity| entity.aliases = vec!["crane".into()]),
            ("senses", |entity| entity.senses.clear()),
            ("senses[0].descriptions", |entity| entity.senses[0].descriptions.clear()),
            (description, |entity| entity.senses[0].descriptions[0].text = "a\nb".into()),
            (description, |entity| entity.senses[0].descriptions[0].text = "x".repeat(1 << 20)),
            ("senses[0].sense", |entity| entity.senses.push(entity.senses[0].clone())),
        ];
        assert_eq!(good.validate(), Ok(()));
        for (field, spoil) in faults {
            let mut entity = good.clone();
            spoil(&mut entity);
            assert_eq!(entity.validate().unwrap_err().field, field);
        }
        assert!(Entity::not_visual("luck").validate().is_ok());
        assert_eq!(Entity { visual: false, ..good }.validate().unwrap_err().field, "senses");
    }

    #[test]
    fn normalising_makes_an_entity_valid_and_drops_repetition() {
        let mut entity =
            Entity::described("  Polar   Bear ", ["white  fur.", "white fur", "black nose"], Source::Import);
        entity.aliases = vec!["Ice Bear".into(), "ice bear".into()];
        let entity = entity.normalised();
        assert_eq!(entity.validate(), Ok(()));
        assert_eq!(entity.name, "polar bear");
        assert_eq!(entity.aliases, ["ice bear"]);
        let texts: Vec<&str> = entity.descriptions().map(|description| description.text.as_str()).collect();
        assert_eq!(texts, ["white fur", "black nose"]);
    }
}
