//! Prompts: Markdown files with variables, checked when they are loaded and named by version in every record.
//!
//! What stands before the first line of `---` is the system's message, what stands after it the user's. Variables are
//! written as minijinja templates have them: `{{ query }}`.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use relens::llm::{Message, Role};
use relens_models::regular_file::{self, FileKind};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Result, TrainingError};

/// A prompt that comes with relens.
struct Bundled {
    name: &'static str,
    text: &'static str,
    /// What a file of this name may use.
    variables: &'static [&'static str],
}

macro_rules! bundled {
    ($name:literal, $variables:expr) => {
        Bundled {
            name: $name,
            text: include_str!(concat!("../../prompts/", $name, ".md")),
            variables: $variables,
        }
    };
}

const BUNDLED: [Bundled; 5] = [
    bundled!(
        "challenge_response",
        &["query", "rank", "score", "right", "negatives", "history", "pictures", "count"]
    ),
    bundled!("direct_generation", &["query", "rank", "score", "right", "pictures", "count"]),
    bundled!("feedback_enhancement", &["query", "rank", "score", "history", "pictures", "count"]),
    bundled!("blur", &["query", "rank", "score", "count"]),
    bundled!("evd_rewrites", &["query", "rank", "score", "entities", "count"]),
];

/// A loaded prompt.
#[derive(Debug)]
pub struct Prompt {
    name: String,
    version: String,
    environment: Environment<'static>,
}

impl Prompt {
    /// The prompt `name`: the file `NAME.md` of `directory` if there is one, else the one that comes with relens.
    ///
    /// # Errors
    /// [`TrainingError::Data`] naming the file if it is no template, uses a variable that this prompt does not have,
    /// or does not use `query`.
    pub fn load(name: &str, directory: Option<&Path>) -> Result<Self> {
        let bundled = BUNDLED.iter().find(|bundled| bundled.name == name).ok_or_else(|| {
            let names: Vec<&str> = BUNDLED.iter().map(|bundled| bundled.name).collect();
            TrainingError::argument("Prompt::load", format!("one of {}", names.join(", ")), name)
        })?;
        let own =
            directory.map(|directory| directory.join(format!("{name}.md"))).filter(|path| path.is_file());
        match own {
            Some(path) => {
                Self::parse(bundled, &regular_file::read_to_string(&path, FileKind::Settings)?, &path)
            }
            None => Self::parse(bundled, bundled.text, Path::new(&format!("{name}.md"))),
        }
    }

    fn parse(bundled: &Bundled, text: &str, path: &Path) -> Result<Self> {
        let refuse = |reason: String| TrainingError::Data { path: path.to_owned(), reason };
        let text = text.replace("\r\n", "\n");
        let (system, user) = text.split_once("\n---\n").unwrap_or(("", &text));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| refuse(error.to_string()))?);
        for (part, source) in [("system", system), ("user", user)] {
            environment
                .add_template_owned(part, source.to_owned())
                .map_err(|error| refuse(format!("expected a template, found {error:#}")))?;
        }
        let mut used = std::collections::HashSet::new();
        for part in ["system", "user"] {
            let template = environment.get_template(part).map_err(|error| refuse(error.to_string()))?;
            used.extend(template.undeclared_variables(false));
        }
        let mut unknown: Vec<&String> =
            used.iter().filter(|name| !bundled.variables.contains(&name.as_str())).collect();
        unknown.sort();
        if let Some(unknown) = unknown.first() {
            let known = bundled.variables.join(", ");
            return Err(refuse(format!("expected the variables {known}, found `{unknown}`")));
        }
        if !used.contains("query") {
            return Err(refuse("expected the variable `query`, found none of that name".to_owned()));
        }
        let hash = Sha256::digest(text.as_bytes());
        let version: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: bundled.name.to_owned(), version, environment })
    }

    /// The name and the version, a hash of the text: `blur@1f2e3d4c`.
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }

    /// The messages with the variables filled in.
    ///
    /// # Errors
    /// [`TrainingError::Data`] if a variable has no value.
    pub fn messages(&self, variables: &impl Serialize) -> Result<Vec<Message>> {
        let variables = Value::from(Serde(variables));
        let mut messages = Vec::with_capacity(2);
        for (part, role) in [("system", Role::System), ("user", Role::User)] {
            let rendered =
                self.environment.get_template(part).and_then(|template| template.render(variables.clone()));
            let text = rendered.map_err(|error| TrainingError::Data {
                path: format!("{}.md", self.name).into(),
                reason: format!("it cannot be filled in: {error:#}"),
            })?;
            if !text.trim().is_empty() {
                messages.push(Message::text(role, text.trim()));
            }
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relens::llm::Part;

    #[test]
    fn bundled_prompts_load_and_an_own_file_overrides_one() {
        for bundled in &BUNDLED {
            assert!(Prompt::load(bundled.name, None).unwrap().id().starts_with(bundled.name));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blur.md");
        fs_err::write(&path, "Be vague.\n---\nBlur {{ query }}, {{ count }} times.\n").unwrap();
        let prompt = Prompt::load("blur", Some(directory.path())).unwrap();
        assert_ne!(prompt.id(), Prompt::load("blur", None).unwrap().id());
        let messages = prompt.messages(&serde_json::json!({"query": "a \"dog\"", "count": 2})).unwrap();
        assert_eq!(messages[0], Message::text(Role::System, "Be vague."));
        assert_eq!(messages[1].parts, [Part::Text("Blur a \"dog\", 2 times.".to_owned())]);
        assert!(prompt.messages(&serde_json::json!({"query": "a"})).is_err(), "a variable without a value");
    }

    #[test]
    fn files_with_faults_are_refused_when_they_are_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let refuse = |text: &str| {
            fs_err::write(directory.path().join("blur.md"), text).unwrap();
            Prompt::load("blur", Some(directory.path())).unwrap_err().to_string()
        };
        assert!(refuse("{{ query }} {{ qeury }}").contains("blur.md: expected the variables query"));
        assert!(refuse("{{ query }").contains("expected a template"));
        assert!(refuse("Blur it.").contains("expected the variable `query`"));
        assert!(Prompt::load("none", None).is_err());
    }
}
