//! `relens models pull` and `convert`: how retrievers come here, and change their form.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use relens::model_hub::ModelReference;
use relens_models::dual_encoder::architecture::convert;
use relens_models::language_model::gguf::Gguf;
use relens_models::weights::ElementType;

use super::description::{megabytes, weights_bytes};
use crate::model_choice;
use crate::output::{self, Output};
use crate::reporter::Reporter;

/// Write a model anew, as one safetensors file with numbers of the precision asked for.
///
/// Reads whatever relens can open: shards, PyTorch's .bin files, any precision. The layout stays what it was, so that
/// open_clip or transformers read the result too. Half precision halves size and reading time; the computation is in
/// single precision in any case.
///
/// A language model's .gguf file becomes a directory in Hugging Face's layout, its numbers dequantised: what a rewriter
/// can be trained from.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// The model, by any of its names, or a .gguf file.
    #[arg(value_name = "NAME|DIR|FILE.gguf")]
    model: String,

    /// The directory to write; it must not exist yet.
    #[arg(value_name = "OUT")]
    target: PathBuf,

    /// The numbers' precision.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f16")]
    dtype: WeightType,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum WeightType {
    F32,
    F16,
    Bf16,
}

impl ConvertArguments {
    pub(super) fn run(&self) -> Result<()> {
        let element = match self.dtype {
            WeightType::F32 => ElementType::F32,
            WeightType::F16 => ElementType::F16,
            WeightType::Bf16 => ElementType::Bf16,
        };
        if is_gguf(&self.model) {
            self.dequantise(element)?;
        } else {
            self.rewrite(element)?;
        }
        let mut output = Output::new();
        let (target, size) = (self.target.display(), megabytes(weights_bytes(&self.target)?));
        writeln!(output.writer, "{target}: {size}")?;
        Ok(output.writer.flush()?)
    }

    fn dequantise(&self, element: ElementType) -> Result<()> {
        if self.target.exists() {
            bail!("{} exists already: name a directory that does not", self.target.display());
        }
        Ok(Gguf::open(&self.model)?.save_hugging_face(&self.target, element)?)
    }

    fn rewrite(&self, element: ElementType) -> Result<()> {
        let source = ModelReference::parse(&self.model)?
            .directory(&model_choice::hub(), &mut Reporter::default())
            .with_context(|| format!("the model `{}` cannot be opened", self.model))?;
        Ok(convert(&source, &self.target, element)?)
    }
}

fn is_gguf(model: &str) -> bool {
    let path = Path::new(model);
    path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// Download a model into the Hugging Face hub's cache, and print its directory.
///
/// A model that is in the cache already is not downloaded again. A download that was interrupted is taken up where it
/// stopped.
#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// hf-hub:ORGANISATION/NAME, with @REVISION if need be, or open_clip's MODEL/WEIGHTS.
    #[arg(value_name = "NAME")]
    model: String,
}

impl PullArguments {
    pub(super) fn run(&self) -> Result<()> {
        let reference = ModelReference::parse(&self.model)?;
        let directory = reference
            .directory(&model_choice::hub(), &mut Reporter::default())
            .with_context(|| format!("the model `{}` cannot be downloaded", self.model))?;
        let mut output = Output::new();
        output.writer.write_all(output::path_bytes(&directory))?;
        writeln!(output.writer)?;
        Ok(output.writer.flush()?)
    }
}
