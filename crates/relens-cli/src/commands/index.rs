//! `relens index`: a library that follows a directory.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use relens::error::Error;
use relens::library::{IndexingOptions, IndexingSummary};
use serde::Serialize;

use crate::indexing::{self, Existing};
use crate::library_location::LibraryArguments;
use crate::model_choice::ModelArguments;
use crate::output::{self, Output};
use crate::progress;

/// Make a directory's pictures searchable, or bring the library up to date with it.
///
/// Looks through DIR and all directories below it (not through hidden ones). New and changed pictures are embedded,
/// deleted ones forgotten; the rest is left as it is, so that the second run takes moments. Several directories can
/// be indexed into one library.
///
/// What is done is kept at every moment: after Ctrl-C, a kill or a full disk the next run goes on. A picture that
/// cannot be read is named, counted and skipped until it changes.
#[derive(Debug, Args)]
pub(crate) struct IndexArguments {
    /// The directory with the pictures.
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    #[command(flatten)]
    library: LibraryArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// How many threads decode and embed pictures. Default: one for each core.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,

    /// Empty the library first, even if another model made it.
    #[arg(long)]
    rebuild: bool,

    /// Print one JSON object at the end: {"library", "model", "added", "changed", "removed", "unchanged",
    /// "skipped", "unreadable", "images", "seconds"}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    library: &'a Path,
    model: &'a str,
    added: usize,
    changed: usize,
    removed: usize,
    unchanged: usize,
    skipped: usize,
    unreadable: usize,
    images: usize,
    seconds: f64,
}

impl IndexArguments {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let directory = self.library.directory()?;
        let options = options(self.jobs);
        let retriever = self.model.open()?;
        let existing = if self.rebuild { Existing::Rebuild } else { Existing::Keep };
        let (library, summary) =
            indexing::index(&directory, &self.directory, &retriever, &options, existing)?;
        let report = Report {
            library: &directory,
            model: retriever.name(),
            added: summary.added,
            changed: summary.updated,
            removed: summary.deleted,
            unchanged: summary.unchanged,
            skipped: summary.skipped,
            unreadable: summary.unreadable,
            images: library.catalog().image_count()?,
            seconds: start.elapsed().as_secs_f64(),
        };
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer(&mut output.writer, &report)?;
            writeln!(output.writer)?;
        } else {
            report.write(&mut output)?;
        }
        output.writer.flush()?;
        drop(output);
        stopped_or_done(&summary)
    }
}

/// The threads that were asked for, also for the model's computations.
pub(crate) fn options(jobs: Option<NonZeroUsize>) -> IndexingOptions {
    let Some(jobs) = jobs else { return IndexingOptions::default() };
    if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(jobs.get()).build_global() {
        tracing::debug!("the number of threads stays as it is: {error}");
    }
    IndexingOptions { jobs: jobs.get(), ..IndexingOptions::default() }
}

fn stopped_or_done(summary: &IndexingSummary) -> Result<()> {
    if summary.cancelled {
        progress::note("run the same command again to go on");
        return Err(Error::Cancelled.into());
    }
    Ok(())
}

impl Report<'_> {
    fn write(&self, output: &mut Output) -> Result<()> {
        let Self { added, changed, removed, unchanged, skipped, images, seconds, .. } = self;
        let strong = output.style(output::strong());
        let unreadable = match self.unreadable {
            0 => String::new(),
            places => format!(", {places} places could not be looked into"),
        };
        writeln!(
            output.writer,
            "{strong}{added} added{strong:#}, {changed} changed, {removed} removed, {unchanged} unchanged, \
             {skipped} skipped{unreadable} in {seconds:.1} s"
        )?;
        let library = self.library.display();
        writeln!(output.writer, "{images} pictures in {library}, indexed by {}", self.model)?;
        Ok(())
    }
}
