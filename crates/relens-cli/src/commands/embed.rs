//! `relens embed`: the vectors of pictures and texts.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgGroup, Args};
use serde::Serialize;

use crate::image_embedding::embed_images;
use crate::model_choice;
use crate::model_choice::ModelArguments;
use crate::output::{self, Output};
use crate::usage::usage_error;

/// How many inputs are embedded before their vectors are printed: many inputs need little memory.
const BATCH: usize = 32;

/// Print the vectors of pictures and texts.
///
/// Vectors are L2-normalised: the dot product of two is their cosine similarity. Pictures are printed first, then
/// texts, each in the order given.
///
/// Without --json a line is: image or text, a tab, the input, a tab, the components separated by spaces.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("inputs").required(true).multiple(true).args(["image", "text"]))]
pub(crate) struct EmbedArguments {
    #[command(flatten)]
    model: ModelArguments,

    /// A picture to embed; may be repeated.
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,

    /// A text to embed; may be repeated.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,

    /// One JSON object a line: {"kind": "image" or "text", "input", "embedding": [numbers]}.
    #[arg(long)]
    json: bool,
}

/// A line of the machine-readable form.
#[derive(Debug, Serialize)]
struct EmbeddingLine<'a> {
    kind: &'static str,
    input: &'a str,
    embedding: &'a [f32],
}

impl EmbedArguments {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(position) = self.text.iter().position(|text| text.trim().is_empty()) {
            return Err(usage_error(format!("text number {} is empty", position + 1)));
        }
        let retriever = self.model.open()?;
        let mut output = Output::new();
        for paths in self.image.chunks(BATCH) {
            let embeddings = embed_images(&retriever, paths)?;
            for (path, embedding) in paths.iter().zip(embeddings.iter()) {
                self.write(&mut output, "image", output::path_bytes(path), embedding)?;
            }
            output.writer.flush()?;
        }
        for texts in self.text.chunks(BATCH) {
            let embeddings = retriever.embed_texts(texts)?;
            for (text, embedding) in texts.iter().zip(embeddings.iter()) {
                self.write(&mut output, "text", text.as_bytes(), embedding)?;
            }
            output.writer.flush()?;
        }
        model_choice::tell_truncated(&retriever)
    }

    fn write(&self, output: &mut Output, kind: &'static str, input: &[u8], embedding: &[f32]) -> Result<()> {
        let writer = &mut output.writer;
        if self.json {
            let input = String::from_utf8_lossy(input);
            serde_json::to_writer(&mut *writer, &EmbeddingLine { kind, input: &input, embedding })?;
        } else {
            write!(writer, "{kind}\t")?;
            writer.write_all(input)?;
            for (position, component) in embedding.iter().enumerate() {
                write!(writer, "{}{component}", if position == 0 { '\t' } else { ' ' })?;
            }
        }
        writeln!(writer)?;
        Ok(())
    }
}
