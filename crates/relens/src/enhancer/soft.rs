//! The soft rewriter: what rewriting does to a query's embedding, learned as a small residual network.
//!
//! A rewrite is a text; what the retriever sees of it is the change of the embedding. With q the query's embedding,
//! `[dim]`, and s the strength:
//!
//! ```text
//! r = normalise(q + s · (W₂ · GELU(W₁ · q + b₁) + b₂))
//! ```
//!
//! The stage `soft` of `relens train` distils W and b from pairs of queries and rewrites that the retriever likes
//! better. No language model is asked at search, which costs microseconds instead of milliseconds.

use std::path::Path;
use std::sync::Arc;

use relens_models::weights::Weights;
use serde::{Deserialize, Serialize};

use super::{
    Combination, EnhancedQuery, Query, QueryEnhancer, RefineEmbeddings, Refinement, TraceEntry, WeightedText,
};
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::embed::similarity;
use crate::error::{Error, Result};

/// The network's file in its directory.
pub const WEIGHTS_FILE: &str = "soft_rewriter.safetensors";
/// What is known about the network, beside it.
pub const SETTINGS_FILE: &str = "soft_rewriter.json";

/// The network's name in errors and results.
const NAME: &str = "soft";

/// What a trained network says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftRewriterSettings {
    /// The fingerprint of the retriever in whose space the network works.
    pub retriever: String,
    /// s, what the change is multiplied by.
    pub strength: f32,
}

/// The trained weights, each matrix `[out, in]` as checkpoints store it.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftRewriterWeights {
    dim: usize,
    strength: f32,
    up: Vec<f32>,
    up_bias: Vec<f32>,
    down: Vec<f32>,
    down_bias: Vec<f32>,
}

impl SoftRewriterWeights {
    /// Reads `up.weight` `[hidden, dim]`, `up.bias`, `down.weight` `[dim, hidden]` and `down.bias` of a directory that
    /// the stage `soft` wrote.
    ///
    /// # Errors
    /// A file is missing or malformed; [`Error::Enhancer`] if the network belongs to another retriever than `embedder`,
    /// or its strength is not a finite number.
    pub fn open(directory: &Path, embedder: Option<&dyn TextEmbedder>) -> Result<Self> {
        let path = directory.join(SETTINGS_FILE);
        let refuse = |reason: String| Error::Enhancer { enhancer: path.display().to_string(), reason };
        let settings: SoftRewriterSettings =
            serde_json::from_slice(&fs_err::read(&path)?).map_err(|error| refuse(error.to_string()))?;
        if let Some(embedder) = embedder.filter(|embedder| embedder.fingerprint() != settings.retriever) {
            return Err(refuse(format!(
                "expected the retriever that the network was trained for ({}), found `{}` ({})",
                settings.retriever,
                embedder.name(),
                embedder.fingerprint()
            )));
        }
        if !settings.strength.is_finite() {
            return Err(refuse(format!("expected a finite strength, found {}", settings.strength)));
        }
        Self::read(&Weights::open(directory.join(WEIGHTS_FILE))?, settings.strength)
    }

    fn read(weights: &Weights, strength: f32) -> Result<Self> {
        let (hidden, dim) = match weights.shape("up.weight") {
            Some(&[hidden, dim]) => (hidden, dim),
            _ => (0, 0),
        };
        let read = |name: &str, shape: &[usize]| Ok::<_, Error>(weights.stored(name, shape)?.to_f32()?);
        Ok(Self {
            dim,
            strength,
            up: read("up.weight", &[hidden, dim])?,
            up_bias: read("up.bias", &[hidden])?,
            down: read("down.weight", &[dim, hidden])?,
            down_bias: read("down.bias", &[dim])?,
        })
    }

    /// The rewritten embedding, not normalised.
    fn forward(&self, query: &[f32]) -> Vec<f32> {
        let mut hidden = vec![0.0; self.up_bias.len()];
        similarity::scores(query, &self.up, self.dim, &mut hidden);
        hidden.iter_mut().zip(&self.up_bias).for_each(|(value, bias)| *value = gelu(*value + bias));
        let mut change = vec![0.0; self.dim];
        similarity::scores(&hidden, &self.down, hidden.len(), &mut change);
        let changes = change.iter().zip(&self.down_bias);
        changes.zip(query).map(|((change, bias), value)| value + self.strength * (change + bias)).collect()
    }
}

impl RefineEmbeddings for SoftRewriterWeights {
    fn refine(&self, rows: &mut [f32], dim: usize) -> Result<()> {
        if dim != self.dim {
            return Err(Error::Enhancer {
                enhancer: NAME.to_owned(),
                reason: format!("trained for embeddings of {} components, found {dim}", self.dim),
            });
        }
        for row in rows.chunks_exact_mut(dim) {
            let mut rewritten = Embeddings::from_rows(dim, self.forward(row))?;
            rewritten.normalise();
            row.copy_from_slice(rewritten.as_slice());
        }
        Ok(())
    }
}

/// x·Φ(x) through its tanh form, as the stage trains it.
fn gelu(x: f32) -> f32 {
    const SCALE: f32 = 0.797_884_6;
    0.5 * x * (1.0 + (SCALE * (x + 0.044_715 * x * x * x)).tanh())
}

/// The enhancer: the query's own text, whose embedding goes through the network.
pub struct SoftRewriter {
    weights: Arc<SoftRewriterWeights>,
}

impl SoftRewriter {
    /// Rewrites embeddings by `weights`.
    pub fn new(weights: SoftRewriterWeights) -> Self {
        Self { weights: Arc::new(weights) }
    }
}

impl QueryEnhancer for SoftRewriter {
    fn name(&self) -> &str {
        NAME
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        let reason = "the words stay; their embedding is rewritten".to_owned();
        Ok(EnhancedQuery {
            texts: vec![WeightedText { text: query.text().to_owned(), weight: 1.0 }],
            combination: Combination::Replace,
            trace: vec![TraceEntry::Kept { reason }],
            refinements: vec![Refinement { texts: 0..1, by: self.weights.clone() }],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};
    use relens_models::weights::{ElementType, save_tensors};

    use super::*;

    fn directory(strength: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let ramp =
            |count: usize, step: f32| (0..count).map(|i| ((i % 7) as f32 - 3.0) * step).collect::<Vec<_>>();
        let tensor =
            |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let tensors = BTreeMap::from([
            ("up.weight".to_owned(), tensor(ramp(12, 0.2), &[3, 4])),
            ("up.bias".to_owned(), tensor(ramp(3, 0.1), &[3])),
            ("down.weight".to_owned(), tensor(ramp(12, -0.1), &[4, 3])),
            ("down.bias".to_owned(), tensor(ramp(4, 0.05), &[4])),
        ]);
        save_tensors(&directory.path().join(WEIGHTS_FILE), &tensors, ElementType::F32).unwrap();
        let settings = format!(r#"{{"retriever": "words", "strength": {strength}}}"#);
        fs_err::write(directory.path().join(SETTINGS_FILE), settings).unwrap();
        directory
    }

    #[test]
    fn the_embedding_is_that_of_the_reference() {
        let directory = directory("0.5");
        let weights = SoftRewriterWeights::open(directory.path(), None).unwrap();
        let mut row = [0.1, -0.7, 0.5, 0.5];
        weights.refine(&mut row, 4).unwrap();
        // torch 2.x: q = x + 0.5 * (gelu(x @ up.T + up_b, approximate="tanh") @ down.T + down_b); q / q.norm()
        for (found, expected) in row.iter().zip(REFERENCE) {
            assert!((found - expected).abs() < 1e-5, "{row:?}");
        }
        assert!(weights.refine(&mut [0.0; 3], 3).is_err());
    }

    const REFERENCE: [f32; 4] = [0.001265, -0.739312, 0.464258, 0.487729];

    #[test]
    fn without_strength_the_query_stays_and_its_words_do_in_any_case() {
        let directory = directory("0.0");
        let soft = SoftRewriter::new(SoftRewriterWeights::open(directory.path(), None).unwrap());
        let enhanced = soft.enhance(&Query::new("a dog").unwrap()).unwrap();
        assert_eq!(enhanced.texts[0].text, "a dog");
        let mut rows = Embeddings::from_rows(4, vec![0.5, -0.5, 0.5, 0.5]).unwrap();
        enhanced.refinements[0].apply(&mut rows, 0).unwrap();
        assert_eq!(rows.row(0), [0.5, -0.5, 0.5, 0.5]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (strength, expected) in [("\"much\"", "invalid type"), ("1e99", "finite")] {
            let error = SoftRewriterWeights::open(directory(strength).path(), None).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = directory("1.0");
        fs_err::remove_file(missing.path().join(WEIGHTS_FILE)).unwrap();
        assert!(
            SoftRewriterWeights::open(missing.path(), None).unwrap_err().to_string().contains(WEIGHTS_FILE)
        );
    }
}
