//! Texts that are longer than the retriever's context.

use relens_models::dual_encoder::DualEncoder;
use relens_models::tokenizer::{TokenBatch, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::embed::embeddings::Embeddings;
use crate::error::Result;

/// What happens to a text that does not fit into the context.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LongText {
    /// Its end is left out, as the models' authors do.
    #[default]
    Truncate,
    /// It is cut into windows of the context; its vector is the mean of theirs, of length 1 again.
    MeanOfWindows,
}

/// Windows that go through the text tower at once.
const WINDOWS: usize = 64;

/// Embeds texts as the means of their windows; and how many were too long even so.
pub(crate) fn mean_of_windows(
    encoder: &DualEncoder,
    tokenizer: &Tokenizer,
    texts: &[&str],
) -> Result<(Embeddings, usize)> {
    let dim = encoder.embed_dim();
    let (windows, owners) = tokenizer.encode_windows(texts)?;
    let mut sums = vec![0.0f32; texts.len() * dim];
    for start in (0..owners.len()).step_by(WINDOWS) {
        let end = owners.len().min(start + WINDOWS);
        let batch = TokenBatch::from_sequences((start..end).filter_map(|window| windows.sequence(window)));
        let vectors = encoder.encode_text(&batch)?;
        let values = vectors.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        let values = values.map_err(relens_models::ModelError::from)?;
        for (vector, &owner) in values.chunks_exact(dim).zip(&owners[start..end]) {
            let sum = &mut sums[owner * dim..(owner + 1) * dim];
            sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
        }
    }
    let mut means = Embeddings::from_rows(dim, sums)?;
    means.normalise();
    let mut cut: Vec<usize> =
        owners.iter().zip(&windows.truncated).filter(|(_, cut)| **cut).map(|(owner, _)| *owner).collect();
    cut.dedup();
    Ok((means, cut.len()))
}
