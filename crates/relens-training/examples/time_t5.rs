//! Times a T5's training step, and its generation, for comparison with another implementation.
//!
//! Reads requests line by line from standard input and answers each with the milliseconds that one run took, so that
//! whoever asks (tools/reference/time_t5.py) can alternate between implementations in one session:
//!
//! ```text
//! time_t5 MODEL_DIRECTORY < "train 16 32 3\ngreedy 1 20 5\n"
//! ```
//!
//! `train 16 32 3` trains three times on 16 pairs of 32 tokens each: forward, backward, clipping, AdamW. `greedy 1 20
//! 5` continues one prompt of 20 tokens five times by as many tokens as the prompt has; `copy 1 20 5` does so with
//! speculation. The answer has the fastest and the median run.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use relens_models::dual_encoder::architecture::open_weights;
use relens_models::language_model::generation::{CopySpeculation, GenerationConfig, generate};
use relens_models::language_model::t5::{T5Config, T5Model};
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use relens_models::parameters::Parameters;
use relens_training::optimizer::{AdamW, AdamWConfig, Gradients, NamedParameter, check_and_clip};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ids of ordinary tokens, the same in the script: neither the start nor the end.
fn sequences(count: usize, length: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let id = |i: usize, j: usize| (2 + (i * 7919 + j * 104_729) % (vocabulary - 2)) as u32;
    (0..count).map(|i| (0..length).map(|j| id(i, j)).collect()).collect()
}

struct Timed {
    frozen: T5Model,
    trainable: T5Model,
    optimizer: AdamW,
}

impl Timed {
    fn run(&mut self, task: &str, count: usize, length: usize) -> Result<(), Box<dyn Error>> {
        let prompts = sequences(count, length, self.frozen.vocabulary_size());
        let batch = PromptTargetBatch::from_pairs(prompts.iter().zip(&prompts));
        let config = GenerationConfig { max_new_tokens: length, ..GenerationConfig::default() };
        match task {
            "train" => self.step(&batch)?,
            "forward" => drop(self.frozen.target_log_probs(&batch, None)?),
            "greedy" => drop(generate(&self.frozen, &batch.prompts, &config)?),
            "copy" => {
                let copy_speculation = Some(CopySpeculation::default());
                drop(generate(
                    &self.frozen,
                    &batch.prompts,
                    &GenerationConfig { copy_speculation, ..config },
                )?);
            }
            other => return Err(format!("unknown task `{other}`").into()),
        }
        Ok(())
    }

    fn step(&mut self, batch: &PromptTargetBatch) -> Result<(), Box<dyn Error>> {
        let loss = self.trainable.target_log_probs(batch, None)?.mean_all()?.neg()?;
        let parameters = self.optimizer.parameters().to_vec();
        let gradients = Gradients::take(&mut loss.backward()?, &parameters, 0)?;
        let (gradients, _) = check_and_clip(&gradients, &parameters, 1.0, 0)?;
        Ok(self.optimizer.step(&gradients, 1e-4)?)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let Some(directory) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err("usage: time_t5 MODEL_DIRECTORY".into());
    };
    let config = T5Config::open(directory.join("config.json"))?;
    let weights = open_weights(&directory)?;
    let (parameters, variables) = Parameters::trainable(weights.clone(), |_| true);
    let trainable = T5Model::load(&parameters, &config)?;
    let named = variables.entries().into_iter().map(|(name, entry)| NamedParameter::new(name, entry.var));
    let mut timed = Timed {
        frozen: T5Model::load(&Parameters::frozen(weights), &config)?,
        trainable,
        optimizer: AdamW::new(AdamWConfig::default(), named.collect())?,
    };
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let [task, count, length, runs] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("expected `TASK COUNT LENGTH RUNS`, found `{request}`").into());
        };
        let mut milliseconds = Vec::new();
        for _ in 0..runs.parse::<usize>()? {
            let start = Instant::now();
            timed.run(task, count.parse()?, length.parse()?)?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        milliseconds.sort_by(f64::total_cmp);
        let fastest = milliseconds.first().copied().unwrap_or(f64::NAN);
        let median = milliseconds.get(milliseconds.len() / 2).copied().unwrap_or(f64::NAN);
        println!("{}", serde_json::json!({ "task": task, "fastest_ms": fastest, "median_ms": median }));
    }
    Ok(())
}
