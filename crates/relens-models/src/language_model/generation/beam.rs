//! Beam search, in groups that avoid each other if there are several.
//!
//! With one group it does what Hugging Face transformers does: in every step the best continuations of all beams are
//! ranked; those among the first `beams` that end are finished, the best others go on. It stops when no beam that
//! goes on could become better than the worst finished sequence, were its mean to stay as it is.

use super::choice::log_normalizer;
use super::{BeamConfig, GeneratedSequence, GenerationConfig, GrowingRow, TokenChoice};
use crate::Result;
use crate::language_model::LanguageModel;
use crate::ops::TensorElements;
use crate::tokenizer::TokenBatch;

/// A sequence that is followed.
#[derive(Clone)]
struct Beam {
    row: GrowingRow,
    log_prob: f32,
    /// Its row in the decoder.
    place: usize,
}

/// A continuation of a beam.
#[derive(Clone, Copy)]
struct Continuation {
    beam: usize,
    choice: TokenChoice,
    /// The log-probability of the whole.
    log_prob: f32,
    /// The same less what other groups take from it.
    rank: f32,
}

/// The search of one group for one prompt.
struct BeamGroup {
    running: Vec<Beam>,
    finished: Vec<GeneratedSequence>,
    done: bool,
}

pub(super) fn generate(
    model: &dyn LanguageModel,
    prompts: &TokenBatch,
    config: &GenerationConfig,
    beam: &BeamConfig,
    stops: &[u32],
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let mut decoder = model.decoder(prompts)?;
    let mut searches: Vec<Vec<BeamGroup>> = prompts
        .lengths()
        .enumerate()
        .map(|(prompt, length)| {
            let most = config.max_new_tokens.min(model.most_target_tokens(length));
            // Every group begins at the same row: one prompt was read once, and its cache is copied when the groups
            // part.
            let root = Beam { row: GrowingRow::new(prompt, most), log_prob: 0.0, place: prompt };
            let group = || BeamGroup { running: vec![root.clone()], finished: Vec::new(), done: false };
            (0..beam.groups).map(|_| group()).collect()
        })
        .collect();
    let mut last = (0..prompts.len()).map(|row| decoder.first_token(row)).collect::<Result<Vec<u32>>>()?;
    while !last.is_empty() {
        let tokens: Vec<&[u32]> = last.iter().map(std::slice::from_ref).collect();
        let logits = decoder.step(&tokens)?.contiguous()?;
        let vocabulary = logits.dim(1)?.max(1);
        let elements = TensorElements::of(&logits);
        let scores: Vec<&[f32]> = elements.get()?.chunks_exact(vocabulary).collect();
        for groups in &mut searches {
            let mut taken = Vec::new();
            for group in groups.iter_mut().filter(|group| !group.done) {
                group.advance(&scores, beam, stops, &mut taken)?;
            }
        }
        let mut places = Vec::new();
        last.clear();
        for beam in searches.iter_mut().flatten().flat_map(|group| &mut group.running) {
            places.push(beam.place);
            // The decoder is told where each beam comes from; from now on it stands at its place among all beams.
            beam.place = last.len();
            last.extend(beam.row.tokens.last());
        }
        decoder.reorder(&places)?;
    }
    Ok(searches.into_iter().map(|groups| best(groups, config.sequences)).collect())
}

/// The best finished sequences of all groups, the best first; equal ones once.
fn best(groups: Vec<BeamGroup>, sequences: usize) -> Vec<GeneratedSequence> {
    let mut all: Vec<GeneratedSequence> = groups.into_iter().flat_map(|group| group.finished).collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut chosen: Vec<GeneratedSequence> = Vec::with_capacity(sequences);
    for sequence in all {
        if chosen.len() < sequences && chosen.iter().all(|other| other.tokens != sequence.tokens) {
            chosen.push(sequence);
        }
    }
    chosen
}

impl BeamGroup {
    /// One step: ranks the continuations, finishes those that end, goes on with the best others. `taken` are the
    /// tokens that the groups before this one chose, and afterwards those of this one too.
    fn advance(
        &mut self,
        scores: &[&[f32]],
        config: &BeamConfig,
        stops: &[u32],
        taken: &mut Vec<u32>,
    ) -> Result<()> {
        let width = config.beams / config.groups.max(1);
        // Even if every beam ends in every possible way, as many continuations as beams are left.
        let count = width * (stops.len() + 1).max(2);
        let penalty = |token: u32| {
            config.diversity_penalty * taken.iter().filter(|&&other| other == token).count() as f32
        };
        let mut candidates = Vec::with_capacity(self.running.len() * count);
        for (i, beam) in self.running.iter().enumerate() {
            let Some(scores) = scores.get(beam.place) else { continue };
            let normalizer = log_normalizer(scores, beam.row.prompt, beam.row.tokens.len())?;
            let all = (0u32..).zip(*scores).map(|(token, &score)| {
                let choice = TokenChoice { token, log_prob: score - normalizer };
                let log_prob = beam.log_prob + choice.log_prob;
                // The penalty decides which token is chosen, but is no part of the sequence's probability.
                let rank = if taken.is_empty() { log_prob } else { log_prob - penalty(token) };
                Continuation { beam: i, choice, log_prob, rank }
            });
            candidates.extend(highest(all, count));
        }
        candidates.sort_by(by_rank);
        candidates.truncate(count);
        let mut running = Vec::with_capacity(width);
        for (rank, candidate) in candidates.into_iter().enumerate() {
            let parent = &self.running[candidate.beam];
            let mut row = parent.row.clone();
            if row.push(candidate.choice, stops) {
                // As transformers does it: a sequence that ends counts only if it is among the best continuations,
                // not because better ones were used up.
                if rank < width {
                    self.finish(row, candidate.log_prob, width, config);
                }
            } else if running.len() < width && candidate.log_prob > f32::NEG_INFINITY {
                taken.push(candidate.choice.token);
                running.push(Beam { row, log_prob: candidate.log_prob, place: parent.place });
            }
        }
        self.running = running;
        self.done = self.is_done(width, config);
        if self.done {
            self.running.clear();
        }
        Ok(())
    }

    /// Keeps a finished sequence if it is among the best.
    fn finish(&mut self, row: GrowingRow, log_prob: f32, width: usize, config: &BeamConfig) {
        if config.early_stopping && self.finished.len() >= width {
            return;
        }
        let score = log_prob / (row.tokens.len() as f32).powf(config.length_penalty);
        self.finished.push(GeneratedSequence { score, ..row.into_sequence() });
        self.finished.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.finished.truncate(width);
    }

    fn is_done(&self, width: usize, config: &BeamConfig) -> bool {
        let Some(best) = self.running.first() else { return true };
        let worst = match self.finished.last() {
            Some(worst) if self.finished.len() >= width => worst.score,
            _ => return false,
        };
        let possible = best.log_prob / (best.row.tokens.len() as f32).powf(config.length_penalty);
        config.early_stopping || possible <= worst
    }
}

fn by_rank(a: &Continuation, b: &Continuation) -> std::cmp::Ordering {
    // Ties are broken by place, so that the result does not depend on the order of a partial sort.
    b.rank.total_cmp(&a.rank).then(a.beam.cmp(&b.beam)).then(a.choice.token.cmp(&b.choice.token))
}

/// The `count` candidates of the highest rank, in any order.
fn highest(all: impl Iterator<Item = Continuation>, count: usize) -> Vec<Continuation> {
    let mut candidates: Vec<Continuation> = all.collect();
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, by_rank);
        candidates.truncate(count);
    }
    candidates
}
