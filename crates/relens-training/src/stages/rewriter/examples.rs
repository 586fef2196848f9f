//! Texts as token ids: prompts, and targets that end.

use relens_models::language_model::PromptTargetBatch;
use relens_models::tokenizer::TokenBatch;

use super::policy::Policy;
use crate::Result;
use relens::progress::Progress;

/// Samples whose skipping is told one by one; the rest is counted.
const NAMED_SAMPLES: usize = 3;

/// A prompt and what should follow it, as ids; the target ends with the end of sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) prompt: Vec<u32>,
    pub(crate) target: Vec<u32>,
}

impl Example {
    /// The batch of some examples.
    pub(crate) fn batch<'a>(examples: impl IntoIterator<Item = &'a Self>) -> PromptTargetBatch {
        PromptTargetBatch::from_pairs(examples.into_iter().map(|example| (&example.prompt, &example.target)))
    }
}

/// Turns (prompt, target) texts into examples; `None` for a prompt or a target that is empty or does not
/// fit: half of a prompt would ask for something else.
pub(crate) fn encode_pairs(policy: &Policy, pairs: &[(String, String)]) -> Result<Vec<Option<Example>>> {
    let prompts: Vec<&str> = pairs.iter().map(|(prompt, _)| prompt.as_str()).collect();
    let targets: Vec<&str> = pairs.iter().map(|(_, target)| target.as_str()).collect();
    let prompts = policy.encode_prompts(&prompts)?;
    let targets = policy.encode_targets(&targets)?;
    Ok((0..pairs.len())
        .map(|index| {
            let (prompt, target) = (prompts.sequence(index)?.to_vec(), targets.sequence(index)?.to_vec());
            let most = policy.most_target_tokens(prompt.len());
            let lost = |batch: &TokenBatch| batch.truncated.get(index).copied().unwrap_or(true);
            let whole = !lost(&prompts) && !lost(&targets);
            let fits = whole && (2..=most).contains(&target.len()) && !prompt.is_empty();
            fits.then_some(Example { prompt, target })
        })
        .collect())
}

/// Leaves out what could not be encoded, and says so with the first samples' names.
pub(crate) fn fitting<T>(
    encoded: Vec<Option<T>>,
    name: impl Fn(usize) -> String,
    progress: &mut dyn Progress,
) -> Vec<T> {
    let total = encoded.len();
    let mut skipped = 0;
    let mut kept = Vec::with_capacity(total);
    for (index, example) in encoded.into_iter().enumerate() {
        match example {
            Some(example) => kept.push(example),
            None => {
                skipped += 1;
                if skipped <= NAMED_SAMPLES {
                    let name = name(index);
                    progress.message(&format!(
                        "sample {index} (`{name}`) is empty or longer than the rewriter can read or write: skipped"
                    ));
                }
            }
        }
    }
    if skipped > NAMED_SAMPLES {
        progress.message(&format!("{skipped} of {total} samples were skipped in all"));
    }
    kept
}
