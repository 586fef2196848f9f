//! CLIP-GPT: a small self-attention over the embeddings of an entity's descriptions decides which of them count.
//!
//! Source: Maniparambil et al., "Enhancing CLIP with GPT-4: Harnessing Visual Descriptions as Prompts" (2023),
//! section 3.2, as EvdCLIP compares it. With X the descriptions' embeddings, `[n, d]`, and d_k = d_v = d/4:
//!
//! ```text
//! A = softmax(X·Wq (X·Wk)ᵀ / √d_k) · X·Wv · Wo          one head, no biases
//! Y = r · LayerNorm(A + X) + (1 − r) · X                  r: the residual ratio
//! ```
//!
//! The mean of Y's rows, scaled to length 1, stands for all descriptions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use relens_models::weights::Weights;
use serde::Deserialize;

use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::embed::similarity::dot;
use crate::enhancer::descriptions::{Descriptions, Template};
use crate::enhancer::open::{EnhancerContext, EnhancerTable};
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer, RefineEmbeddings, Refinement};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// As in `torch.nn.LayerNorm`.
const LAYER_NORM_EPSILON: f32 = 1e-5;

/// The trained weights, each projection `[out, in]` as checkpoints store it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterWeights {
    dim: usize,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    output: Vec<f32>,
    norm_weight: Vec<f32>,
    norm_bias: Vec<f32>,
    residual_ratio: f32,
}

impl AdapterWeights {
    /// Reads `attention.{query,key,value,output}.weight`, `norm.{weight,bias}` and `residual_ratio` from a safetensors
    /// file.
    ///
    /// # Errors
    /// [`Error::Model`] naming the tensor that is missing or has another shape; [`Error::Enhancer`] if the residual
    /// ratio is not within 0 and 1.
    pub fn open(path: &Path) -> Result<Self> {
        let weights = Weights::open(path)?;
        let dim = weights.shape("norm.weight").and_then(|shape| shape.first().copied()).unwrap_or(0);
        let head = dim / 4;
        let read = |name: &str, shape: &[usize]| Ok::<_, Error>(weights.stored(name, shape)?.to_f32()?);
        let residual_ratio = read("residual_ratio", &[1])?.first().copied().unwrap_or_default();
        if !(0.0..=1.0).contains(&residual_ratio) || head == 0 {
            return Err(Error::Enhancer {
                enhancer: "adapter".to_owned(),
                reason: format!(
                    "{}: expected a residual_ratio of 0 to 1 and at least 4 components, found {residual_ratio} and {dim}",
                    path.display()
                ),
            });
        }
        Ok(Self {
            dim,
            query: read("attention.query.weight", &[head, dim])?,
            key: read("attention.key.weight", &[head, dim])?,
            value: read("attention.value.weight", &[head, dim])?,
            output: read("attention.output.weight", &[dim, head])?,
            norm_weight: read("norm.weight", &[dim])?,
            norm_bias: read("norm.bias", &[dim])?,
            residual_ratio,
        })
    }

    /// The adapted rows.
    ///
    /// # Shapes
    /// - `rows`: `[n, dim]`, row-major
    /// - result: `[n, dim]`, not normalised
    fn forward(&self, rows: &[f32]) -> Vec<f32> {
        let head = self.dim / 4;
        let scale = 1.0 / (head as f32).sqrt();
        let [queries, keys, values] =
            [&self.query, &self.key, &self.value].map(|weight| project(rows, weight, self.dim));
        let mut adapted = Vec::with_capacity(rows.len());
        for (row, query) in rows.chunks_exact(self.dim).zip(queries.chunks_exact(head)) {
            let mut attention: Vec<f32> =
                keys.chunks_exact(head).map(|key| dot(query, key) * scale).collect();
            softmax(&mut attention);
            let mut mixed = vec![0.0; head];
            for (share, value) in attention.iter().zip(values.chunks_exact(head)) {
                mixed.iter_mut().zip(value).for_each(|(mixed, value)| *mixed += share * value);
            }
            let mut output = project(&mixed, &self.output, head);
            output.iter_mut().zip(row).for_each(|(output, input)| *output += input);
            self.layer_norm(&mut output);
            let ratio = self.residual_ratio;
            adapted.extend(output.iter().zip(row).map(|(new, old)| ratio * new + (1.0 - ratio) * old));
        }
        adapted
    }

    fn layer_norm(&self, row: &mut [f32]) {
        let count = row.len() as f32;
        let mean = row.iter().sum::<f32>() / count;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        let scale = 1.0 / (variance + LAYER_NORM_EPSILON).sqrt();
        for ((value, weight), bias) in row.iter_mut().zip(&self.norm_weight).zip(&self.norm_bias) {
            *value = (*value - mean) * scale * weight + bias;
        }
    }
}

impl RefineEmbeddings for AdapterWeights {
    /// Puts the normalised mean of the adapted rows into every row: whatever way they are combined, it counts.
    fn refine(&self, rows: &mut [f32], dim: usize) -> Result<()> {
        if dim != self.dim {
            return Err(Error::Enhancer {
                enhancer: "adapter".to_owned(),
                reason: format!("trained for embeddings of {} components, found {dim}", self.dim),
            });
        }
        let adapted = self.forward(rows);
        let mut mean = vec![0.0; dim];
        for row in adapted.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
        }
        let mut mean = Embeddings::from_rows(dim, mean)?;
        mean.normalise();
        rows.chunks_exact_mut(dim).for_each(|row| row.copy_from_slice(mean.as_slice()));
        Ok(())
    }
}

/// `rows · weightᵀ`, weight `[out, in]`.
fn project(rows: &[f32], weight: &[f32], inputs: usize) -> Vec<f32> {
    rows.chunks_exact(inputs)
        .flat_map(|row| weight.chunks_exact(inputs).map(|column| dot(row, column)))
        .collect()
}

fn softmax(values: &mut [f32]) {
    let largest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    values.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let total: f32 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= total);
}

/// How much of a retriever's fingerprint is in the name of its adapter's file.
const FINGERPRINT_CHARACTERS: usize = 16;

/// The bundled weights for a retriever: `adapter-FINGERPRINT.safetensors` beside the bundled knowledge base, for weights
/// mean something in the space of the retriever that they were trained with, and nowhere else.
///
/// # Errors
/// [`Error::Enhancer`] if none come with relens for this retriever; those of [`AdapterWeights::open`].
pub fn bundled_weights(embedder: Option<&dyn TextEmbedder>) -> Result<AdapterWeights> {
    let refused = |reason: String| Error::Enhancer { enhancer: "adapter".to_owned(), reason };
    let embedder = embedder.ok_or_else(|| {
        refused("expected a retriever, or the setting `weights` in a .toml file, found neither".to_owned())
    })?;
    let fingerprint: String = embedder.fingerprint().chars().take(FINGERPRINT_CHARACTERS).collect();
    let path = bundled::model(knowledge_base::BUNDLED)?.join(format!("adapter-{fingerprint}.safetensors"));
    if !path.is_file() {
        return Err(refused(format!(
            "no adapter for the retriever `{}` comes with relens ({} is not there): train one with `relens train \
             adapter`, and name it by the setting `weights` in a .toml file",
            embedder.name(),
            path.display()
        )));
    }
    AdapterWeights::open(&path)
}

/// What `adapter` can be set to beside what all enhancers of entities can.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdapterConfig {
    /// The trained weights; default: the bundled ones, if they were trained for the retriever in use.
    pub weights: Option<PathBuf>,
    /// What a text holds beside a description.
    pub template: Template,
}

/// The enhancer: the texts are those of [`Descriptions`], their embeddings go through the adapter.
pub struct Adapter {
    descriptions: Descriptions,
    weights: Arc<AdapterWeights>,
}

impl Adapter {
    /// Adapts the texts of `descriptions`.
    pub fn new(descriptions: Descriptions, weights: AdapterWeights) -> Self {
        Self { descriptions, weights: Arc::new(weights) }
    }

    pub(in crate::enhancer) fn open(table: &EnhancerTable, context: &EnhancerContext) -> Result<Self> {
        let (shared, own): (_, AdapterConfig) = table.parse_with_entities()?;
        let weights = match &own.weights {
            Some(path) => AdapterWeights::open(&table.path(path))?,
            None => bundled_weights(context.embedder.as_deref())?,
        };
        let descriptions = Descriptions::new(shared.finder(table, context)?, own.template, shared.mix);
        Ok(Self::new(descriptions, weights))
    }

    fn refined(&self, query: &Query, mut enhanced: EnhancedQuery) -> EnhancedQuery {
        let first = usize::from(enhanced.texts.first().is_some_and(|text| text.text == query.text()));
        let texts = first..enhanced.texts.len();
        if !texts.is_empty() {
            enhanced.refinements.push(Refinement { texts, by: self.weights.clone() });
        }
        enhanced
    }
}

impl QueryEnhancer for Adapter {
    fn name(&self) -> &str {
        "adapter"
    }

    fn enhance_batch(&self, queries: &[Query], images: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let enhanced = self.descriptions.enhance_batch(queries, images)?;
        Ok(queries.iter().zip(enhanced).map(|(query, enhanced)| self.refined(query, enhanced)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor};
    use relens_models::weights::{ElementType, save_tensors};

    use super::*;
    use crate::enhancer::enhance_text;
    use crate::enhancer::entity_finder::tests::knowledge;
    use crate::enhancer::entity_finder::{EntityConfig, EntityFinder};
    use crate::enhancer::mix::Mix;

    fn weights(residual_ratio: f32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("adapter.safetensors");
        let ramp =
            |count: usize, step: f32| (0..count).map(|i| ((i % 7) as f32 - 3.0) * step).collect::<Vec<_>>();
        let tensor =
            |values: Vec<f32>, shape: &[usize]| Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        let tensors = BTreeMap::from([
            ("attention.query.weight".to_owned(), tensor(ramp(16, 0.1), &[2, 8])),
            ("attention.key.weight".to_owned(), tensor(ramp(16, 0.2), &[2, 8])),
            ("attention.value.weight".to_owned(), tensor(ramp(16, 0.3), &[2, 8])),
            ("attention.output.weight".to_owned(), tensor(ramp(16, -0.1), &[8, 2])),
            ("norm.weight".to_owned(), tensor(ramp(8, 0.5), &[8])),
            ("norm.bias".to_owned(), tensor(ramp(8, 0.05), &[8])),
            ("residual_ratio".to_owned(), tensor(vec![residual_ratio], &[1])),
        ]);
        save_tensors(&path, &tensors, ElementType::F32).unwrap();
        (directory, path)
    }

    #[test]
    fn the_forward_pass_is_that_of_the_reference() {
        let (_directory, path) = weights(0.6);
        let adapter = AdapterWeights::open(&path).unwrap();
        let rows: Vec<f32> = (0..16).map(|i| ((i * 5 % 11) as f32 - 5.0) / 10.0).collect();
        let found = adapter.forward(&rows);
        // torch 2.x: x = rows.view(2, 8); a = softmax(x@q.T @ (x@k.T).T / 2**.5, -1) @ (x@v.T) @ o.T
        //            0.6 * layer_norm(a + x, (8,), w, b) + 0.4 * x
        assert_eq!(found.len(), REFERENCE.len());
        for (found, expected) in found.iter().zip(REFERENCE) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    const REFERENCE: [f32; 16] = [
        0.888556, -0.074661, -0.237513, -0.040000, 0.677859, -0.547553, 0.619218, 0.340291, -0.734952,
        0.431109, 0.024190, -0.200000, 0.067918, 0.958564, -0.603769, -1.134172,
    ];

    #[test]
    fn only_descriptions_are_adapted_and_with_no_ratio_they_are_averaged() {
        let (_directory, path) = weights(0.0);
        let finder = EntityFinder::new(knowledge(), None, EntityConfig::default());
        let descriptions = Descriptions::new(finder, Template::Entity, Mix::default());
        let adapter = Adapter::new(descriptions, AdapterWeights::open(&path).unwrap());
        let enhanced = enhance_text(&adapter, "a frisbee");
        assert_eq!(enhanced.refinements[0].texts, 1..3);
        let mut rows = Embeddings::from_rows(8, vec![0.0; 24]).unwrap();
        for (row, component) in [(0, 0), (1, 1), (2, 2)] {
            rows.as_mut_slice()[row * 8 + component] = 1.0;
        }
        enhanced.refinements[0].apply(&mut rows, 0).unwrap();
        let half = 0.5f32.sqrt();
        assert_eq!(rows.row(0), [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        for row in [1, 2] {
            assert!((rows.row(row)[1] - half).abs() < 1e-6 && (rows.row(row)[2] - half).abs() < 1e-6);
        }
        assert!(enhanced.refinements[0].apply(&mut rows, 1).is_err());
        assert!(adapter.weights.refine(&mut [0.0; 4], 4).is_err());
        assert!(enhance_text(&adapter, "luck").refinements.is_empty());
    }

    #[test]
    fn a_ratio_beyond_one_is_refused() {
        let (_directory, path) = weights(1.5);
        assert!(AdapterWeights::open(&path).unwrap_err().to_string().contains("residual_ratio of 0 to 1"));
    }
}
