//! Prints the token ids of texts: one JSON string a line comes in, one JSON array a line goes out.
//!
//! ```text
//! token_ids DIRECTORY open_clip|hugging_face|bert CONTEXT_LENGTH
//! ```
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::error::Error;
use std::io::BufRead;
use std::path::PathBuf;

use relens_models::tokenizer::{TextCleaning, Tokenizer, TokenizerConfig, TokenizerFlavour};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, library, context_length] = arguments.as_slice() else {
        return Err("expected a directory, open_clip, hugging_face or bert, and a context length".into());
    };
    let (flavour, cleaning) = match library.as_str() {
        "open_clip" => (TokenizerFlavour::OpenClip, TextCleaning::Lower),
        _ => (TokenizerFlavour::HuggingFace, TextCleaning::None),
    };
    let settings =
        TokenizerConfig { flavour, context_length: context_length.parse()?, cleaning, pad_to_context: false };
    let tokenizer = Tokenizer::open_directory(&PathBuf::from(directory), &settings)?;
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        println!("{}", serde_json::to_string(&tokenizer.encode_batch(&[&text])?.ids)?);
    }
    Ok(())
}
