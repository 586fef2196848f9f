//! What can stop a training run.

use std::path::PathBuf;

/// The result of a training operation.
pub type Result<T, E = TrainingError> = std::result::Result<T, E>;

/// An error of this crate. Every variant names the file, field, parameter or step, and what was expected there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// A file could not be read or written (a full disk included); the message of `fs-err` names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),

    /// A configuration file is not valid TOML, names an unknown field, or gives a field the wrong type.
    #[error("{path}: {reason}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and field.
        reason: String,
    },

    /// A setting is outside its range, or two settings contradict each other.
    #[error("setting `{field}` is {found}, expected {expected}")]
    Setting {
        /// The field's full name, for instance `optimizer.learning_rate`.
        field: String,
        /// The values that are allowed.
        expected: String,
        /// The value given.
        found: String,
    },

    /// A run directory was made with other settings than those given now.
    #[error(
        "{path}: this run was started with other settings ({difference}); continue it with its own settings or name a new run directory"
    )]
    RunChanged {
        /// The run's `config.toml`.
        path: PathBuf,
        /// The settings that differ, old value → new value.
        difference: String,
    },

    /// Another process is training into the same run directory.
    #[error("{path}: another process is training into this run directory")]
    RunLocked {
        /// The lock file.
        path: PathBuf,
    },

    /// The loss is NaN or infinite.
    #[error(
        "step {step}: the loss is {loss}, expected a finite number; lower the learning rate or look at the data of this step"
    )]
    NonFiniteLoss {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The loss.
        loss: f32,
    },

    /// A gradient is NaN or infinite.
    #[error(
        "step {step}: the gradient of `{parameter}` holds {found} at element {position}, expected finite numbers"
    )]
    NonFiniteGradient {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The parameter's name.
        parameter: String,
        /// The first such element, in row-major order.
        position: usize,
        /// Its value.
        found: f32,
    },

    /// A parameter that should be trained took no part in the loss.
    #[error("step {step}: parameter `{parameter}` received no gradient: it takes no part in the loss")]
    MissingGradient {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The parameter's name.
        parameter: String,
    },

    /// The retriever's opinion of a rewrite is no number.
    #[error(
        "step {step}, sample {sample}: the reward of `{rewrite}` for the query `{query}` is {found}, expected a finite number"
    )]
    NonFiniteReward {
        /// The step, counted from 1; 0 before the first.
        step: u64,
        /// Its place in the batch, from 0.
        sample: usize,
        /// The query.
        query: String,
        /// The rewrite.
        rewrite: String,
        /// The reward.
        found: f32,
    },

    /// A rollout's log-probability or value is no number: the policy is broken.
    #[error(
        "step {step}, sample {sample}: the policy gave the rewrite `{rewrite}` of `{query}` a {quantity} of {found}, expected a finite number"
    )]
    NonFiniteRollout {
        /// The step, counted from 1.
        step: u64,
        /// Its place in the batch, from 0.
        sample: usize,
        /// The query.
        query: String,
        /// The rewrite.
        rewrite: String,
        /// What is not finite: a log-probability, a value.
        quantity: &'static str,
        /// What was found.
        found: f32,
    },

    /// One checkpoint is truncated, altered or of another format.
    #[error("{path}: damaged checkpoint: {reason}")]
    Checkpoint {
        /// The checkpoint's directory or the file in it.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A run has checkpoints, and none of them can be read.
    #[error(
        "{path}: none of the {found} checkpoints can be read ({last_reason}); delete the directory to start over"
    )]
    NoUsableCheckpoint {
        /// The directory of the checkpoints.
        path: PathBuf,
        /// How many were tried.
        found: usize,
        /// What was wrong with the oldest one tried.
        last_reason: String,
    },

    /// A run's checkpoints were written by another version of relens.
    #[error(
        "{path}: another version of relens began this run (checkpoints of format {found}, this version has \
         {expected}); finish it with that version, or name a new run directory"
    )]
    OtherVersion {
        /// The checkpoint's directory.
        path: PathBuf,
        /// This version's format.
        expected: u32,
        /// The checkpoint's.
        found: u32,
    },

    /// A data set or one of its parts cannot be trained or evaluated on.
    #[error("{path}: {reason}")]
    Data {
        /// The annotation file, the picture or the directory.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },

    /// A function was called with tensors or arguments that do not fit each other.
    #[error("{operation}: expected {expected}, found {found}")]
    Argument {
        /// The function.
        operation: &'static str,
        /// What it takes.
        expected: String,
        /// What it was given.
        found: String,
    },

    /// The caller asked to stop; what was done so far is in the last checkpoint.
    #[error("stopped at step {step}; run the same command again to continue from the last checkpoint")]
    Interrupted {
        /// The last finished step.
        step: u64,
    },

    /// A model could not be read or run.
    #[error(transparent)]
    Model(#[from] relens_models::ModelError),

    /// A data set could not be read, or an evaluation failed.
    #[error(transparent)]
    Retrieval(relens::error::Error),

    /// A language model cannot be asked any more; what was finished is kept.
    #[error("{0}; what was finished is kept, run the same command again to go on")]
    Llm(relens::llm::LlmError),

    /// The tensor library failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl From<relens::error::Error> for TrainingError {
    /// What the user stopped before the first step is an interrupted run.
    fn from(error: relens::error::Error) -> Self {
        match error {
            relens::error::Error::Cancelled => Self::Interrupted { step: 0 },
            other => Self::Retrieval(other),
        }
    }
}

impl TrainingError {
    /// An [`TrainingError::Argument`] of `operation`.
    pub(crate) fn argument(
        operation: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self::Argument { operation, expected: expected.into(), found: found.into() }
    }

    /// A [`TrainingError::Setting`] of `field`.
    pub(crate) fn setting(
        field: impl Into<String>,
        expected: impl Into<String>,
        found: &impl ToString,
    ) -> Self {
        Self::Setting { field: field.into(), expected: expected.into(), found: found.to_string() }
    }
}
