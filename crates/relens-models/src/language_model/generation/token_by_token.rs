//! Greedy search and sampling: every row gets one token a step.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::choice::{draw, most_likely};
use super::{GeneratedSequence, GenerationConfig, GrowingRow, SamplingConfig};
use crate::Result;
use crate::language_model::LanguageModel;
use crate::ops::TensorElements;
use crate::tokenizer::TokenBatch;

/// A row, and the random numbers that it alone uses: what it draws depends on the seed and on its place.
struct Sampled {
    row: GrowingRow,
    sample: usize,
    generator: ChaCha8Rng,
}

pub(super) fn generate(
    model: &dyn LanguageModel,
    prompts: &TokenBatch,
    config: &GenerationConfig,
    sampling: Option<&SamplingConfig>,
    stops: &[u32],
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let mut decoder = model.decoder(prompts)?;
    let mut live = Vec::with_capacity(prompts.len() * config.sequences);
    for (prompt, length) in prompts.lengths().enumerate() {
        let most = config.max_new_tokens.min(model.most_target_tokens(length));
        for sample in 0..config.sequences {
            let mut generator = ChaCha8Rng::seed_from_u64(config.seed);
            // A stream for each sequence: what one draws does not depend on how long the others are.
            generator.set_stream((prompt * config.sequences + sample) as u64);
            live.push(Sampled { row: GrowingRow::new(prompt, most), sample, generator });
        }
    }
    if config.sequences > 1 {
        // The prompt is read once, its cache repeated for every sequence.
        decoder.reorder(&live.iter().map(|sampled| sampled.row.prompt).collect::<Vec<_>>())?;
    }
    let mut results: Vec<Vec<Option<GeneratedSequence>>> = vec![vec![None; config.sequences]; prompts.len()];
    let mut last = (0..live.len()).map(|row| decoder.first_token(row)).collect::<Result<Vec<u32>>>()?;
    while !live.is_empty() {
        let tokens: Vec<&[u32]> = last.iter().map(std::slice::from_ref).collect();
        let logits = decoder.step(&tokens)?.contiguous()?;
        let vocabulary = logits.dim(1)?.max(1);
        let elements = TensorElements::of(&logits);
        let mut kept = Vec::with_capacity(live.len());
        for (i, (sampled, scores)) in
            live.iter_mut().zip(elements.get()?.chunks_exact(vocabulary)).enumerate()
        {
            let (prompt, written) = (sampled.row.prompt, sampled.row.tokens.len());
            let choice = match sampling {
                None => most_likely(scores, prompt, written)?,
                Some(sampling) => draw(scores, sampling, &mut sampled.generator, (prompt, written))?,
            };
            if !sampled.row.push(choice, stops) {
                kept.push(i);
            }
        }
        if kept.len() < live.len() {
            decoder.reorder(&kept)?;
            let (going, through) = live.into_iter().partition(|sampled| !sampled.row.is_through());
            live = going;
            store(through, &mut results);
        }
        last = live.iter().filter_map(|sampled| sampled.row.tokens.last().copied()).collect();
    }
    Ok(results.into_iter().map(|sequences| sequences.into_iter().flatten().collect()).collect())
}

fn store(through: Vec<Sampled>, results: &mut [Vec<Option<GeneratedSequence>>]) {
    for Sampled { row, sample, .. } in through {
        let place = results.get_mut(row.prompt).and_then(|sequences| sequences.get_mut(sample));
        if let Some(place) = place {
            *place = Some(row.into_sequence());
        }
    }
}
