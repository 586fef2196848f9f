//! Times a language model's greedy decoding, for comparison with another implementation.
//!
//! Reads requests line by line from standard input and answers each with the milliseconds that one run took, so that
//! whoever asks (tools/reference/time_llama.py) can alternate between implementations in one session:
//!
//! ```text
//! time_decoding MODEL f32|q8|q4 < "1 20 32 5\n"
//! ```
//!
//! `1 20 32 5` continues one prompt of 20 tokens by 32 tokens, five times. The answer has the fastest and the median
//! run.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use relens_models::language_model::generation::{GenerationConfig, generate};
use relens_models::language_model::open_with_storage;
use relens_models::ops::QuantizedFormat;
use relens_models::parameters::LinearStorage;
use relens_models::tokenizer::TokenBatch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ids of ordinary tokens, the same in the script.
fn prompts(count: usize, length: usize, vocabulary: usize) -> TokenBatch {
    let id = |i: usize, j: usize| (2 + (i * 7919 + j * 104_729) % (vocabulary - 2)) as u32;
    let mut batch = TokenBatch::empty();
    for i in 0..count {
        batch.push(&(0..length).map(|j| id(i, j)).collect::<Vec<_>>());
    }
    batch
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, storage] = &arguments[..] else {
        return Err("usage: time_decoding MODEL f32|q8|q4".into());
    };
    let storage = match storage.as_str() {
        "f32" => LinearStorage::AsStored,
        "q8" => LinearStorage::Quantized(QuantizedFormat::Q8),
        "q4" => LinearStorage::Quantized(QuantizedFormat::Q4),
        other => return Err(format!("expected f32, q8 or q4, found `{other}`").into()),
    };
    let (model, _) = open_with_storage(model, storage)?;
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let numbers = request.split_whitespace().map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let [count, length, new, runs] = numbers[..] else {
            return Err(format!("expected `COUNT LENGTH NEW RUNS`, found `{request}`").into());
        };
        let prompts = prompts(count, length, model.vocabulary_size());
        let config = GenerationConfig { max_new_tokens: new, ..GenerationConfig::default() };
        let mut milliseconds = Vec::new();
        for _ in 0..runs {
            let start = Instant::now();
            let sequences = generate(&*model, &prompts, &config)?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
            let written: usize = sequences.iter().flatten().map(|sequence| sequence.tokens.len()).sum();
            if written != count * new {
                return Err(format!(
                    "expected {} tokens, found {written}: the model ended early",
                    count * new
                )
                .into());
            }
        }
        milliseconds.sort_by(f64::total_cmp);
        let fastest = milliseconds.first().copied().unwrap_or(f64::NAN);
        let median = milliseconds.get(milliseconds.len() / 2).copied().unwrap_or(f64::NAN);
        println!("{}", serde_json::json!({ "fastest_ms": fastest, "median_ms": median }));
    }
    Ok(())
}
