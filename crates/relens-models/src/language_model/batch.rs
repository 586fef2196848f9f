//! What a language model is trained on: prompts, and what should follow them.

use crate::tokenizer::TokenBatch;
use crate::{ModelError, Result};

/// Prompts and the targets that follow them, both packed. A target holds its end-of-sequence token; no token that
/// starts a decoder is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTargetBatch {
    /// What is given.
    pub prompts: TokenBatch,
    /// What should follow, one for every prompt.
    pub targets: TokenBatch,
}

impl PromptTargetBatch {
    /// The batch of these pairs of prompt and target.
    pub fn from_pairs<P: AsRef<[u32]>, T: AsRef<[u32]>>(pairs: impl IntoIterator<Item = (P, T)>) -> Self {
        let mut batch = Self { prompts: TokenBatch::empty(), targets: TokenBatch::empty() };
        for (prompt, target) in pairs {
            batch.prompts.push(prompt.as_ref());
            batch.targets.push(target.as_ref());
        }
        batch
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Refuses a batch with another number of targets than of prompts, an empty prompt, a prompt of more than
    /// `context_length` tokens, or a target of more than `most_target_tokens(prompt_length)`.
    ///
    /// # Errors
    /// [`ModelError::Sample`] with the first sample that does not fit.
    pub fn check(&self, context_length: usize, most_target_tokens: impl Fn(usize) -> usize) -> Result<()> {
        if self.targets.len() != self.prompts.len() {
            return Err(ModelError::Argument {
                operation: "PromptTargetBatch",
                expected: format!("{} targets, one for every prompt", self.prompts.len()),
                found: format!("{} targets", self.targets.len()),
            });
        }
        check_prompts(&self.prompts, context_length)?;
        for (sample, (prompt, target)) in self.prompts.lengths().zip(self.targets.lengths()).enumerate() {
            let most = most_target_tokens(prompt);
            if target > most {
                return Err(ModelError::Sample {
                    sample,
                    expected: format!("a target of at most {most} tokens after a prompt of {prompt}"),
                    found: format!("{target} tokens"),
                });
            }
        }
        Ok(())
    }
}

/// Refuses prompts that are empty or have more than `context_length` tokens.
pub(crate) fn check_prompts(prompts: &TokenBatch, context_length: usize) -> Result<()> {
    let fits = |length: &usize| (1..=context_length).contains(length);
    match prompts.lengths().enumerate().find(|(_, length)| !fits(length)) {
        None => Ok(()),
        Some((sample, length)) => Err(ModelError::Sample {
            sample,
            expected: format!("a prompt of 1 to {context_length} tokens"),
            found: format!("{length} tokens"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_do_not_fit_are_named() {
        let check = |pairs: &[(&[u32], &[u32])]| {
            let batch = PromptTargetBatch::from_pairs(pairs.iter().copied());
            batch.check(4, |prompt| 6 - prompt).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[(&[1, 2], &[3, 4, 5, 6]), (&[1], &[])]), Ok(()));
        assert_eq!(
            check(&[(&[1], &[2]), (&[], &[2])]).unwrap_err(),
            "sample 1: expected a prompt of 1 to 4 tokens, found 0 tokens"
        );
        assert_eq!(
            check(&[(&[1; 5], &[2])]).unwrap_err(),
            "sample 0: expected a prompt of 1 to 4 tokens, found 5 tokens"
        );
        assert_eq!(
            check(&[(&[1], &[2]), (&[1], &[2]), (&[1, 2], &[3; 5])]).unwrap_err(),
            "sample 2: expected a target of at most 4 tokens after a prompt of 2, found 5 tokens"
        );
        let mut uneven = PromptTargetBatch::from_pairs([([1u32], [2u32])]);
        uneven.targets.push(&[1]);
        assert!(uneven.check(4, |_| 4).unwrap_err().to_string().contains("expected 1 targets"));
    }
}
