//! Times a BERT's forward pass, and its training step, for comparison with another implementation.
//!
//! Reads requests line by line from standard input and answers each with the milliseconds that one run took, so that
//! whoever asks (tools/reference/time_text.py) can alternate between implementations in one session:
//!
//! ```text
//! time_text MODEL_DIRECTORY CAPTIONS_FILE < "forward 64 5\ntrain 32 3\n"
//! ```
//!
//! `forward 64 5` encodes the first 64 lines of the captions file five times and prints the fastest and the median
//! run as JSON.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::Instant;

use candle_core::Tensor;
use relens_models::ops;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::{TokenBatch, Tokenizer};
use relens_models::towers::bert::{BertConfig, BertModel};
use relens_models::weights::Weights;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn encode(model: &BertModel, batch: &TokenBatch) -> relens_models::Result<Tensor> {
    ops::mean_pool(&model.forward(batch)?, &batch.offsets)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(directory), Some(captions)) = (arguments.next(), arguments.next()) else {
        return Err("usage: time_text MODEL_DIRECTORY CAPTIONS_FILE".into());
    };
    let captions = fs_err::read_to_string(captions)?;
    let captions: Vec<&str> = captions.lines().collect();
    let tokenizer = Tokenizer::open(&directory, 128)?;
    let config = BertConfig::open(directory.join("config.json"))?;
    let weights = Weights::open(directory.join("model.safetensors"))?;
    let start = Instant::now();
    let frozen = BertModel::load(&Parameters::frozen(weights.clone()), &config)?;
    eprintln!("loaded in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    let layers = config.num_hidden_layers;
    let (parameters, _variables) =
        Parameters::trainable(weights, BertModel::selects_last_layers(&config, layers, false));
    let trainable = BertModel::load(&parameters, &config)?;

    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let [task, count, runs] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("expected `TASK CAPTIONS RUNS`, found `{request}`").into());
        };
        let texts = captions.get(..count.parse()?).ok_or("the captions file is too short")?;
        let batch = tokenizer.encode_batch(texts)?;
        let mut milliseconds = Vec::new();
        for _ in 0..runs.parse::<usize>()? {
            let start = Instant::now();
            match task {
                "forward" => drop(encode(&frozen, &batch)?),
                "train" => drop(encode(&trainable, &batch)?.sqr()?.sum_all()?.backward()?),
                "tokenize" => drop(tokenizer.encode_batch(texts)?),
                other => return Err(format!("unknown task `{other}`").into()),
            }
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
        milliseconds.sort_by(f64::total_cmp);
        let fastest = milliseconds.first().copied().unwrap_or(f64::NAN);
        let median = milliseconds.get(milliseconds.len() / 2).copied().unwrap_or(f64::NAN);
        println!("{}", serde_json::json!({ "task": task, "fastest_ms": fastest, "median_ms": median }));
    }
    Ok(())
}
