//! `relens models convert`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use relens::model_hub::ModelReference;
use relens_models::architecture::convert;
use relens_models::weights::ElementType;

use super::{megabytes, weights_bytes};
use crate::model_choice::{self, Download};
use crate::output::Output;

/// Write a model anew, as one safetensors file with numbers of the precision asked for.
///
/// Reads whatever relens can open: shards, PyTorch's .bin files, any precision. The layout stays what it was, so that
/// open_clip or transformers read the result too. Half precision halves size and reading time; the computation is in
/// single precision in any case.
#[derive(Debug, Args)]
pub(crate) struct ConvertArguments {
    /// The model, by any of its names.
    #[arg(value_name = "NAME|DIR")]
    model: String,

    /// The directory to write; it must not exist yet.
    #[arg(value_name = "OUT")]
    target: PathBuf,

    /// The numbers' precision.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f16")]
    dtype: Precision,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    F16,
    Bf16,
}

impl ConvertArguments {
    pub(super) fn run(&self) -> Result<()> {
        let element = match self.dtype {
            Precision::F32 => ElementType::F32,
            Precision::F16 => ElementType::F16,
            Precision::Bf16 => ElementType::Bf16,
        };
        let source = ModelReference::parse(&self.model)?
            .directory(&model_choice::hub(), &mut Download::default())
            .with_context(|| format!("the model `{}` cannot be opened", self.model))?;
        convert(&source, &self.target, element)?;
        let mut output = Output::new();
        let (target, size) = (self.target.display(), megabytes(weights_bytes(&self.target)?));
        writeln!(output.writer, "{target}: {size}")?;
        Ok(output.writer.flush()?)
    }
}
