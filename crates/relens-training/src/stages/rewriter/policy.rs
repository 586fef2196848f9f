//! The language model that learns, with its tokenizer, its prompts and the files beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use relens::enhancer::Query;
use relens::enhancer::rewriter::settings::SETTINGS_FILE;
use relens::enhancer::rewriter::{Glosses, PromptBuilder, RewriterModelConfig};
use relens::knowledge::Knowledge;
use relens_models::dual_encoder::architecture::open_weights;
use relens_models::language_model::{self, CheckpointedPass, LanguageModel, PromptTargetBatch};
use relens_models::layers::DropoutGenerator;
use relens_models::lora::LoraAdapter;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::{TokenBatch, Tokenizer};
use relens_models::weights::{TrainableParameters, Weights};

use super::config::PolicyConfig;
use super::model_sizes::ModelSizes;
use crate::optimizer::{Gradients, NamedParameter};
use crate::random::stream;
use crate::run::trainer::set_variable;
use crate::{Result, TrainingError};

/// Files of a rewriter's directory that training hands on as they are.
const HANDED_ON: [&str; 5] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// The policy.
pub(crate) struct Policy {
    model: Box<dyn LanguageModel>,
    tokenizer: Tokenizer,
    prompts: PromptBuilder,
    settings: RewriterModelConfig,
    trainable: Arc<TrainableParameters>,
    adapter: Option<Arc<LoraAdapter>>,
    start_from: PathBuf,
    weights: Weights,
    files: Vec<(String, Vec<u8>)>,
    dropout: bool,
    checkpointing: bool,
    seed: u64,
}

impl Policy {
    /// Opens the directory that a stage starts from; all of its weights but the
    /// frozen ones are trained, or an adapter of them.
    ///
    /// `seed` decides dropout and an adapter's initial weights; `checkpointing` says whether the inside of layers is
    /// computed anew on the way back.
    pub(crate) fn open(config: &PolicyConfig, seed: u64, checkpointing: bool) -> Result<Self> {
        let directory = &config.start_from;
        if directory.as_os_str().is_empty() {
            return Err(TrainingError::setting("policy.start_from", "a rewriter's directory", &"none"));
        }
        let rewriter = match &config.rewriter {
            Some(rewriter) => rewriter.clone(),
            None => RewriterModelConfig::open(directory)?,
        };
        rewriter.check(&directory.display().to_string())?;
        let weights = open_weights(directory)?;
        let adapter = match &config.lora {
            Some(lora) => Some(LoraAdapter::new(lora.clone(), seed)?),
            None => None,
        };
        let (parameters, trainable) = match &adapter {
            Some(adapter) => {
                let parameters = Parameters::frozen(weights.clone()).with_adapter(adapter.clone());
                (parameters, adapter.parameters().clone())
            }
            None => {
                let frozen = config.frozen.clone();
                let learns = move |name: &str| !frozen.iter().any(|prefix| name.starts_with(prefix));
                Parameters::trainable(weights.clone(), learns)
            }
        };
        let model = language_model::load(directory, &parameters)?;
        if let Some(adapter) = &adapter {
            adapter.check_attached()?;
        }
        let context = rewriter.prompt.max_tokens.min(model.context_length());
        let tokenizer = Tokenizer::open(directory, context)?;
        let prompts = PromptBuilder::new(&rewriter.prompt, || Knowledge::bundled().map(Arc::new), None)?;
        Ok(Self {
            model,
            tokenizer,
            prompts,
            trainable,
            adapter,
            start_from: directory.clone(),
            weights,
            files: handed_on(directory)?,
            settings: rewriter,
            dropout: config.dropout,
            checkpointing,
            seed,
        })
    }

    /// The language model.
    pub(crate) fn model(&self) -> &dyn LanguageModel {
        &*self.model
    }

    /// How the rewriter is used.
    pub(crate) fn settings(&self) -> &RewriterModelConfig {
        &self.settings
    }

    /// Everything that learns, sorted by name.
    pub(crate) fn parameters(&self) -> Vec<NamedParameter> {
        let entries = self.trainable.entries().into_iter();
        entries.map(|(name, parameter)| NamedParameter::new(name, parameter.var)).collect()
    }

    /// Sets the variables that `values` names, in the form in which the optimizer holds them.
    pub(crate) fn set(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, parameter) in self.trainable.entries() {
            set_variable(&name, &parameter.var, values)?;
        }
        Ok(())
    }

    /// The adapter that learns in the weights' place, if one does.
    pub(crate) fn adapter(&self) -> Option<&LoraAdapter> {
        self.adapter.as_deref()
    }

    /// The directory that the run started from, which an adapter belongs to.
    pub(crate) fn base(&self) -> String {
        self.start_from.display().to_string()
    }

    /// PEFT's word for what the model does.
    pub(crate) fn task_type(&self) -> Result<&'static str> {
        Ok(if ModelSizes::open(&self.start_from)?.has_encoder() { "SEQ_2_SEQ_LM" } else { "CAUSAL_LM" })
    }

    /// The present weights, all of them, in the checkpoint's layout; an adapter is merged.
    pub(crate) fn export(&self) -> Result<BTreeMap<String, Tensor>> {
        if let Some(adapter) = &self.adapter {
            return Ok(adapter.merged_tensors(&self.weights)?);
        }
        let mut tensors = self.trainable.export()?;
        for name in self.weights.names() {
            if !tensors.contains_key(name) && !is_copy_of_embedding(name) {
                let shape = self.weights.shape(name).unwrap_or_default();
                tensors.insert(name.to_owned(), self.weights.tensor(name, shape)?);
            }
        }
        Ok(tensors)
    }

    /// The files that a finished rewriter takes over from where it started.
    pub(crate) fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = self.files.clone();
        files.push((SETTINGS_FILE.to_owned(), self.settings.to_json()?.into_bytes()));
        Ok(files)
    }

    /// The prompts of queries.
    pub(crate) fn prompts(&self, queries: &[&str]) -> Result<Vec<String>> {
        let queries: Vec<Query> = queries.iter().map(|query| Query::new(query)).collect::<Result<_, _>>()?;
        Ok(self.prompts.prompts(&queries)?)
    }

    /// What says what a query's unfamiliar words mean, where prompts have that.
    pub(crate) fn glosses(&self) -> Option<&Glosses> {
        self.prompts.glosses()
    }

    /// The prompt of a text that stands in the query's place as it is.
    pub(crate) fn prompt_around(&self, text: &str) -> String {
        self.prompts.around(text)
    }

    /// Prompts as ids; what is too long loses its end.
    pub(crate) fn encode_prompts(&self, prompts: &[&str]) -> Result<TokenBatch> {
        Ok(self.tokenizer.encode_batch(prompts)?)
    }

    /// Targets as ids, each with the end of sequence; one that lost its end is marked as truncated.
    pub(crate) fn encode_targets(&self, targets: &[&str]) -> Result<TokenBatch> {
        let plain = self.tokenizer.encode_batch_plain(targets)?;
        let end = self.model.end_of_sequence().first().copied().unwrap_or(0);
        let mut ended = TokenBatch::empty();
        for index in 0..plain.len() {
            let ids = plain.sequence(index).unwrap_or_default();
            ended.push(&[ids, &[end]].concat());
        }
        ended.truncated = plain.truncated;
        Ok(ended)
    }

    /// The text of generated ids.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = self.tokenizer.decode(ids)?;
        Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Most tokens of a target after a prompt, the end of sequence included.
    pub(crate) fn most_target_tokens(&self, prompt_length: usize) -> usize {
        self.settings.decoding.max_tokens.min(self.model.most_target_tokens(prompt_length))
    }

    /// Where the dropout masks of a micro-batch come from.
    pub(crate) fn dropout(&self, step: u64, micro_batch: usize) -> Option<DropoutGenerator> {
        let counter = (step << 16) + micro_batch as u64;
        self.dropout.then(|| stream(self.seed, "policy dropout", counter))
    }

    /// The hidden states that predict the targets, without dropout or a way back.
    pub(crate) fn hidden(&self, batch: &PromptTargetBatch) -> Result<Tensor> {
        Ok(self.model.target_hidden(batch, None)?.detach())
    }

    /// The same with a way back for the gradient, and with dropout if a generator is given.
    pub(crate) fn pass(
        &self,
        batch: &PromptTargetBatch,
        mut dropout: Option<DropoutGenerator>,
    ) -> Result<PolicyPass<'_>> {
        if self.checkpointing {
            let pass = self.model.checkpointed_target_hidden(batch, dropout)?;
            return Ok(PolicyPass { hidden: pass.hidden().clone(), checkpoints: Some(pass) });
        }
        let hidden = self.model.target_hidden(batch, dropout.as_mut())?;
        Ok(PolicyPass { hidden, checkpoints: None })
    }
}

/// A batch on its way through the policy and back.
pub(crate) struct PolicyPass<'a> {
    /// `[total_target_tokens, width]`
    pub(crate) hidden: Tensor,
    checkpoints: Option<Box<dyn CheckpointedPass + 'a>>,
}

impl PolicyPass<'_> {
    /// The gradients of a loss of the hidden states.
    pub(crate) fn gradients(
        &self,
        loss: &Tensor,
        parameters: &[NamedParameter],
        step: u64,
    ) -> Result<Gradients> {
        let mut store = loss.backward()?;
        if let Some(checkpoints) = &self.checkpoints {
            let variables: Vec<_> = parameters.iter().map(|parameter| parameter.var.clone()).collect();
            checkpoints.backward(&mut store, &variables)?;
        }
        Gradients::take(&mut store, parameters, step)
    }
}

/// A tied table is stored once.
fn is_copy_of_embedding(name: &str) -> bool {
    matches!(name, "encoder.embed_tokens.weight" | "decoder.embed_tokens.weight")
}

fn handed_on(directory: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let present = HANDED_ON.iter().filter(|name| directory.join(name).is_file());
    present.map(|name| Ok(((*name).to_owned(), fs_err::read(directory.join(name))?))).collect()
}
