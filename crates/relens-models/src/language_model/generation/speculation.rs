//! Greedy search that guesses several tokens ahead by copying from the prompt, and checks them in one pass.

use super::choice::most_likely;
use super::{CopySpeculation, GeneratedSequence, GenerationConfig, GrowingRow};
use crate::Result;
use crate::language_model::LanguageModel;
use crate::ops::TensorElements;
use crate::tokenizer::TokenBatch;

/// A row, and where in its prompt it copies.
struct Copying<'a> {
    row: GrowingRow,
    source: &'a [u32],
    /// The place in the prompt after what was last copied.
    cursor: usize,
    /// How many guesses were right last time: a row that copies well guesses further.
    right: usize,
    /// What is fed next: the last token, then the guesses.
    fed: Vec<u32>,
    /// How many tokens can be written: an encoder may read more of them.
    writable: usize,
}

impl Copying<'_> {
    /// Guesses what follows: what stands in the prompt after the longest end of the row that stands there too, of
    /// several the one nearest to the cursor; without any, what stands at the cursor.
    fn guess(&mut self, last: u32, config: CopySpeculation) {
        let longest = config.longest_match.min(self.row.tokens.len());
        let found = (1..=longest).rev().find_map(|length| {
            let end = &self.row.tokens[self.row.tokens.len() - length..];
            let matches = self.source.windows(length).enumerate().filter(|(_, window)| *window == end);
            matches.map(|(at, _)| at + length).min_by_key(|after| after.abs_diff(self.cursor))
        });
        self.cursor = found.unwrap_or(self.cursor).min(self.source.len());
        // One token is certain, so that guesses beyond the largest length less one are of no use.
        let room = self.row.most.saturating_sub(self.row.tokens.len() + 1);
        // A row whose guesses were wrong guesses two tokens only: every wrong one costs a row of the network.
        let length = config.draft_tokens.min(self.right + 2).min(room);
        self.fed.clear();
        self.fed.push(last);
        let copied = self.source[self.cursor..].iter().take(length);
        self.fed.extend(copied.take_while(|&&token| (token as usize) < self.writable));
    }

    /// Takes the scores after each token that was fed: guesses are right as long as they are what greedy search
    /// chooses; the first other choice is certain, too. Gives the number of fed tokens to keep.
    fn verify(&mut self, scores: &[f32], vocabulary: usize, stops: &[u32]) -> Result<usize> {
        self.right = 0;
        for (i, scores) in scores.chunks_exact(vocabulary).enumerate() {
            let choice = most_likely(scores, self.row.prompt, self.row.tokens.len())?;
            if self.row.push(choice, stops) {
                break;
            }
            // All that was fed behind a wrong guess was computed on a false beginning.
            if self.fed.get(i + 1) != Some(&choice.token) {
                break;
            }
            self.right += 1;
        }
        self.cursor += self.right;
        Ok(self.right + 1)
    }
}

pub(super) fn generate(
    model: &dyn LanguageModel,
    prompts: &TokenBatch,
    config: &GenerationConfig,
    copy: CopySpeculation,
    stops: &[u32],
) -> Result<Vec<Vec<GeneratedSequence>>> {
    let mut decoder = model.decoder(prompts)?;
    let mut live = Vec::with_capacity(prompts.len());
    for (prompt, length) in prompts.lengths().enumerate() {
        let most = config.max_new_tokens.min(model.most_target_tokens(length));
        let source = prompts.sequence(prompt).unwrap_or_default();
        let fed = Vec::with_capacity(copy.draft_tokens + 1);
        // At first the guess is trusted: a rewrite mostly begins as its prompt does.
        let right = copy.draft_tokens;
        let row = GrowingRow::new(prompt, most);
        let writable = model.vocabulary_size();
        let mut copying = Copying { row, source, cursor: copy.first, right, fed, writable };
        copying.guess(decoder.first_token(prompt)?, copy);
        live.push(copying);
    }
    let mut results: Vec<Vec<GeneratedSequence>> = vec![Vec::new(); prompts.len()];
    while !live.is_empty() {
        let tokens: Vec<&[u32]> = live.iter().map(|copying| copying.fed.as_slice()).collect();
        let logits = decoder.step(&tokens)?.contiguous()?;
        let vocabulary = logits.dim(1)?.max(1);
        let elements = TensorElements::of(&logits);
        let mut rest = elements.get()?;
        let mut kept = Vec::with_capacity(live.len());
        for (i, copying) in live.iter_mut().enumerate() {
            let (scores, others) = rest.split_at(rest.len().min(copying.fed.len() * vocabulary));
            rest = others;
            let keep = copying.verify(scores, vocabulary, stops)?;
            if copying.row.is_through() {
                continue;
            }
            // Keys and values of wrong guesses leave the cache.
            decoder.truncate(i, decoder.fed(i) + keep - copying.fed.len())?;
            if let Some(&last) = copying.row.tokens.last() {
                copying.guess(last, copy);
            }
            kept.push(i);
        }
        if kept.len() < live.len() {
            decoder.reorder(&kept)?;
            let (going, through): (Vec<_>, Vec<_>) =
                live.into_iter().partition(|copying| !copying.row.is_through());
            live = going;
            for copying in through {
                results[copying.row.prompt].push(copying.row.into_sequence());
            }
        }
    }
    Ok(results)
}
