//! `relens models`: the retrievers that can be used, what is inside of them, and how to get and change them.

mod conversion;
mod description;

use anyhow::Result;
use clap::Subcommand;

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
    List(description::ModelListArguments),
    Info(description::InfoArguments),
    Pull(conversion::PullArguments),
    Convert(conversion::ConvertArguments),
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
