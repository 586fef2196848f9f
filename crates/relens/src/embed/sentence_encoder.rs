//! Whether two texts mean the same: cosines of mean-pooled BERT states, as sentence-transformers computes them.

use std::path::Path;

use candle_core::Tensor;
use relens_models::dual_encoder::{TEXT_CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE};
use relens_models::ops::{l2_normalize, mean_pool};
use relens_models::parameters::Parameters;
use relens_models::tokenizer::Tokenizer;
use relens_models::towers::bert::{BertConfig, BertModel};
use relens_models::weights::Weights;

use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};

/// The weights of a sentence-transformers directory.
const SENTENCE_WEIGHTS_FILE: &str = "model.safetensors";
/// Where a retriever in the open_clip layout keeps its text trunk.
const TRUNK: &str = "text.transformer";
/// Tokens of a text that are read; sentence-transformers' own limit for MiniLM.
const CONTEXT_LENGTH: usize = 256;
/// Texts that go through the model at once.
const BATCH: usize = 64;

/// A sentence encoder of the BERT family with mean pooling, such as all-MiniLM-L6-v2.
#[derive(Debug)]
pub struct SentenceEncoder {
    name: String,
    model: BertModel,
    tokenizer: Tokenizer,
    width: usize,
}

impl SentenceEncoder {
    /// Opens a directory in the Hugging Face layout, or a retriever whose text trunk is a BERT: that trunk is used as it
    /// is, without the projection. The bundled retriever's is all-MiniLM-L6-v2, unchanged by its training.
    ///
    /// # Errors
    /// A file is missing or malformed, or the model is no BERT.
    pub fn open(directory: &Path) -> Result<Self> {
        let own = directory.join(SENTENCE_WEIGHTS_FILE);
        let retriever = !own.is_file() && directory.join(WEIGHTS_FILE).is_file();
        let weights = Weights::open(if retriever { directory.join(WEIGHTS_FILE) } else { own })?;
        let parameters = Parameters::frozen(weights);
        let parameters = if retriever { parameters.pp(TRUNK) } else { parameters };
        let config = BertConfig::open(directory.join(TEXT_CONFIG_FILE))?;
        let context = CONTEXT_LENGTH.min(config.max_position_embeddings);
        Ok(Self {
            name: directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            model: BertModel::load(&parameters, &config)?,
            tokenizer: Tokenizer::open(directory.join(TOKENIZER_FILE), context)?,
            width: config.hidden_size,
        })
    }

    fn embed(&self, texts: &[&str]) -> Result<Tensor, relens_models::ModelError> {
        let tokens = self.tokenizer.encode_batch(texts)?;
        l2_normalize(&mean_pool(&self.model.forward(&tokens)?, &tokens.offsets)?)
    }
}

impl TextEmbedder for SentenceEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.name
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        let mut embeddings = Embeddings::new(self.width);
        for batch in texts.chunks(BATCH) {
            let values = self.embed(batch)?.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
            let rows = Embeddings::from_rows(self.width, values.map_err(relens_models::ModelError::from)?)?;
            rows.ensure_finite("sentences")?;
            embeddings.append(&rows)?;
        }
        Ok(embeddings)
    }
}

/// The cosine of each pair of texts under `encoder`, every different text embedded once.
///
/// # Errors
/// Those of the encoder.
pub fn similarities(encoder: &dyn TextEmbedder, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
    let mut texts: Vec<&str> = pairs.iter().flat_map(|(left, right)| [*left, *right]).collect();
    texts.sort_unstable();
    texts.dedup();
    let embeddings = encoder.embed_texts(&texts)?;
    let row = |text: &str| texts.binary_search(&text).ok().and_then(|position| embeddings.get(position));
    pairs
        .iter()
        .map(|(left, right)| match (row(left), row(right)) {
            (Some(left), Some(right)) => Ok(left.iter().zip(right).map(|(a, b)| a * b).sum()),
            _ => Err(Error::Argument {
                operation: "similarities",
                expected: format!("{} embeddings", texts.len()),
                found: embeddings.rows().to_string(),
            }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model_hub::bundled;

    #[test]
    fn the_bundled_trunk_tells_paraphrases_from_other_sentences() {
        let encoder = SentenceEncoder::open(&bundled::model("relens-mini").unwrap()).unwrap();
        let pairs = [
            ("a man is playing a guitar", "a guy plays the guitar"),
            ("a man is playing a guitar", "two dogs run on the beach"),
            ("a man is playing a guitar", "a man is playing a guitar"),
        ];
        let found = similarities(&encoder, &pairs).unwrap();
        assert!(found[0] > 0.8 && found[1] < 0.3 && (found[2] - 1.0).abs() < 1e-5, "{found:?}");
    }
}
