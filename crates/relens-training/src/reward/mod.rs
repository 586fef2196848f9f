//! Rewards: what a rewrite is worth to the retriever, and what it costs in length and in meaning.
//!
//! Three signals compare the rewrite with the query, all of them 0 for a rewrite that changes nothing. One of them, or a
//! weighted sum, trains; all three are measured and logged, whichever trains, for a similarity reward lifts the scores
//! of *every* picture sooner or later (GRAPE, arXiv 2509.23370), and then the others fall.

mod judge;
mod penalties;

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(crate) use judge::judge_that_breaks;
pub use judge::{Judge, Rollout, RolloutReward};
pub use penalties::{FidelityPenalty, LengthPenalty};

use crate::{Result, TrainingError};

/// What the retriever makes of a rewrite, compared with the query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Signals {
    /// 20·(s(y, v) − s(x, v)): MGQRe's reward, section 3.3.
    pub similarity: f32,
    /// The same after subtracting the mean similarity to hard negatives: to the wrong pictures that each text itself
    /// ranks highest. The query's own for both would reward any change, for they were picked to be high for the query.
    pub margin: f32,
    /// 1/rank(y) − 1/rank(x) of the picture in a fixed pool of candidates.
    pub rank: f32,
}

impl Signals {
    /// The names in logs.
    pub const NAMES: [&'static str; 3] = ["similarity", "margin", "rank"];

    /// The values in the order of [`Signals::NAMES`].
    pub fn values(&self) -> [f32; 3] {
        [self.similarity, self.margin, self.rank]
    }
}

/// Which signals train, and the penalties.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardConfig {
    /// Weight of the similarity signal. Default 1: MGQRe's reward.
    pub similarity: f64,
    /// Weight of the margin signal. Default 0.
    pub margin: f64,
    /// Weight of the rank signal. Default 0.
    pub rank: f64,
    /// Hard negatives: the wrong pictures that a text ranks highest. Default 8, range [1, 1000].
    pub hard_negatives: usize,
    /// Pictures of the pool that ranks are counted in, drawn once by the seed. Default 1000, at least 2; 0 takes all
    /// training pictures.
    pub pool: usize,
    /// What long rewrites cost.
    pub length: LengthPenalty,
    /// What rewrites cost that mean something else than their query.
    pub fidelity: FidelityPenalty,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            similarity: 1.0,
            margin: 0.0,
            rank: 0.0,
            hard_negatives: 8,
            pool: 1000,
            length: LengthPenalty::default(),
            fidelity: FidelityPenalty::default(),
        }
    }
}

impl RewardConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`TrainingError::Setting`].
    pub fn check(&self) -> Result<()> {
        for (name, weight) in Signals::NAMES.iter().zip(self.weights()) {
            if !weight.is_finite() {
                return Err(TrainingError::setting(format!("reward.{name}"), "a finite number", &weight));
            }
        }
        if self.weights().iter().all(|&weight| weight == 0.0) {
            return Err(TrainingError::setting("reward", "a signal with a weight other than 0", &"none"));
        }
        if !(1..=1000).contains(&self.hard_negatives) {
            return Err(TrainingError::setting(
                "reward.hard_negatives",
                "in [1, 1000]",
                &self.hard_negatives,
            ));
        }
        if self.pool == 1 {
            return Err(TrainingError::setting("reward.pool", "0, or at least 2", &self.pool));
        }
        self.length.check()?;
        self.fidelity.check()
    }

    /// The weights in the order of [`Signals::NAMES`].
    fn weights(&self) -> [f64; 3] {
        [self.similarity, self.margin, self.rank]
    }

    /// The weighted sum of the signals.
    pub fn combine(&self, signals: &Signals) -> f32 {
        let weighted = self.weights().into_iter().zip(signals.values());
        weighted.map(|(weight, value)| weight * f64::from(value)).sum::<f64>() as f32
    }
}
