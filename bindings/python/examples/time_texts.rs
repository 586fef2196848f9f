//! Times the encoding of texts by the Rust library, for comparison with the same through Python.
//!
//! For every line of standard input it encodes all captions once and answers with the seconds that it took, so that
//! whoever asks (`tools/reference/time_bindings.py`) can alternate between the two in one session.
#![allow(clippy::print_stdout, reason = "the answers")]

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use relens::embed::retriever::Retriever;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(captions)) = (arguments.next(), arguments.next()) else {
        return Err("usage: time_texts MODEL CAPTIONS_FILE".into());
    };
    let captions = std::fs::read_to_string(captions)?;
    let captions: Vec<&str> = captions.lines().collect();
    let retriever = Retriever::load(&model)?;
    for request in std::io::stdin().lock().lines() {
        request?;
        let start = Instant::now();
        let embeddings = retriever.embed_texts(&captions)?;
        let seconds = start.elapsed().as_secs_f64();
        if embeddings.rows() != captions.len() {
            return Err("captions are missing".into());
        }
        println!("{seconds}");
    }
    Ok(())
}
