//! Which examples a step sees: a new order each epoch, known from the step alone.

use rand::seq::SliceRandom;

use crate::random::stream;

/// Shuffled batches.
#[derive(Debug)]
pub(crate) struct EpochBatches {
    examples: usize,
    batch_size: usize,
    seed: u64,
    /// The epoch whose order is at hand.
    order: Option<(u64, Vec<usize>)>,
}

impl EpochBatches {
    pub(crate) fn new(examples: usize, batch_size: usize, seed: u64) -> Self {
        Self { examples, batch_size: batch_size.clamp(1, examples.max(1)), seed, order: None }
    }

    /// Batches of one epoch; the last one may be smaller.
    pub(crate) fn steps_per_epoch(&self) -> u64 {
        self.examples.div_ceil(self.batch_size).max(1) as u64
    }

    /// Steps of a whole run.
    pub(crate) fn total_steps(&self, epochs: f64, max_steps: u64) -> u64 {
        let steps = (self.steps_per_epoch() as f64 * epochs).ceil().max(1.0) as u64;
        if max_steps > 0 { steps.min(max_steps) } else { steps }
    }

    /// The examples of a step, counted from 0.
    pub(crate) fn batch(&mut self, step: u64) -> Vec<usize> {
        let (epoch, place) = (step / self.steps_per_epoch(), step % self.steps_per_epoch());
        if self.order.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut order: Vec<usize> = (0..self.examples).collect();
            order.shuffle(&mut stream(self.seed, "order", epoch));
            self.order = Some((epoch, order));
        }
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        order.chunks(self.batch_size).nth(place as usize).unwrap_or_default().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_example_once_in_an_order_of_its_own() {
        let mut batches = EpochBatches::new(10, 4, 1);
        assert_eq!((batches.steps_per_epoch(), batches.total_steps(2.5, 0)), (3, 8));
        assert_eq!(batches.total_steps(2.5, 5), 5);
        let epoch = |batches: &mut EpochBatches, first: u64| -> Vec<usize> {
            (first..first + 3).flat_map(|step| batches.batch(step)).collect()
        };
        let (first, second) = (epoch(&mut batches, 0), epoch(&mut batches, 3));
        assert_ne!(first, second);
        for mut order in [first.clone(), second] {
            order.sort_unstable();
            assert_eq!(order, (0..10).collect::<Vec<_>>());
        }
        assert_eq!(epoch(&mut EpochBatches::new(10, 4, 1), 0), first, "any step can be the first");
    }
}
