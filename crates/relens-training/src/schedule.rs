//! The learning rate as a function of the step.

use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Half a cosine from the peak to the floor (Loshchilov & Hutter 2017; CLIP).
    #[default]
    Cosine,
    /// A straight line from the peak to the floor.
    Linear,
    /// The peak throughout.
    Constant,
}

/// Warm-up, then decay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Learning rate at the end of the warm-up.
    pub peak: f64,
    /// Learning rate at the last step, as a share of the peak.
    pub floor: f64,
    /// Steps from 0 to the peak, in a straight line.
    pub warmup_steps: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// What happens after the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// The learning rate, its floor or the warm-up is out of its range.
    pub fn validated(self) -> Result<Self> {
        if self.peak.is_nan() || self.peak < 0.0 || self.peak.is_infinite() {
            return Err(TrainingError::setting("learning_rate", "a number of at least 0", &self.peak));
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return Err(TrainingError::setting("learning_rate_floor", "in [0, 1]", &self.floor));
        }
        if self.total_steps == 0 || self.warmup_steps > self.total_steps {
            return Err(TrainingError::setting(
                "warmup_steps",
                format!("at most the run's {} steps, of which there is at least one", self.total_steps),
                &self.warmup_steps,
            ));
        }
        Ok(self)
    }

    /// The learning rate of a step, counted from 0. Steps beyond the end keep the floor.
    ///
    /// During the warm-up `peak·(step + 1)/warmup_steps`, as in open_clip, so that the first step already moves.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let span = (self.total_steps - self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / span).min(1.0);
        let shape = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Linear => 1.0 - progress,
            Decay::Constant => 1.0,
        };
        self.peak * (self.floor + (1.0 - self.floor) * shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(decay: Decay) -> Schedule {
        Schedule { peak: 1.0, floor: 0.1, warmup_steps: 4, total_steps: 14, decay }
    }

    #[test]
    fn warms_up_in_a_line_then_decays_to_the_floor() {
        for decay in [Decay::Cosine, Decay::Linear] {
            let schedule = schedule(decay);
            assert_eq!(schedule.learning_rate(0), 0.25);
            assert_eq!(schedule.learning_rate(3), 1.0);
            assert_eq!(schedule.learning_rate(4), 1.0);
            assert!((schedule.learning_rate(9) - 0.55).abs() < 1e-12, "half way");
            assert!((schedule.learning_rate(14) - 0.1).abs() < 1e-12);
            assert!((schedule.learning_rate(1000) - 0.1).abs() < 1e-12);
            assert!((5..14).all(|step| schedule.learning_rate(step) < schedule.learning_rate(step - 1)));
        }
        assert_eq!(schedule(Decay::Constant).learning_rate(13), 1.0);
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_refused() {
        let error = Schedule { warmup_steps: 20, ..schedule(Decay::Cosine) }.validated().unwrap_err();
        assert!(error.to_string().contains("`warmup_steps` is 20"), "{error}");
    }
}
