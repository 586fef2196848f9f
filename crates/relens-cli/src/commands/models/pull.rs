//! `relens models pull`.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args;
use relens::model_hub::ModelReference;

use crate::model_choice;
use crate::output::{self, Output};
use crate::reporter::Reporter;

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
            .with_context(|| format!("the model `{}` cannot be had", self.model))?;
        let mut output = Output::new();
        output.writer.write_all(output::path_bytes(&directory))?;
        writeln!(output.writer)?;
        Ok(output.writer.flush()?)
    }
}
