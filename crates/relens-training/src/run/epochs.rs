//! What stages share that measure retrieval after every epoch: where a run is, and which of its epochs is the best.

use relens::evaluation::RankingMetrics;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::Result;
use crate::run::checkpoint::CheckpointStore;
use crate::run::log::JsonLinesLog;
use crate::run::trainer::Trainer;
use relens::progress::Progress;

/// Where a run is; saved in every checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochState {
    pub(crate) epoch: u64,
    pub(crate) best: Option<BestEpoch>,
}

/// The epoch with the highest mean reciprocal rank, text to image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BestEpoch {
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    mean_reciprocal_rank: f64,
    pub(crate) metrics: Map<String, Value>,
}

impl EpochState {
    /// Where the newest checkpoint was, its weights put back; the beginning if there is none.
    pub(crate) fn resume(
        checkpoints: &CheckpointStore,
        trainer: &mut Trainer,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let Some(snapshot) = checkpoints.latest()? else { return Ok(Self::default()) };
        trainer.restore(&snapshot, snapshot.step)?;
        let state: Self = checkpoints.state_of(&snapshot)?;
        checkpoints.mark_best(state.best.as_ref().map(|best| best.step))?;
        progress.message(&format!("continuing after epoch {}", state.epoch));
        Ok(state)
    }

    /// Logs what an epoch measured, and saves a checkpoint. A loss that is not finite is that of no epoch.
    pub(crate) fn record(
        &mut self,
        (measured, loss): (&RankingMetrics, f64),
        (trainer, checkpoints): (&Trainer, &CheckpointStore),
        log: &mut JsonLinesLog,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        let (step, epoch) = (trainer.steps(), self.epoch);
        let mut metrics = Map::new();
        for (k, recall) in &measured.recall {
            metrics.insert(format!("image_retrieval_recall@{k}"), json!(recall));
        }
        let mean_reciprocal_rank = measured.mean_reciprocal_rank;
        metrics.insert("image_retrieval_mean_reciprocal_rank".to_owned(), json!(mean_reciprocal_rank));
        let mut record = Map::from_iter([
            ("step".to_owned(), json!(step)),
            ("epoch".to_owned(), json!(epoch)),
            ("split".to_owned(), json!("validation")),
        ]);
        if loss.is_finite() {
            record.insert("loss".to_owned(), json!(loss));
        }
        record.extend(metrics.clone());
        progress.metrics(&record);
        log.append(&record)?;
        if self.best.as_ref().is_none_or(|best| mean_reciprocal_rank > best.mean_reciprocal_rank) {
            self.best = Some(BestEpoch { step, epoch, mean_reciprocal_rank, metrics });
            checkpoints.mark_best(Some(step))?;
        }
        let state = serde_json::to_value(&*self).map_err(std::io::Error::from)?;
        checkpoints.save(&trainer.snapshot(step, state)?)?;
        Ok(())
    }
}
