//! What keeps a rewriter from winning by length, or by leaving the query behind.

use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// A cost on words beyond a free length.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthPenalty {
    /// Cost of each word beyond. Default 0: none.
    pub weight: f64,
    /// Words that are free, as a multiple of the query's. Default 1.5, range [0, 100].
    pub ratio: f64,
    /// Words that are free beside them. Default 4.
    pub words: usize,
}

impl Default for LengthPenalty {
    fn default() -> Self {
        Self { weight: 0.0, ratio: 1.5, words: 4 }
    }
}

impl LengthPenalty {
    pub(super) fn check(&self) -> Result<()> {
        check_weight("reward.length.weight", self.weight)?;
        if !(0.0..=100.0).contains(&self.ratio) {
            return Err(TrainingError::setting("reward.length.ratio", "in [0, 100]", &self.ratio));
        }
        Ok(())
    }

    /// What a rewrite costs: at least 0.
    pub fn cost(&self, query: &str, rewrite: &str) -> f32 {
        let words = |text: &str| text.split_whitespace().count() as f64;
        let free = self.ratio * words(query) + self.words as f64;
        (self.weight * (words(rewrite) - free).max(0.0)) as f32
    }
}

/// A cost on sentence similarity below a floor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FidelityPenalty {
    /// Cost of each unit of cosine below the floor. Default 0: none, and no sentence encoder is needed.
    pub weight: f64,
    /// The least cosine of the sentence embeddings of query and rewrite that is free. Default 0.6, range [−1, 1].
    pub floor: f64,
}

impl Default for FidelityPenalty {
    fn default() -> Self {
        Self { weight: 0.0, floor: 0.6 }
    }
}

impl FidelityPenalty {
    pub(super) fn check(&self) -> Result<()> {
        check_weight("reward.fidelity.weight", self.weight)?;
        if !(-1.0..=1.0).contains(&self.floor) {
            return Err(TrainingError::setting("reward.fidelity.floor", "in [-1, 1]", &self.floor));
        }
        Ok(())
    }

    /// What a rewrite of this cosine costs: at least 0.
    pub fn cost(&self, similarity: f32) -> f32 {
        (self.weight * (self.floor - f64::from(similarity)).max(0.0)) as f32
    }
}

fn check_weight(field: &str, weight: f64) -> Result<()> {
    if (0.0..=1000.0).contains(&weight) {
        return Ok(());
    }
    Err(TrainingError::setting(field, "in [0, 1000]", &weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beyond_costs() {
        let length = LengthPenalty { weight: 0.5, ratio: 1.0, words: 1 };
        assert_eq!(length.cost("a dog", "a brown dog"), 0.0);
        assert_eq!(length.cost("a dog", "a big brown wet dog"), 1.0);
        let fidelity = FidelityPenalty { weight: 2.0, floor: 0.5 };
        assert_eq!(fidelity.cost(0.9), 0.0);
        assert!((fidelity.cost(0.25) - 0.5).abs() < 1e-6);
    }
}
