//! Which retriever a command works with.

use anyhow::{Context, Result};
use clap::Args;
use relens::bundled;
use relens::retriever::{DEFAULT_MODEL, Retriever};

/// The option that names a retriever; without it, the bundled one is used.
#[derive(Debug, Args)]
pub(crate) struct ModelOption {
    /// The retriever: the name of a bundled model (see `relens models list`) or a model directory in the
    /// open_clip layout.
    #[arg(long, value_name = "NAME|DIR", default_value = DEFAULT_MODEL)]
    model: String,
}

impl ModelOption {
    /// Opens the model that was named.
    pub(crate) fn open(&self) -> Result<Retriever> {
        open(&self.model)
    }
}

/// Opens a bundled model or a model directory; the error lists the bundled ones.
pub(crate) fn open(model: &str) -> Result<Retriever> {
    let names = || match bundled::model_names().join(", ") {
        names if names.is_empty() => "no models are bundled".to_owned(),
        names => format!("bundled models: {names}"),
    };
    Retriever::load(model).with_context(|| format!("the model `{model}` cannot be opened ({})", names()))
}
