//! How several texts make one score.

use serde::{Deserialize, Serialize};

/// How the texts of one query make one score.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// The texts stand for the query, the original left out; several of them as `MeanEmbedding`.
    #[default]
    Replace,
    /// The cosine with the weighted mean of the texts' embeddings, scaled to length 1.
    MeanEmbedding,
    /// The weighted mean of the texts' cosines (EvdCLIP's inference: the query and its rewrite, half each).
    MeanScore,
    /// The largest of the texts' cosines. Weights say whether a text counts, not how much: shares among several rewrites
    /// would leave each of them too little ever to win.
    MaxScore,
    /// Reciprocal rank fusion: `Σ wᵢ / (60 + rankᵢ)` over the texts' rankings of all images.
    ReciprocalRank,
    /// The cosine with the weighted sum of the texts' embeddings, scaled to length 1; weights may be negative.
    WeightedSum,
}
