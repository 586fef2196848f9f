//! Which retriever a command works with.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use relens::embed::long_text::LongText;
use relens::embed::retriever::{DEFAULT_MODEL, Precision, Retriever};
use relens::library::Library;
use relens::model_hub::bundled;
use relens::model_hub::{ModelHub, ModelReference};

use crate::progress;
use crate::reporter::Reporter;
use crate::settings::settings;
use relens::counted::{by_number, counted};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// Whether nothing may be downloaded.
pub(crate) fn set_offline(offline: bool) {
    OFFLINE.store(offline, Ordering::Relaxed);
}

/// The hub of the environment, offline if `--offline` was given.
pub(crate) fn hub() -> ModelHub {
    ModelHub::from_environment().with_offline(OFFLINE.load(Ordering::Relaxed))
}

/// The arguments that name a retriever and say how it reads texts; default: the bundled one.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    /// The retriever: the name of a bundled model (see `relens models list`), a model directory in the layout of
    /// open_clip or Hugging Face, `hf-hub:ORGANISATION/NAME`, or open_clip's MODEL/WEIGHTS. What is not on this
    /// computer is downloaded, unless --offline is given.
    /// Default: the one that is set (`relens config`), or else relens-mini.
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,

    #[command(flatten)]
    precision: PrecisionArguments,

    #[command(flatten)]
    long_text: LongTextArguments,
}

impl ModelArguments {
    /// Opens the model that was named.
    pub(crate) fn open(&self) -> Result<Retriever> {
        let model = self.model.as_deref().or(settings()?.model.as_deref()).unwrap_or(DEFAULT_MODEL);
        Ok(self.long_text.apply(self.precision.apply(open(model)?)))
    }
}

/// The argument that says in which precision a retriever computes.
#[derive(Debug, Args)]
pub(crate) struct PrecisionArguments {
    /// The numbers that transformers compute in: int8 is about twice as fast and a little less exact. Vectors of one
    /// precision are not compared with those of another: a library remembers its own. Default: that of the library
    /// for a search, float for all else.
    #[arg(long, value_name = "NUMBERS", value_enum)]
    precision: Option<PrecisionChoice>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrecisionChoice {
    Float,
    Int8,
}

impl PrecisionArguments {
    /// The retriever in the precision that was chosen.
    pub(crate) fn apply(&self, retriever: Retriever) -> Retriever {
        self.apply_or(Precision::Float, retriever)
    }

    /// The retriever in the precision that was chosen, or else in this one.
    pub(crate) fn apply_or(&self, otherwise: Precision, retriever: Retriever) -> Retriever {
        retriever.with_precision(match self.precision {
            Some(PrecisionChoice::Float) => Precision::Float,
            Some(PrecisionChoice::Int8) => Precision::Int8,
            None => otherwise,
        })
    }
}

/// The argument that says how long texts are read.
#[derive(Debug, Args)]
pub(crate) struct LongTextArguments {
    /// A text that is longer than the model's context: leave its end out, or embed it as the mean of windows.
    #[arg(long, value_name = "HOW", value_enum, default_value = "truncate")]
    long_text: LongTextChoice,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LongTextChoice {
    Truncate,
    MeanOfWindows,
}

impl LongTextArguments {
    /// The retriever with the treatment that was chosen.
    pub(crate) fn apply(&self, retriever: Retriever) -> Retriever {
        retriever.with_long_text(match self.long_text {
            LongTextChoice::Truncate => LongText::Truncate,
            LongTextChoice::MeanOfWindows => LongText::MeanOfWindows,
        })
    }
}

/// Opens a model by any of its names; the error lists the bundled ones.
pub(crate) fn open(model: &str) -> Result<Retriever> {
    let names = || match bundled::model_names().join(", ") {
        names if names.is_empty() => "no models are bundled".to_owned(),
        names => format!("bundled models: {names}"),
    };
    let retriever = Retriever::load_from(&hub(), model, &mut Reporter::default());
    retriever.with_context(|| format!("the model `{model}` cannot be opened ({})", names()))
}

/// The model that was named, or the one that made the library.
pub(crate) fn of_library(
    library: &Library,
    named: Option<&str>,
    precision: &PrecisionArguments,
) -> Result<Retriever> {
    let (name, own) = Retriever::model_and_precision(&library.catalog().model().name);
    if let Some(model) = named {
        return Ok(precision.apply_or(own, open(model)?));
    }
    // A directory's name says nothing about where the directory is.
    if !name.contains(':') {
        bundled::model(name).with_context(|| {
            format!("the library was made by the model `{name}`, which is not bundled: name its directory with --model")
        })?;
    }
    Ok(precision.apply_or(own, open(name)?))
}

/// The directory of the model that was named, downloaded if it has to be.
pub(crate) fn directory(model: &str) -> Result<PathBuf> {
    let directory =
        ModelReference::parse(model).and_then(|model| model.directory(&hub(), &mut Reporter::default()));
    directory.with_context(|| format!("the model `{model}` cannot be opened"))
}

/// Notes how many texts were truncated, if any were.
pub(crate) fn tell_truncated(retriever: &Retriever) -> Result<()> {
    let count = retriever.truncated_texts();
    if count == 0 {
        return Ok(());
    }
    let (texts, are) = (counted(count, "text"), by_number(&count, "is", "are"));
    let (limit, name) = (retriever.tokenizer()?.context_length(), retriever.name());
    progress::note(&format!("{texts} {are} long: {name} reads the first {limit} tokens (see --long-text)"));
    Ok(())
}
