//! Times the towers of a dual encoder, for comparison with another implementation.
//!
//! Reads requests line by line from standard input and answers each with the milliseconds that its runs took, so that
//! whoever asks (tools/reference/time_towers.py) can alternate between implementations in one session:
//!
//! ```text
//! time_towers MODEL_DIRECTORY CAPTIONS_FILE [int8] < "image 32 5\ntext 1 30\n"
//! ```
//!
//! `image 32 5` embeds 32 random pictures five times; `text 1 30` embeds the first caption thirty times.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};
use relens_models::dual_encoder::{DualEncoder, Precision};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (directory, captions, precision) = match arguments.as_slice() {
        [directory, captions] => (directory, captions, Precision::Float),
        [directory, captions, precision] if precision == Path::new("int8") => {
            (directory, captions, Precision::Int8)
        }
        _ => return Err("usage: time_towers MODEL_DIRECTORY CAPTIONS_FILE [int8]".into()),
    };
    let encoder = DualEncoder::open(directory)?.with_precision(precision);
    let tokenizer = encoder.open_tokenizer()?;
    let side = encoder.architecture().image.tower.image_size();
    let captions = fs_err::read_to_string(captions)?;
    let captions: Vec<&str> = captions.lines().collect();
    for request in std::io::stdin().lock().lines() {
        let request = request?;
        let [task, count, runs] = request.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(format!("expected `image|text COUNT RUNS`, found `{request}`").into());
        };
        let (count, runs) = (count.parse::<usize>()?, runs.parse::<usize>()?);
        let mut milliseconds = Vec::new();
        if task == "image" {
            let pictures = Tensor::randn(0f32, 1.0, (count, side, side, 3), &Device::Cpu)?;
            for _ in 0..runs {
                let start = Instant::now();
                encoder.encode_image(&pictures)?;
                milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
            }
        } else {
            let texts = captions.get(..count).ok_or("the captions file is too short")?;
            let tokens = tokenizer.encode_batch(texts)?;
            for _ in 0..runs {
                let start = Instant::now();
                encoder.encode_text(&tokens)?;
                milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
            }
        }
        milliseconds.sort_by(f64::total_cmp);
        let fastest = milliseconds.first().copied().unwrap_or(f64::NAN);
        let median = milliseconds.get(milliseconds.len() / 2).copied().unwrap_or(f64::NAN);
        println!("{}", serde_json::json!({ "task": task, "fastest_ms": fastest, "median_ms": median }));
    }
    Ok(())
}
