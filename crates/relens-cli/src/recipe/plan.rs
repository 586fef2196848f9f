//! Which stages must run, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::digest::Digests;
use super::file::RecipeStage;
use super::state::{Ingredients, Records, StageRecord};

/// Whether a stage must run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It ran, and nothing has changed.
    Finished,
    /// It must run, for this reason.
    Run(String),
}

/// Whether a stage has to run, once the stages before it are finished.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) decision: Decision,
    pub(crate) ingredients: Ingredients,
    pub(crate) record: Option<StageRecord>,
}

/// Looks at stages, one after the other in their order.
pub(crate) struct Planner<'a> {
    pub(crate) records: &'a Records,
    pub(crate) digests: &'a mut Digests,
    /// The fingerprints of finished stages.
    pub(crate) finished: BTreeMap<String, String>,
}

impl Planner<'_> {
    /// What would run, nothing being run: a stage behind one that runs is said to run.
    pub(crate) fn foresee(&mut self, stages: &[&RecipeStage]) -> Result<Vec<Decision>> {
        let mut running: BTreeSet<&str> = BTreeSet::new();
        let mut decisions = Vec::with_capacity(stages.len());
        for stage in stages {
            let follows = stage.upstream.iter().find(|name| running.contains(name.as_str()));
            let decision = match follows {
                Some(earlier) => Decision::Run(format!("it hangs on `{earlier}`")),
                None => self.examine(stage)?.decision,
            };
            if decision != Decision::Finished {
                running.insert(&stage.name);
            }
            decisions.push(decision);
        }
        Ok(decisions)
    }

    /// Compares a stage with its record. A finished stage counts as such for those behind it.
    pub(crate) fn examine(&mut self, stage: &RecipeStage) -> Result<Examined> {
        let ingredients = self.ingredients(stage)?;
        let record = self.records.read(&stage.name);
        let decision = match &record {
            None => Decision::Run("it has not run yet".to_owned()),
            Some(record) => self.compare(stage, &ingredients, record)?,
        };
        if decision == Decision::Finished {
            self.finished.insert(stage.name.clone(), ingredients.fingerprint()?);
        }
        Ok(Examined { decision, ingredients, record })
    }

    /// Hashes of all outputs of a stage.
    pub(crate) fn outputs(&mut self, stage: &RecipeStage) -> Result<BTreeMap<PathBuf, String>> {
        let mut outputs = BTreeMap::new();
        for path in &stage.outputs {
            let digest = self.digests.of(path)?.with_context(|| {
                format!("stage `{}` ended well, but has not written `{}`", stage.name, path.display())
            })?;
            outputs.insert(path.clone(), digest);
        }
        Ok(outputs)
    }

    fn ingredients(&mut self, stage: &RecipeStage) -> Result<Ingredients> {
        let mut inputs = BTreeMap::new();
        for path in &stage.inputs {
            let digest = self.digests.of(path)?.with_context(|| {
                format!("stage `{}`: the input `{}` does not exist", stage.name, path.display())
            })?;
            inputs.insert(path.clone(), digest);
        }
        let upstream = stage.upstream.iter().filter_map(|name| {
            let fingerprint = self.finished.get(name)?;
            Some((name.clone(), fingerprint.clone()))
        });
        Ok(Ingredients {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            command: stage.command.clone(),
            inputs,
            upstream: upstream.collect(),
        })
    }

    fn compare(&mut self, stage: &RecipeStage, now: &Ingredients, record: &StageRecord) -> Result<Decision> {
        let then = &record.ingredients;
        let run = |reason: String| Ok(Decision::Run(reason));
        if then.command != now.command {
            return run("its command changed".to_owned());
        }
        if then.version != now.version {
            return run(format!("it was made by relens {}", then.version));
        }
        let changed = now.inputs.iter().find(|(path, digest)| then.inputs.get(*path) != Some(digest));
        if let Some((path, _)) = changed {
            return run(format!("`{}` changed", path.display()));
        }
        if let Some((name, _)) =
            now.upstream.iter().find(|(name, print)| then.upstream.get(*name) != Some(print))
        {
            return run(format!("`{name}` changed"));
        }
        if then != now {
            return run("it has fewer inputs than before".to_owned());
        }
        let Some(outputs) = &record.outputs else { return run("it was interrupted".to_owned()) };
        for path in &stage.outputs {
            match (self.digests.of(path)?, outputs.get(path)) {
                (None, _) => return run(format!("its output `{}` is missing", path.display())),
                (Some(found), Some(known)) if found == *known => {}
                _ => return run(format!("its output `{}` is not what it wrote", path.display())),
            }
        }
        Ok(Decision::Finished)
    }
}
