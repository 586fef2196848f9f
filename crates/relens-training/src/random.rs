//! Random numbers from one seed, for which a run needs no other memory than the step it is at.
//!
//! Each use has its own stream of ChaCha8, numbered by purpose and counter (an epoch, a step, a picture). A resumed
//! run therefore draws what the uninterrupted one would have drawn, whatever the order in which things are computed.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator of `purpose` at `counter` for a run's `seed`.
pub fn stream(seed: u64, purpose: &str, counter: u64) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(counter.to_le_bytes());
    hash.update(purpose.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// Standard normal numbers by the Box–Muller transform.
pub fn fill_normal(values: &mut [f32], rng: &mut impl Rng) {
    for pair in values.chunks_mut(2) {
        // 1 − u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
        let (sine, cosine) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        for (value, factor) in pair.iter_mut().zip([cosine, sine]) {
            *value = radius * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, counter| stream(seed, purpose, counter).random::<u64>();
        assert_eq!(draw(1, "order", 2), draw(1, "order", 2));
        let all = [draw(1, "order", 2), draw(1, "order", 3), draw(1, "noise", 2), draw(2, "order", 2)];
        assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    }

    #[test]
    fn normal_numbers_have_the_right_moments() {
        let mut values = vec![0f32; 100_001];
        fill_normal(&mut values, &mut stream(7, "test", 0));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "mean {mean}, variance {variance}");
    }
}
