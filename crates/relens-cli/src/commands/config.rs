//! `relens config`: settings that are typed once.

use std::io::Write;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use relens_models::regular_file::{self, FileKind};

use crate::output::Output;
use crate::output_file::write_whole;
use crate::settings::{self, KEYS};
use crate::usage::usage_error;

/// Settings that need not be typed with every command.
///
/// They stand in one TOML file. What is typed comes before what is set there.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print where the settings file lies.
    Path,
    /// Print what is set, and what can be.
    Show,
    Set(SetArguments),
}

/// Set a value, or take it back with an empty one: `relens config set results 20`.
#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    /// What is set: library, model, jobs, results, follow_links or max_megapixels.
    #[arg(value_name = "KEY")]
    key: String,

    /// Its value.
    #[arg(value_name = "VALUE")]
    value: String,
}

impl ConfigCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Path => tell(&format!("{}\n", settings::path()?.display())),
            Self::Show => show(),
            Self::Set(arguments) => arguments.run(),
        }
    }
}

fn show() -> Result<()> {
    let set: toml::Table = toml::Table::try_from(settings::settings()?)?;
    let mut text = String::new();
    for (key, meaning) in KEYS {
        match set.get(key) {
            Some(value) => text.push_str(&format!("{key} = {value}\n")),
            None => text.push_str(&format!("# {key}: {meaning}\n")),
        }
    }
    tell(&text)
}

fn tell(text: &str) -> Result<()> {
    let mut output = Output::new();
    output.writer.write_all(text.as_bytes())?;
    Ok(output.writer.flush()?)
}

impl SetArguments {
    fn run(self) -> Result<()> {
        let Self { key, value } = self;
        if !KEYS.iter().any(|(known, _)| *known == key) {
            let known = KEYS.map(|(known, _)| known).join(", ");
            return Err(usage_error(format!("expected one of {known}, found `{key}`")));
        }
        let path = settings::path()?;
        let old = match path.exists() {
            true => regular_file::read_to_string(&path, FileKind::Settings)?,
            false => String::new(),
        };
        let mut table: toml::Table = toml::from_str(&old)
            .with_context(|| format!("{}: expected TOML; mend it or remove it", path.display()))?;
        table.remove(&key);
        if !value.is_empty() {
            // A number or a truth value as such; everything else is a text.
            let value = match value.parse::<toml::Value>() {
                Ok(value @ (toml::Value::Integer(_) | toml::Value::Boolean(_))) => value,
                _ => toml::Value::String(value),
            };
            table.insert(key, value);
        }
        let text = toml::to_string(&table)?;
        settings::parse(&text).map_err(|error| usage_error(format!("{error:#}")))?;
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        write_whole(&path, text.as_bytes())
    }
}
