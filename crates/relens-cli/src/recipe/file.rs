//! The recipe as it stands in its file, checked, with its variables filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use relens_models::regular_file::{self, FileKind};
use serde::Deserialize;

/// The variable that holds the recipe's directory.
const DIRECTORY: &str = "directory";

/// A checked recipe.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    /// Where outputs and records are.
    pub(crate) directory: PathBuf,
    /// In the order in which they can run.
    pub(crate) stages: Vec<RecipeStage>,
}

/// One command.
#[derive(Debug, Clone)]
pub(crate) struct RecipeStage {
    pub(crate) name: String,
    pub(crate) about: String,
    /// The arguments of `relens`.
    pub(crate) command: Vec<String>,
    /// What is added when the stage was interrupted; none if it starts anew. Empty for commands that go on by themselves.
    pub(crate) resume: Option<Vec<String>>,
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) outputs: Vec<PathBuf>,
    /// The stages that it depends on, by name.
    pub(crate) upstream: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    name: String,
    directory: String,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    stage: Vec<StageEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageEntry {
    name: String,
    #[serde(default)]
    about: String,
    command: Vec<String>,
    resume: Option<Vec<String>>,
    #[serde(default)]
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Recipe {
    /// Reads a recipe; `overrides` replace its variables, `directory` too.
    pub(crate) fn read(path: &Path, overrides: &[(String, String)]) -> Result<Self> {
        let text = regular_file::read_to_string(path, FileKind::Settings)?;
        Self::parse(&text, overrides)
            .with_context(|| format!("{}: this recipe cannot be run", path.display()))
    }

    pub(crate) fn parse(text: &str, overrides: &[(String, String)]) -> Result<Self> {
        let file: RecipeFile = toml::from_str(text)?;
        let mut variables = file.variables;
        if variables.contains_key(DIRECTORY) {
            bail!("`variables.directory`: expected another name, because `directory` itself is a variable");
        }
        let mut directory = file.directory;
        for (name, value) in overrides {
            if name == DIRECTORY {
                value.clone_into(&mut directory);
            } else if let Some(known) = variables.get_mut(name) {
                value.clone_into(known);
            } else {
                let names: Vec<&str> = variables.keys().map(String::as_str).chain([DIRECTORY]).collect();
                bail!("--set {name}: expected one of the variables {}", names.join(", "));
            }
        }
        let directory = filled(&directory, &variables)?;
        variables.insert(DIRECTORY.to_owned(), directory.clone());
        let directory = PathBuf::from(directory);
        let stages = file.stage.into_iter().map(|entry| entry.checked(&variables, &directory));
        let mut stages = stages.collect::<Result<Vec<_>>>()?;
        link(&mut stages)?;
        Ok(Self { name: file.name, directory, stages: ordered(stages)? })
    }

    /// The stages up to and with `until`, and nothing that it does not need.
    pub(crate) fn needed_for(&self, until: Option<&str>) -> Result<Vec<&RecipeStage>> {
        let Some(until) = until else { return Ok(self.stages.iter().collect()) };
        if !self.stages.iter().any(|stage| stage.name == until) {
            let names: Vec<&str> = self.stages.iter().map(|stage| stage.name.as_str()).collect();
            bail!("--until {until}: expected one of the stages {}", names.join(", "));
        }
        let mut needed = BTreeSet::from([until]);
        for stage in self.stages.iter().rev() {
            if needed.contains(stage.name.as_str()) {
                needed.extend(stage.upstream.iter().map(String::as_str));
            }
        }
        Ok(self.stages.iter().filter(|stage| needed.contains(stage.name.as_str())).collect())
    }
}

impl StageEntry {
    fn checked(self, variables: &BTreeMap<String, String>, directory: &Path) -> Result<RecipeStage> {
        let name = self.name;
        let refuse = |field: &str, expected: &str, found: &str| {
            anyhow::anyhow!("stage `{name}`, `{field}`: expected {expected}, found `{found}`")
        };
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(refuse("name", "small letters, digits and hyphens", &name));
        }
        let all = |values: &[String]| -> Result<Vec<String>> {
            let filled = values.iter().map(|value| filled(value, variables));
            filled.collect::<Result<_>>().with_context(|| format!("stage `{name}`"))
        };
        let command = all(&self.command)?;
        if command.is_empty() {
            return Err(refuse("command", "the arguments of relens", ""));
        }
        let mut inputs: Vec<PathBuf> = all(&self.inputs)?.into_iter().map(PathBuf::from).collect();
        let configurations = command.windows(2).filter(|pair| pair[0] == "--config");
        inputs.extend(configurations.map(|pair| PathBuf::from(&pair[1])));
        inputs.sort();
        inputs.dedup();
        if self.outputs.is_empty() {
            return Err(refuse("outputs", "at least one file or directory", ""));
        }
        let mut outputs = Vec::new();
        for output in all(&self.outputs)? {
            // Outputs of a stage that changed are removed, so nothing outside may be one.
            let inside = Path::new(&output).components().all(|part| matches!(part, Component::Normal(_)));
            if output.is_empty() || output.starts_with('.') || !inside {
                return Err(refuse("outputs", "a path inside the recipe's directory", &output));
            }
            outputs.push(directory.join(output));
        }
        let resume = self.resume.as_deref().map(all).transpose()?;
        Ok(RecipeStage {
            name,
            about: self.about,
            command,
            resume,
            inputs,
            outputs,
            upstream: BTreeSet::new(),
        })
    }
}

/// Replaces `{name}` by the variable's value.
fn filled(text: &str, variables: &BTreeMap<String, String>) -> Result<String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) =
            after.split_once('}').with_context(|| format!("expected `}}` behind `{{` in `{text}`"))?;
        let value = variables.get(name).with_context(|| {
            let names: Vec<&str> = variables.keys().map(String::as_str).collect();
            format!("expected one of the variables {}, found `{{{name}}}` in `{text}`", names.join(", "))
        })?;
        result.push_str(before);
        result.push_str(value);
        rest = behind;
    }
    result.push_str(rest);
    Ok(result)
}

/// Finds the stages whose outputs are inputs of others.
fn link(stages: &mut [RecipeStage]) -> Result<()> {
    let mut makers: Vec<(PathBuf, String)> = Vec::new();
    let mut names = BTreeSet::new();
    for stage in stages.iter() {
        if !names.insert(stage.name.clone()) {
            bail!("stage `{}`: expected a name of its own, found it twice", stage.name);
        }
        for output in &stage.outputs {
            if let Some((_, other)) = makers.iter().find(|(made, _)| overlap(made, output)) {
                bail!("stage `{}`: `{}` is an output of `{other}`, too", stage.name, output.display());
            }
            makers.push((output.clone(), stage.name.clone()));
        }
    }
    for stage in stages {
        for input in &stage.inputs {
            let made_by =
                makers.iter().filter(|(made, _)| overlap(made, input)).map(|(_, name)| name.clone());
            stage.upstream.extend(made_by);
        }
        if stage.upstream.contains(&stage.name) {
            bail!("stage `{}`: expected inputs of other stages, found its own output among them", stage.name);
        }
    }
    Ok(())
}

/// Whether two paths are the same, or one is inside the other.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Each stage behind those that it depends on, otherwise as they stand in the file.
fn ordered(mut waiting: Vec<RecipeStage>) -> Result<Vec<RecipeStage>> {
    let mut ready: Vec<RecipeStage> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let placed = |stage: &RecipeStage| {
            stage.upstream.iter().all(|needed| ready.iter().any(|earlier| earlier.name == *needed))
        };
        let Some(next) = waiting.iter().position(placed) else {
            let names: Vec<&str> = waiting.iter().map(|stage| stage.name.as_str()).collect();
            bail!("the stages {} depend on each other in a circle", names.join(", "));
        };
        ready.push(waiting.remove(next));
    }
    Ok(ready)
}
