//! Times an image trunk, for comparison with another implementation.
//!
//! Reads requests line by line from standard input and answers each with the milliseconds that its runs took, so that
//! whoever asks (tools/reference/time_image.py) can alternate between implementations in one session:
//!
//! ```text
//! time_image tf_efficientnet_lite0 model.safetensors < "forward 32 5\ntrain 32 3\n"
//! ```
//!
//! `forward 32 5` computes the pooled features of 32 pictures five times; `train 32 3` runs forward and backward from
//! cached features through the last four blocks and the head.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use candle_core::{Device, Tensor};
use relens_models::parameters::Parameters;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::Weights;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Blocks that `train` moves.
const TRAINED_BLOCKS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(architecture), Some(weights)) = (arguments.next(), arguments.next()) else {
        return Err("usage: time_image ARCHITECTURE WEIGHTS".into());
    };
    let config = EfficientNetConfig::from_timm_name(&architecture.to_string_lossy())?;
    let side = config.input_size as usize;
    let weights = Weights::open(weights)?;
    let frozen = EfficientNet::new(config.clone(), &Parameters::frozen(weights.clone()))?;
    let first_trained = config.blocks.len().saturating_sub(TRAINED_BLOCKS);
    let prefixes: Vec<String> = config.blocks[first_trained..]
        .iter()
        .map(|block| format!("blocks.{}.{}.", block.stage, block.position))
        .chain(["conv_head".to_owned()])
        .collect();
    let (parameters, _variables) = Parameters::trainable(weights, move |name| {
        !name.contains("running_") && prefixes.iter().any(|prefix| name.starts_with(prefix))
    });
    let trainable = EfficientNet::new(config, &parameters)?;

    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let [task, count, runs] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("expected `TASK PICTURES RUNS`, found `{request}`").into());
        };
        let pictures = Tensor::randn(0f32, 1.0, (count.parse::<usize>()?, side, side, 3), &Device::Cpu)?;
        let cached = match task {
            "train" => Some(trainable.forward_until(&pictures, first_trained)?),
            _ => None,
        };
        let mut milliseconds = Vec::new();
        for _ in 0..runs.parse::<usize>()? {
            let start = Instant::now();
            match &cached {
                None => drop(frozen.pooled(&pictures)?),
                Some(features) => {
                    let pooled = trainable.pooled_from(features, first_trained)?;
                    drop(pooled.sqr()?.sum_all()?.backward()?);
                }
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
