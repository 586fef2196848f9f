//! Which step makes what a configuration names and is not there yet.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use anyhow::Error;
use relens_models::regular_file::{self, FileKind};

use crate::recipe::file::{Recipe, RecipeStage};

/// How far above a configuration its recipes are looked for: `configs/mgqre/sft.toml` is a stage of `configs/mgqre.toml`.
const FOLDERS: usize = 2;

/// The error of a command that was run with `config`, with what has to be run first, where a recipe near the
/// configuration makes what it names and is not there.
pub(crate) fn with_missing_steps(config: &Path, error: Error) -> Error {
    let missing = missing_paths(config);
    if missing.is_empty() {
        return error;
    }
    let makes = |stage: &&RecipeStage| {
        stage.outputs.iter().any(|output| missing.iter().any(|path| path.starts_with(output)))
    };
    let recipes = recipes_near(config).into_iter();
    let makers = recipes.map(|(path, recipe)| {
        let names = recipe.stages.iter().filter(makes).map(|stage| stage.name.clone());
        (path, names.collect::<Vec<_>>())
    });
    // Several recipes may share a stage.
    let Some((path, names)) = makers.max_by_key(|(path, names)| (names.len(), Reverse(path.clone()))) else {
        return error;
    };
    // Stages stand in the order in which they can run.
    let Some(last) = names.last() else { return error };
    let (config, path, made) = (config.display(), path.display(), names.join(", "));
    error.context(format!(
        "{config}: names what is not there yet, made by the stages {made} of {path}; run `relens run {path} --until \
         {last}` first"
    ))
}

/// The paths in a configuration at which nothing lies.
fn missing_paths(config: &Path) -> Vec<PathBuf> {
    let text = regular_file::read_to_string(config, FileKind::Settings).unwrap_or_default();
    let mut paths = Vec::new();
    if let Ok(mut table) = toml::from_str::<toml::Table>(&text) {
        table.remove("output");
        collect_paths(&toml::Value::Table(table), &mut paths);
    }
    paths.retain(|path| !path.exists());
    paths
}

fn collect_paths(value: &toml::Value, paths: &mut Vec<PathBuf>) {
    match value {
        toml::Value::String(text) if text.contains('/') => paths.push(PathBuf::from(text)),
        toml::Value::Array(values) => values.iter().for_each(|value| collect_paths(value, paths)),
        toml::Value::Table(table) => table.values().for_each(|value| collect_paths(value, paths)),
        _ => {}
    }
}

/// The recipes in the folder of a configuration and in those above it.
fn recipes_near(config: &Path) -> Vec<(PathBuf, Recipe)> {
    let mut recipes = Vec::new();
    for folder in config.ancestors().skip(1).take(FOLDERS).filter(|folder| *folder != Path::new("")) {
        let Ok(entries) = fs_err::read_dir(folder) else { continue };
        let files = entries.flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
        files.sort();
        // Most of them are no recipes.
        recipes.extend(
            files.into_iter().filter_map(|path| Recipe::read(&path, &[]).ok().map(|recipe| (path, recipe))),
        );
    }
    recipes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_names_the_stage_that_makes_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs_err::create_dir_all(at("configs/whole")).unwrap();
        let runs = at("runs").display().to_string();
        let stage = |name: &str| {
            format!(
                "[[stage]]\nname = \"{name}\"\ncommand = [\"train\", \"{name}\", \"--config\", \"x\"]\noutputs = [\"{name}\"]\n"
            )
        };
        let recipe =
            format!("name = \"whole\"\ndirectory = \"{runs}\"\n{}{}", stage("denoise"), stage("sft"));
        fs_err::write(at("configs/whole.toml"), recipe).unwrap();
        let config = at("configs/whole/sft.toml");
        let text = format!("output = \"{runs}/sft\"\n[policy]\nstart_from = \"{runs}/denoise/model\"\n");
        fs_err::write(&config, text).unwrap();
        let message_of = |config: &Path| with_missing_steps(config, Error::msg("stopped")).to_string();
        let message = message_of(&config);
        assert!(message.contains("whole.toml --until denoise` first"), "{message}");
        fs_err::create_dir_all(at("runs/denoise/model")).unwrap();
        assert_eq!(message_of(&config), "stopped", "nothing is missing any more");
        assert_eq!(message_of(&at("none.toml")), "stopped");
    }
}
