//! A rewriter in the loop: the method's steps, what the retriever makes of them, the export of the best weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Tensor;
use relens::progress::Progress;
use relens_models::atomic_file::write_atomically;
use relens_models::weights::{ElementType, tensors_to_bytes};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::{
    PolicyConfig, RewriterConfig, RewriterEvaluation, RewriterMetric, RewriterRunConfig, RewritingMethod,
};
use super::environment::Environment;
use super::examples::EpochBatches;
use super::policy::Policy;
use super::validation::{SIMILARITY_REWARD, Validator};
use crate::optimizer::NamedParameter;
use crate::run::finished_model::{RunSummary, publish};
use crate::run::stage::{Best, Measurement, Phase, PhaseStart, Stage, Step, StepReport};
use crate::run::trainer::{Trainer, TrainerConfig};
use crate::run::training::Run;
use crate::{Result, TrainingError};

/// Where a low-rank adapter lies in the exported directory, in PEFT's files.
const ADAPTER_DIRECTORY: &str = "adapter";

/// A method's own part of the loop.
pub(crate) trait LearningStep {
    /// What must be saved beside weights and optimizer.
    type State: Clone + Default + Serialize + DeserializeOwned;

    /// The order in which examples are seen.
    fn batches(&self) -> &EpochBatches;

    /// Updates of the weights in one step.
    fn updates_per_step(&self) -> u64 {
        1
    }

    /// Factor on the learning rate of one of the policy's tensors.
    fn learning_rate_scale(&self, name: &str) -> f64 {
        let _ = name;
        1.0
    }

    /// What learns beside the policy.
    fn extra_parameters(&self) -> Vec<NamedParameter> {
        Vec::new()
    }

    /// Does step number `step`, counted from 1.
    fn step(&mut self, policy: &Policy, trainer: &mut Trainer, step: u64) -> Result<StepReport>;

    /// The loss on validation examples, where checkpoints are chosen by it.
    fn validation_loss(&mut self, policy: &Policy) -> Result<f64> {
        let _ = policy;
        let expected = "a recall: this stage has no validation loss";
        Err(TrainingError::setting("evaluation.metric", expected, &"loss"))
    }

    /// What must be saved.
    fn state(&self) -> Self::State {
        Self::State::default()
    }

    /// Puts back what [`LearningStep::state`] gave.
    fn restore(&mut self, state: Self::State) {
        let _ = state;
    }
}

/// Runs a method, or goes on with a run that was interrupted, and exports the best weights; `prepare` makes the method's
/// own part.
pub(crate) fn learn<M: RewritingMethod, L: LearningStep>(
    config: &RewriterConfig<M>,
    policy: &PolicyConfig,
    progress: &mut dyn Progress,
    prepare: impl FnOnce(&Policy, &mut Environment, &mut dyn Progress) -> Result<L>,
) -> Result<RunSummary> {
    config.check()?;
    let RewriterRunConfig { output, seed, data, retriever, optimization, evaluation, .. } = &config.run;
    let run = Run::open(output, config, evaluation.keep_checkpoints)?;
    if let Some(summary) = run.finished(1)? {
        return Ok(summary);
    }
    let mut environment = Environment::open(data, retriever, *seed)?;
    let policy = Policy::open(policy, *seed, optimization.gradient_checkpointing)?;
    let learner = prepare(&policy, &mut environment, progress)?;
    let validator = (evaluation.metric != RewriterMetric::Loss)
        .then(|| Validator::prepare(&mut environment, evaluation, progress))
        .transpose()?;
    let updates = learner.batches().total_steps().saturating_mul(learner.updates_per_step());
    let mut stage = RewriterStage {
        name: M::NAME,
        trainer: optimization.trainer(config.run.learning_rate, updates),
        evaluation,
        policy,
        learner,
        validator,
        hacking: 0,
    };
    let trained = run.train(&mut stage, evaluation.training_loop(), progress)?;
    progress.message("exporting the best weights");
    let metrics = trained.metrics();
    export(trained.path(), &stage.policy, &metrics)?;
    Ok(trained.summary(metrics))
}

/// What must be saved of a rewriter's run; `S` is the method's part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct RewriterState<S> {
    /// Measurements in a row that look like reward hacking.
    hacking: u64,
    method: S,
}

/// A rewriter as the loop sees it.
struct RewriterStage<'a, L> {
    name: &'static str,
    trainer: TrainerConfig,
    evaluation: &'a RewriterEvaluation,
    policy: Policy,
    learner: L,
    /// Asks the retriever; none where the loss chooses the checkpoint.
    validator: Option<Validator>,
    hacking: u64,
}

impl<L: LearningStep> Stage for RewriterStage<'_, L> {
    type State = RewriterState<L::State>;

    fn begin(&mut self, _: usize) -> Result<Phase> {
        let scaled = |parameter: NamedParameter| {
            let scale = self.learner.learning_rate_scale(&parameter.name);
            parameter.with_learning_rate_scale(scale)
        };
        let mut parameters: Vec<NamedParameter> = self.policy.parameters().into_iter().map(scaled).collect();
        parameters.extend(self.learner.extra_parameters());
        let batches = self.learner.batches();
        Ok(Phase {
            name: self.name.to_owned(),
            trainer: self.trainer,
            parameters,
            steps: batches.total_steps(),
            steps_per_epoch: batches.steps_per_epoch(),
            start: PhaseStart::Best,
        })
    }

    fn step(&mut self, trainer: &mut Trainer, step: Step) -> Result<StepReport> {
        self.learner.step(&self.policy, trainer, step.number)
    }

    fn measure(&mut self, step: u64, _: &mut dyn Progress) -> Result<Measurement> {
        if let Some(validator) = &self.validator {
            return validator.measure(&self.policy, step);
        }
        let loss = self.learner.validation_loss(&self.policy)?;
        let metrics = Map::from_iter([("validation_loss".to_owned(), json!(loss))]);
        Ok(Measurement { metrics, selection: -loss, samples: Vec::new() })
    }

    /// Watches for reward hacking: the reward rises above that of the best checkpoint while the recall falls below its.
    fn compare(&mut self, measured: &Measurement, best: Option<&Best>) -> Option<String> {
        let Some(best) = best else {
            self.hacking = 0;
            return None;
        };
        let reward = |metrics: &Map<String, Value>| metrics.get(SIMILARITY_REWARD).and_then(Value::as_f64);
        let (recall, best_recall) = (measured.selection, best.value);
        let rewards = reward(&measured.metrics).zip(reward(&best.metrics));
        let Some((reward, best_reward)) = rewards.filter(|(reward, best_reward)| {
            reward > best_reward && recall < best_recall - self.evaluation.hacking_tolerance
        }) else {
            self.hacking = 0;
            return None;
        };
        self.hacking += 1;
        let patience = self.evaluation.hacking_patience;
        (patience > 0 && self.hacking >= patience).then(|| {
            format!(
                "reward hacking: in {} measurements in a row the similarity reward on the validation split is above \
                 that of step {} ({reward:.3}, it was {best_reward:.3}) and Recall@1 is below ({:.1} %, it was \
                 {:.1} %); step {} stays the best",
                self.hacking,
                best.step,
                100.0 * recall,
                100.0 * best_recall,
                best.step
            )
        })
    }

    fn set_weights(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        self.policy.set(weights)
    }

    fn state(&self) -> Self::State {
        RewriterState { hacking: self.hacking, method: self.learner.state() }
    }

    fn restore(&mut self, state: Self::State) {
        self.hacking = state.hacking;
        self.learner.restore(state.method);
    }
}

/// Writes the policy as it is now: a directory in Hugging Face's layout, f16.
fn export(run: &Path, policy: &Policy, metrics: &Map<String, Value>) -> Result<()> {
    publish(run, |directory| {
        fs_err::create_dir_all(directory)?;
        let weights = tensors_to_bytes(&policy.export()?, ElementType::F16)?;
        write_atomically(&directory.join("model.safetensors"), &weights)?;
        if let Some(adapter) = policy.adapter() {
            adapter.save(directory.join(ADAPTER_DIRECTORY), &policy.base(), policy.task_type()?)?;
        }
        for (name, bytes) in policy.files()? {
            write_atomically(&directory.join(name), &bytes)?;
        }
        Ok(metrics.clone())
    })?;
    Ok(())
}
