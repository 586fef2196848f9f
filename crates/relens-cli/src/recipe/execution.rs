//! Runs stages as processes of this same program.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use relens::error::Error;

use super::digest::Digests;
use super::file::{Recipe, RecipeStage};
use super::plan::{Decision, Examined, Planner};
use super::state::{Records, StageRecord};
use crate::{interrupt, progress};

/// How often a running stage is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Stages that ran, and how long each took.
    pub(crate) ran: Vec<(String, f64)>,
    /// Stages that were finished before.
    pub(crate) skipped: Vec<String>,
}

/// Runs the stages that are not up to date.
pub(crate) fn run(recipe: &Recipe, until: Option<&str>) -> Result<Done> {
    let stages = recipe.needed_for(until)?;
    let records = Records::of(&recipe.directory);
    let lock = records.lock()?;
    let mut digests = Digests::open(records.digests());
    let mut planner =
        Planner { records: &records, digests: &mut digests, finished: std::collections::BTreeMap::new() };
    let mut done = Done::default();
    for (number, stage) in (1..).zip(&stages) {
        if interrupt::requested() {
            return Err(Error::Cancelled.into());
        }
        let heading = format!("stage {number} of {}, {}", stages.len(), stage.name);
        let examined = planner.examine(stage)?;
        let Decision::Run(reason) = &examined.decision else {
            progress::note(&format!("{heading}: finished before"));
            done.skipped.push(stage.name.clone());
            continue;
        };
        progress::note(&format!("{heading}: running, because {reason}"));
        let seconds = run_stage(stage, &examined, &mut planner, &lock)?;
        progress::note(&format!("{heading}: finished after {seconds:.1} s"));
        done.ran.push((stage.name.clone(), seconds));
    }
    planner.digests.save()?;
    Ok(done)
}

fn run_stage(
    stage: &RecipeStage,
    examined: &Examined,
    planner: &mut Planner<'_>,
    lock: &File,
) -> Result<f64> {
    let ingredients = &examined.ingredients;
    let same = examined.record.as_ref().filter(|record| record.ingredients == *ingredients);
    let interrupted = same.filter(|record| record.outputs.is_none() && stage.resume.is_some());
    let before = interrupted.map_or(0.0, |record| record.seconds);
    if interrupted.is_none() {
        clear(stage, examined.record.is_some())?;
    }
    for parent in stage.outputs.iter().filter_map(|output| output.parent()) {
        fs_err::create_dir_all(parent)?;
    }
    let record = StageRecord { ingredients: ingredients.clone(), outputs: None, seconds: before };
    planner.records.write(&stage.name, &record)?;
    let start = Instant::now();
    let resume = interrupted.and(stage.resume.as_deref()).unwrap_or_default();
    let status = execute(stage, resume, &planner.records.log(&stage.name), lock)?;
    let seconds = before + start.elapsed().as_secs_f64();
    if !status.success() {
        planner.records.write(&stage.name, &StageRecord { seconds, ..record })?;
        if interrupt::requested() {
            return Err(Error::Cancelled.into());
        }
        bail!("stage `{}` failed ({status}): relens {}", stage.name, stage.command.join(" "));
    }
    let outputs = planner.outputs(stage)?;
    planner.records.write(&stage.name, &StageRecord { outputs: Some(outputs), seconds, ..record })?;
    planner.finished.insert(stage.name.clone(), ingredients.fingerprint()?);
    Ok(seconds)
}

/// Removes the outputs of an earlier run of the stage.
fn clear(stage: &RecipeStage, ran_before: bool) -> Result<()> {
    for output in &stage.outputs {
        if !output.exists() {
            continue;
        }
        if !ran_before {
            bail!(
                "stage `{}`: expected no `{}` before its first run, found one; move it away",
                stage.name,
                output.display()
            );
        }
        if output.is_dir() {
            fs_err::remove_dir_all(output)?;
        } else {
            fs_err::remove_file(output)?;
        }
    }
    Ok(())
}

/// Runs the command: its standard error is ours, its standard output goes into `log`.
fn execute(stage: &RecipeStage, resume: &[String], log: &Path, lock: &File) -> Result<ExitStatus> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    let mut command = Command::new(&program);
    command.args(&stage.command).args(resume);
    // Nothing is read from there. A stage that outlives a killed run holds the lock by it.
    command.stdin(Stdio::from(lock.try_clone()?));
    command.stdout(Stdio::from(fs_err::File::create(log)?.into_file()));
    // Ctrl-C in a terminal reaches every process of the group: in a group of its own, a stage hears it from us, once.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn().with_context(|| {
        format!(
            "{}: expected this program to start a stage with (was it replaced meanwhile?)",
            program.display()
        )
    })?;
    let mut announced = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::requested() && !announced {
            announced = true;
            stop(&child);
        }
        std::thread::sleep(GLANCE);
    }
}

/// Asks a stage to stop where nothing is lost, as Ctrl-C would.
#[cfg(unix)]
fn stop(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let Ok(id) = i32::try_from(child.id()) else { return };
    if let Err(error) = kill(Pid::from_raw(id), Signal::SIGINT) {
        tracing::debug!("the stage has ended already: {error}");
    }
}

/// Elsewhere Ctrl-C reaches the stage by itself.
#[cfg(not(unix))]
fn stop(_: &Child) {}
