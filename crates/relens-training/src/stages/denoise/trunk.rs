//! A rewriter that has learned nothing yet on top of a text trunk that knows words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use relens_models::atomic_file::write_atomically;
use relens_models::dual_encoder::architecture::open_weights;
use relens_models::language_model::bert_t5::BertT5Config;
use relens_models::towers::bert::BertConfig;
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::config::FreshModel;
use super::fresh::{BUCKETS, Initial};
use crate::data::writable_vocabulary;
use crate::{Result, TrainingError};

/// What stands before the trunk's names in the rewriter.
pub(super) const PREFIX: &str = "encoder.";
/// What every BERT has, wherever in a checkpoint it lies.
const WORDS: &str = "embeddings.word_embeddings.weight";

/// The trunk that a fresh rewriter reads with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkConfig {
    /// A directory with `config.json` and `tokenizer.json` of a BERT, and weights that hold one under any prefix: a
    /// retriever's, as `models/relens-mini`, or a sentence encoder's.
    pub model: PathBuf,
}

/// Writes tokenizer, configuration and initial weights to `directory`; `fresh` has the decoder's sizes, `texts` are what
/// the rewriter will have to write.
///
/// # Errors
/// The trunk is missing, malformed, or no BERT.
pub(super) fn write<'a>(
    trunk: &TrunkConfig,
    fresh: &FreshModel,
    texts: impl IntoIterator<Item = &'a str>,
    seed: u64,
    directory: &Path,
) -> Result<()> {
    let encoder = BertConfig::open(trunk.model.join("config.json"))?;
    let tokenizer = fs_err::read(trunk.model.join("tokenizer.json"))?;
    let vocabulary = writable_vocabulary::reorder(&tokenizer, texts)?;
    if vocabulary.order.len() != encoder.vocab_size {
        return Err(TrainingError::Data {
            path: trunk.model.clone(),
            reason: format!(
                "the tokenizer has {} tokens and the model {}; expected the same number",
                vocabulary.order.len(),
                encoder.vocab_size
            ),
        });
    }
    let decoder =
        FreshModel { vocabulary_size: vocabulary.writable, d_model: encoder.hidden_size, ..fresh.clone() };
    let mut tensors = trunk_weights(&trunk.model, &encoder, &vocabulary.order)?;
    let words = tensors.get(&format!("{PREFIX}{WORDS}")).cloned();
    let words = words.ok_or_else(|| TrainingError::argument("trunk", WORDS, "none".to_owned()))?;
    writing_half(&mut tensors, &words, &decoder, seed)?;
    let config = model_config(&encoder, &decoder);
    BertT5Config::from_json(&config, &directory.join("config.json"))?;
    write_atomically(&directory.join("tokenizer.json"), &vocabulary.tokenizer)?;
    write_atomically(&directory.join("config.json"), config.as_bytes())?;
    let weights = tensors_to_bytes(&tensors, ElementType::F32)?;
    Ok(write_atomically(&directory.join("model.safetensors"), &weights)?)
}

/// `config.json` before the vocabulary is known, of which `fresh.vocabulary_size` is a guess: for plans.
///
/// # Errors
/// The trunk's configuration is missing or malformed.
pub(super) fn expected_config(trunk: &TrunkConfig, fresh: &FreshModel) -> Result<String> {
    let encoder = BertConfig::open(trunk.model.join("config.json"))?;
    let vocabulary_size = fresh.vocabulary_size.min(encoder.vocab_size);
    let decoder = FreshModel { vocabulary_size, d_model: encoder.hidden_size, ..fresh.clone() };
    Ok(model_config(&encoder, &decoder))
}

/// The trunk's tensors under `encoder.`, the words in the new order.
fn trunk_weights(directory: &Path, config: &BertConfig, order: &[u32]) -> Result<BTreeMap<String, Tensor>> {
    let weights = open_weights(directory)?;
    let prefix = prefix(&weights, directory)?;
    let mut tensors = BTreeMap::new();
    for name in weights.names() {
        let Some(local) = name.strip_prefix(&prefix) else { continue };
        if !local.starts_with("embeddings.") && !local.starts_with("encoder.layer.") {
            continue;
        }
        // Numbers of positions are no weights, though old checkpoints hold them.
        let Some(shape) = weights.shape(name).filter(|_| !local.ends_with("position_ids")) else { continue };
        let mut tensor = weights.tensor(name, shape)?;
        if local == WORDS {
            let rows = Tensor::from_slice(order, order.len(), &Device::Cpu)?;
            tensor = tensor.index_select(&rows, 0)?;
        }
        tensors.insert(format!("{PREFIX}{local}"), tensor);
    }
    let words = tensors.get(&format!("{PREFIX}{WORDS}")).map(Tensor::dims);
    let expected = [config.vocab_size, config.hidden_size];
    if words != Some(&expected[..]) {
        let reason = format!("expected `{prefix}{WORDS}` of shape {expected:?}, found {words:?}");
        return Err(TrainingError::Data { path: directory.to_owned(), reason });
    }
    Ok(tensors)
}

/// What stands before the trunk's names.
fn prefix(weights: &Weights, directory: &Path) -> Result<String> {
    let mut found = weights.names().filter_map(|name| name.strip_suffix(WORDS));
    match (found.next(), found.next()) {
        (Some(prefix), None) => Ok(prefix.to_owned()),
        (first, second) => Err(TrainingError::Data {
            path: directory.to_owned(),
            reason: format!(
                "expected one tensor whose name ends in `{WORDS}`, found {}",
                [first, second].iter().flatten().count()
            ),
        }),
    }
}

/// Everything but the trunk: the decoder as T5 begins, its table and the memory as the trunk has them.
fn writing_half(
    tensors: &mut BTreeMap<String, Tensor>,
    words: &Tensor,
    decoder: &FreshModel,
    seed: u64,
) -> Result<()> {
    let width = decoder.d_model;
    let by_width = (width as f64).powf(-0.5);
    // T5's table has numbers of deviation 1, as have the trunk's last states.
    let deviation = f64::from(words.sqr()?.mean_all()?.to_scalar::<f32>()?).sqrt();
    let scale = 1.0 / deviation.max(1e-6);
    let mut initial = Initial::new(seed);
    initial.stack("decoder", decoder.decoder_layers, decoder)?;
    initial.normal("copying.gate.weight", &[1, width], 0.06 * by_width)?;
    initial.normal("memory.before", &[width, width], by_width)?;
    initial.ones("memory_norm.weight", width)?;
    let mut fresh = initial.into_tensors();
    let before = fresh.remove("memory.before");
    let before =
        before.ok_or_else(|| TrainingError::argument("trunk", "memory.before", "none".to_owned()))?;
    let identity = Tensor::eye(width, words.dtype(), &Device::Cpu)?;
    // The last state and the word as they are, the word before it turned, so that the three can be told apart.
    let memory = Tensor::cat(&[identity.clone(), (&identity * scale)?, (&before * scale)?], 1)?;
    tensors.insert("memory.weight".to_owned(), memory);
    // A decoder's state begins as the word that it wrote last, so that keys which turn the words before back find what
    // followed that word in the prompt: a fresh rewriter copies from its first step on.
    tensors.insert("copying.q.weight".to_owned(), identity);
    tensors.insert("copying.k.weight".to_owned(), before.t()?.contiguous()?);
    tensors.insert("shared.weight".to_owned(), (words.narrow(0, 0, decoder.vocabulary_size)? * scale)?);
    tensors.insert("copying.gate.bias".to_owned(), Tensor::from_vec(vec![COPYING], 1, &Device::Cpu)?);
    tensors.extend(fresh);
    Ok(())
}

/// How strongly a fresh model copies: enough for a token to stand out, not to be certain.
const COPYING: f32 = 0.3;

/// `config.json`. The trunk is frozen, so nothing of it is dropped.
fn model_config(encoder: &BertConfig, decoder: &FreshModel) -> String {
    let encoder =
        BertConfig { hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0, ..encoder.clone() };
    let config = json!({
        "model_type": BertT5Config::MODEL_TYPE,
        "is_encoder_decoder": true,
        "encoder": encoder,
        "decoder": {
            "vocab_size": decoder.vocabulary_size,
            "d_model": decoder.d_model,
            "d_kv": decoder.d_kv,
            "d_ff": decoder.d_ff,
            "num_layers": decoder.decoder_layers,
            "num_heads": decoder.heads,
            "relative_attention_num_buckets": BUCKETS,
            "relative_attention_max_distance": 128,
            "feed_forward_proj": decoder.feed_forward,
            "dropout_rate": decoder.dropout,
            "layer_norm_epsilon": 1e-6,
            "n_positions": decoder.positions,
            "tie_word_embeddings": true,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "decoder_start_token_id": 0,
        },
    });
    format!("{config:#}\n")
}
