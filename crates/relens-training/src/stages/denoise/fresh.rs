//! A T5 that has learned nothing yet: its vocabulary, its sizes, its initial weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use relens::enhancer::rewriter::RewriterModelConfig;
use relens::enhancer::rewriter::glosses::plain;
use relens::enhancer::rewriter::settings::SETTINGS_FILE;
use relens_models::atomic_file::write_atomically;
use relens_models::weights::{ElementType, tensors_to_bytes};
use serde_json::json;

use super::config::FreshModel;
use super::{copying_head, trunk};
use crate::data::corpus::{CorpusConfig, RewritingCorpus};
use crate::data::vocabulary;
use crate::random::{fill_normal, stream};
use crate::stages::rewriter::PolicyConfig;
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// The initial model's directory inside a run's.
const INITIAL: &str = "initial";
/// The directory while it is written.
const PARTIAL: &str = ".partial-initial";
/// Buckets of relative positions, T5's number.
pub(super) const BUCKETS: usize = 32;

/// What training from scratch starts with.
pub(crate) struct FreshStart<'a> {
    /// The run's directory, which gets the initial model.
    pub(crate) output: &'a Path,
    /// Its sizes.
    pub(crate) fresh: &'a FreshModel,
    /// How it is used.
    pub(crate) rewriter: &'a RewriterModelConfig,
    /// The corpus whose captions it will write.
    pub(crate) data: &'a CorpusConfig,
    /// Draws the weights.
    pub(crate) seed: u64,
}

impl FreshStart<'_> {
    /// The policy that begins in the run's directory; `texts` beside the training captions are what it should be able to
    /// write.
    ///
    /// # Errors
    /// The corpus or a trunk cannot be read; the texts cannot; a full disk.
    pub(crate) fn policy(
        &self,
        texts: impl FnOnce(&RewritingCorpus) -> Result<Vec<String>>,
        progress: &mut dyn Progress,
    ) -> Result<PolicyConfig> {
        let directory = self.output.join(INITIAL);
        if !directory.exists() {
            progress.message("learning a vocabulary and drawing initial weights");
            let corpus = RewritingCorpus::read(self.data)?;
            let texts = texts(&corpus)?;
            self.write(&directory, &corpus, &texts)?;
        }
        let frozen = match self.fresh.trunk {
            Some(_) => vec![trunk::PREFIX.to_owned()],
            None => Vec::new(),
        };
        Ok(PolicyConfig { rewriter: Some(self.rewriter.clone()), frozen, ..PolicyConfig::of(&directory) })
    }

    fn write(&self, directory: &Path, corpus: &RewritingCorpus, texts: &[String]) -> Result<()> {
        let partial = self.output.join(PARTIAL);
        if partial.exists() {
            fs_err::remove_dir_all(&partial)?;
        }
        fs_err::create_dir_all(&partial)?;
        let captions = corpus.training.iter().flat_map(|picture| &picture.captions);
        let texts = captions.chain(texts).map(String::as_str);
        let settings = self.rewriter.to_json()?.into_bytes();
        let generation = generation_config(self.rewriter.decoding.max_tokens).into_bytes();
        for (name, bytes) in [(SETTINGS_FILE, settings), ("generation_config.json", generation)] {
            write_atomically(&partial.join(name), &bytes)?;
        }
        match &self.fresh.trunk {
            Some(trunk) => {
                // Such a rewriter writes words only.
                let words: Vec<String> = texts.map(plain).collect();
                let words = words.iter().map(String::as_str);
                trunk::write(trunk, self.fresh, words, self.seed, &partial)?;
            }
            None => self.write_t5(&partial, corpus, texts)?,
        }
        Ok(fs_err::rename(&partial, directory)?)
    }

    fn write_t5<'t>(
        &self,
        partial: &Path,
        corpus: &RewritingCorpus,
        texts: impl Iterator<Item = &'t str> + Send,
    ) -> Result<()> {
        let fresh = self.fresh;
        let tokenizer = vocabulary::train(texts, fresh.vocabulary_size)?;
        let tensors = initial_weights(fresh, self.seed)?;
        let files = [
            ("tokenizer.json", tokenizer.clone()),
            ("tokenizer_config.json", vocabulary::tokenizer_config(fresh.positions).into_bytes()),
            ("config.json", model_config(fresh).into_bytes()),
            ("model.safetensors", tensors_to_bytes(&tensors, ElementType::F32)?),
        ];
        for (name, bytes) in files {
            write_atomically(&partial.join(name), &bytes)?;
        }
        if fresh.copying_head {
            let captions = spread_captions(corpus, &tokenizer, fresh.positions)?;
            self.give_copying_head(partial, tensors, &captions)?;
        }
        Ok(())
    }

    /// Writes the weights in `directory` anew, with a head that copies.
    fn give_copying_head(
        &self,
        directory: &Path,
        mut tensors: BTreeMap<String, Tensor>,
        captions: &[Vec<u32>],
    ) -> Result<()> {
        let path = directory.join("model.safetensors");
        let save = |tensors: &BTreeMap<String, Tensor>| -> Result<()> {
            Ok(write_atomically(&path, &tensors_to_bytes(tensors, ElementType::F32)?)?)
        };
        let subspaces = copying_head::write_previous_token_head(&mut tensors, self.fresh, self.seed)?;
        // The second head is fitted to what the first makes of captions.
        save(&tensors)?;
        copying_head::write_copying_head(&mut tensors, self.fresh, &subspaces, directory, captions)?;
        save(&tensors)
    }
}

/// Captions that the copying head is fitted on.
const FITTED_CAPTIONS: usize = 256;

/// The token ids of captions, evenly spread over the training pictures.
fn spread_captions(corpus: &RewritingCorpus, tokenizer: &[u8], most: usize) -> Result<Vec<Vec<u32>>> {
    let failed = |error: tokenizers::Error| {
        TrainingError::argument("copying head", "a tokenizer for captions", error.to_string())
    };
    let tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer).map_err(failed)?;
    let step = (corpus.training.len() / FITTED_CAPTIONS).max(1);
    let captions = corpus.training.iter().step_by(step).filter_map(|picture| picture.captions.first());
    let encode = |caption: &String| {
        let mut ids = tokenizer.encode(caption.as_str(), true).map_err(failed)?.get_ids().to_vec();
        ids.truncate(most);
        Ok(ids)
    };
    captions.map(encode).collect()
}

/// Hugging Face's `config.json`.
pub(super) fn model_config(model: &FreshModel) -> String {
    let config = json!({
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": true,
        "vocab_size": model.vocabulary_size,
        "d_model": model.d_model,
        "d_kv": model.d_kv,
        "d_ff": model.d_ff,
        "num_layers": model.layers,
        "num_decoder_layers": model.decoder_layers,
        "num_heads": model.heads,
        "relative_attention_num_buckets": BUCKETS,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": model.feed_forward,
        "dropout_rate": model.dropout,
        "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0,
        "n_positions": model.positions,
        "tie_word_embeddings": true,
        "use_cache": true,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
    });
    format!("{config:#}\n")
}

fn generation_config(max_tokens: usize) -> String {
    let config = json!({
        "decoder_start_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "max_new_tokens": max_tokens,
    });
    format!("{config:#}\n")
}

/// The initialisation of T5 (transformers' `T5PreTrainedModel._init_weights` with factor 1): deviations such that
/// attention scores need no scaling.
pub(super) fn initial_weights(model: &FreshModel, seed: u64) -> Result<BTreeMap<String, Tensor>> {
    let mut weights = Initial::new(seed);
    weights.normal("shared.weight", &[model.vocabulary_size, model.d_model], 1.0)?;
    weights.stack("encoder", model.layers, model)?;
    weights.stack("decoder", model.decoder_layers, model)?;
    Ok(weights.into_tensors())
}

/// Initial weights while they are drawn.
pub(super) struct Initial {
    tensors: BTreeMap<String, Tensor>,
    seed: u64,
}

impl Initial {
    pub(super) fn new(seed: u64) -> Self {
        Self { tensors: BTreeMap::new(), seed }
    }

    pub(super) fn into_tensors(self) -> BTreeMap<String, Tensor> {
        self.tensors
    }

    /// The layers of the encoder or of the decoder.
    pub(super) fn stack(&mut self, stack: &str, layers: usize, model: &FreshModel) -> Result<()> {
        let width = model.d_model;
        for layer in 0..layers {
            let block = format!("{stack}.block.{layer}.layer");
            self.attention(&format!("{block}.0"), "SelfAttention", model)?;
            if layer == 0 {
                let name = format!("{block}.0.SelfAttention.relative_attention_bias.weight");
                self.normal(&name, &[BUCKETS, model.heads], (width as f64).powf(-0.5))?;
            }
            let feed_forward = if stack == "decoder" {
                self.attention(&format!("{block}.1"), "EncDecAttention", model)?;
                2
            } else {
                1
            };
            self.feed_forward(&format!("{block}.{feed_forward}"), model)?;
        }
        self.ones(&format!("{stack}.final_layer_norm.weight"), width)
    }

    pub(super) fn normal(&mut self, name: &str, shape: &[usize], deviation: f64) -> Result<()> {
        let mut values = vec![0f32; shape.iter().product()];
        fill_normal(&mut values, &mut stream(self.seed, &format!("initial {name}"), 0));
        values.iter_mut().for_each(|value| *value *= deviation as f32);
        self.tensors.insert(name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    }

    pub(super) fn ones(&mut self, name: &str, width: usize) -> Result<()> {
        self.tensors.insert(name.to_owned(), Tensor::from_vec(vec![1f32; width], width, &Device::Cpu)?);
        Ok(())
    }

    fn attention(&mut self, layer: &str, kind: &str, model: &FreshModel) -> Result<()> {
        let (width, inner) = (model.d_model, model.heads * model.d_kv);
        let (by_width, by_inner) = ((width as f64).powf(-0.5), (inner as f64).powf(-0.5));
        let by_head = (model.d_kv as f64).powf(-0.5);
        self.normal(&format!("{layer}.{kind}.q.weight"), &[inner, width], by_width * by_head)?;
        self.normal(&format!("{layer}.{kind}.k.weight"), &[inner, width], by_width)?;
        self.normal(&format!("{layer}.{kind}.v.weight"), &[inner, width], by_width)?;
        self.normal(&format!("{layer}.{kind}.o.weight"), &[width, inner], by_inner)?;
        self.ones(&format!("{layer}.layer_norm.weight"), width)
    }

    fn feed_forward(&mut self, layer: &str, model: &FreshModel) -> Result<()> {
        let (width, inner) = (model.d_model, model.d_ff);
        let gated = model.feed_forward.starts_with("gated-");
        let inputs: &[&str] = if gated { &["wi_0", "wi_1"] } else { &["wi"] };
        for name in inputs {
            let name = format!("{layer}.DenseReluDense.{name}.weight");
            self.normal(&name, &[inner, width], (width as f64).powf(-0.5))?;
        }
        let output = format!("{layer}.DenseReluDense.wo.weight");
        self.normal(&output, &[width, inner], (inner as f64).powf(-0.5))?;
        self.ones(&format!("{layer}.layer_norm.weight"), width)
    }
}
