//! `relens models`: the retrievers that can be used, what is inside of them, and how to get and change them.

mod convert;
mod info;
mod list;
mod pull;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;
use relens::embed::retriever::Retriever;
use relens_models::dual_encoder::architecture::weight_files;
use serde::Serialize;

/// List, describe, download and convert retrievers.
///
/// A retriever is a model with an image side and a text side that end in one space. It goes by
///
/// - the name of a bundled model, such as relens-mini;
/// - a directory in open_clip's layout (open_clip_config.json, open_clip_model.safetensors or
///   open_clip_pytorch_model.bin) or Hugging Face's (config.json, preprocessor_config.json, model.safetensors or
///   pytorch_model.bin, or their shards), with tokenizer.json, vocab.json and merges.txt, or vocab.txt;
/// - hf-hub:ORGANISATION/NAME, with @REVISION if need be;
/// - open_clip's MODEL/WEIGHTS, such as ViT-B-32/laion2b_s34b_b79k.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    List(list::ListArguments),
    Info(info::InfoArguments),
    Pull(pull::PullArguments),
    Convert(convert::ConvertArguments),
}

impl ModelsCommand {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::List(arguments) => arguments.run(),
            Self::Info(arguments) => arguments.run(),
            Self::Pull(arguments) => arguments.run(),
            Self::Convert(arguments) => arguments.run(),
        }
    }
}

/// What `list` tells of every model, and `info` first.
#[derive(Debug, Serialize)]
struct Summary {
    name: String,
    path: PathBuf,
    parameters: u64,
    dimensions: usize,
    bytes: u64,
}

impl Summary {
    fn of(retriever: &Retriever) -> Result<Self> {
        let encoder = retriever.encoder();
        let weights = encoder.parameters().weights();
        let parameters = weights
            .names()
            .filter_map(|name| weights.shape(name))
            .map(|shape| shape.iter().map(|&size| size as u64).product::<u64>())
            .sum();
        Ok(Self {
            name: retriever.name().to_owned(),
            path: encoder.directory().to_owned(),
            parameters,
            dimensions: retriever.dim(),
            bytes: weights_bytes(encoder.directory())?,
        })
    }
}

/// Size of the weights on disk, all shards together.
fn weights_bytes(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in weight_files(directory)? {
        bytes += fs_err::metadata(file)?.len();
    }
    Ok(bytes)
}

fn millions(parameters: u64) -> String {
    format!("{:.1} M", parameters as f64 / 1e6)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
