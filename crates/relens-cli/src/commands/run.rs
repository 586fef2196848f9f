//! `relens run`: a recipe, from its data to its report.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::interrupt;
use crate::output::{self, Output};
use crate::recipe::digest::Digests;
use crate::recipe::execution::{self, Done};
use crate::recipe::file::{Recipe, RecipeStage};
use crate::recipe::plan::{Decision, Planner};
use crate::recipe::state::Records;

/// Run a recipe: a list of named stages, each a relens command.
///
/// Stages that ran before are skipped as long as their command, the content of their inputs and their outputs are what
/// they were; a change reruns a stage and all that depends on it. After Ctrl-C or a kill, run the same again: it goes on
/// with the stage that was interrupted. What a stage prints is in DIRECTORY/.recipe/STAGE.out.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The recipe, a TOML file; configs/ has some.
    #[arg(value_name = "FILE.toml")]
    recipe: PathBuf,

    /// Run this stage and what it needs, nothing else.
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,

    /// Only show which stages would run, and why.
    #[arg(long, conflicts_with = "plan")]
    dry_run: bool,

    /// Only check the recipe: every command line, and the order of the stages. Data need not exist.
    #[arg(long)]
    plan: bool,

    /// Give a variable of the recipe another value; `directory` is where everything goes.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,

    /// Print one JSON object: {"recipe", "directory", "stages": [{"stage", "state", …}]}.
    #[arg(long)]
    json: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    pair.ok_or_else(|| format!("expected NAME=VALUE, found `{text}`"))
}

/// Blanks before what is told of a stage behind its first line.
const INDENT: usize = 2;

/// The state of a stage: a word for programs, and a sentence for people.
struct StageState<'a> {
    stage: &'a RecipeStage,
    state: &'static str,
    detail: String,
}

impl RunArguments {
    /// Runs the recipe; `check` says whether a command line is one that relens takes.
    pub(crate) fn run(self, check: fn(&[String]) -> Result<(), String>) -> Result<()> {
        let recipe = Recipe::read(&self.recipe, &self.set)?;
        let stages = recipe.needed_for(self.until.as_deref())?;
        // A command line that cannot be meant is found before the first hour of work, not after it.
        for stage in &stages {
            check_command(stage, check)?;
        }
        let states = if self.plan {
            planned(&stages)
        } else if self.dry_run {
            foreseen(&recipe, &stages)?
        } else {
            interrupt::watch();
            let done = execution::run(&recipe, self.until.as_deref())
                .with_context(|| format!("the recipe `{}` stopped; run it again to go on", recipe.name))?;
            finished(&stages, &done)
        };
        self.show(&recipe, &states)
    }

    fn show(&self, recipe: &Recipe, states: &[StageState<'_>]) -> Result<()> {
        let mut output = Output::new();
        if self.json {
            let stages: Vec<_> = states
                .iter()
                .map(|StageState { stage, state, detail }| {
                    json!({"stage": stage.name, "state": state, "detail": detail, "command": stage.command,
                           "after": stage.upstream})
                })
                .collect();
            let directory = recipe.directory.to_string_lossy();
            let report = json!({"recipe": recipe.name, "directory": directory, "stages": stages});
            writeln!(output.writer, "{report}")?;
            return Ok(output.writer.flush()?);
        }
        let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
        for StageState { stage, state, detail } in states {
            let name = &stage.name;
            let line = output::wrapped(&format!("{name}: {state}, {detail}"), INDENT);
            let rest = line.strip_prefix(name.as_str()).unwrap_or_default();
            writeln!(output.writer, "{strong}{name}{strong:#}{rest}")?;
            if !stage.about.is_empty() {
                let about = output::wrapped(&stage.about, INDENT);
                writeln!(output.writer, "  {faint}{about}{faint:#}")?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn check_command(stage: &RecipeStage, check: fn(&[String]) -> Result<(), String>) -> Result<()> {
    for arguments in [
        stage.command.clone(),
        [stage.command.as_slice(), stage.resume.as_deref().unwrap_or_default()].concat(),
    ] {
        if let Err(reason) = check(&arguments) {
            let name = &stage.name;
            bail!("stage `{name}`: `relens {}` cannot be run: {reason}", stage.command.join(" "));
        }
    }
    Ok(())
}

fn planned<'a>(stages: &[&'a RecipeStage]) -> Vec<StageState<'a>> {
    let state_of = |stage: &&'a RecipeStage| {
        let made = |path: &PathBuf| {
            stages.iter().any(|earlier| earlier.outputs.iter().any(|output| path.starts_with(output)))
        };
        let missing = stage.inputs.iter().filter(|path| !path.exists() && !made(path));
        let missing: Vec<String> = missing.map(|path| path.display().to_string()).collect();
        let after: Vec<&str> = stage.upstream.iter().map(String::as_str).collect();
        let order = if after.is_empty() { "first".to_owned() } else { format!("after {}", after.join(", ")) };
        let detail = match missing.is_empty() {
            true => order,
            false => format!("{order}; needs {}", missing.join(", ")),
        };
        StageState { stage, state: "planned", detail }
    };
    stages.iter().map(state_of).collect()
}

fn foreseen<'a>(recipe: &Recipe, stages: &[&'a RecipeStage]) -> Result<Vec<StageState<'a>>> {
    let records = Records::of(&recipe.directory);
    let mut digests = Digests::open(records.digests());
    let finished = std::collections::BTreeMap::new();
    let decisions = Planner { records: &records, digests: &mut digests, finished }.foresee(stages)?;
    let state_of = |(stage, decision): (&&'a RecipeStage, Decision)| match decision {
        Decision::Finished => StageState { stage, state: "finished", detail: "nothing changed".to_owned() },
        Decision::Run(reason) => {
            StageState { stage, state: "would run", detail: format!("because {reason}") }
        }
    };
    Ok(stages.iter().zip(decisions).map(state_of).collect())
}

fn finished<'a>(stages: &[&'a RecipeStage], done: &Done) -> Vec<StageState<'a>> {
    let state_of = |stage: &&'a RecipeStage| match done.ran.iter().find(|(name, _)| *name == stage.name) {
        Some((_, seconds)) => StageState { stage, state: "ran", detail: format!("{seconds:.1} s") },
        None => StageState { stage, state: "skipped", detail: "finished before".to_owned() },
    };
    debug_assert_eq!(done.ran.len() + done.skipped.len(), stages.len());
    stages.iter().map(state_of).collect()
}
