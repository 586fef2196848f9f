//! Indexing with progress and Ctrl-C, shared by the commands that index.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use relens::embed::retriever::Retriever;
use relens::library::catalog::SkippedFile;
use relens::library::{self, ImageEmbedder, IndexingOptions, IndexingSummary, Library, ScanPlan};

use crate::interrupt;
use crate::progress::{self, Progress};

/// Skipped files that are named one by one; of the others the number is told.
const NAMED_SKIPS: u64 = 20;

/// Whether what another model indexed is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Keep,
    Rebuild,
}

/// Brings the library at `directory` up to date with `pictures`.
pub(crate) fn index(
    directory: &Path,
    pictures: &Path,
    retriever: &Retriever,
    options: &IndexingOptions,
    existing: Existing,
) -> Result<(Library, IndexingSummary)> {
    // A mistyped directory must not leave an empty library behind.
    fs_err::read_dir(pictures)?;
    interrupt::watch();
    let model = retriever.model();
    let mut library = match existing {
        Existing::Keep => Library::open_or_create(directory, &model),
        Existing::Rebuild => Library::rebuild(directory, &model),
    }
    .with_context(|| format!("the library {} cannot be used", directory.display()))?;
    let watch = Watch::default();
    let summary = library.index_directory(pictures, retriever, options, &watch);
    watch.finish();
    let summary = summary.with_context(|| format!("indexing {} stopped", pictures.display()))?;
    Ok((library, summary))
}

/// Turns the library's reports into a bar, log lines and warnings.
#[derive(Default)]
struct Watch {
    progress: OnceLock<Progress>,
    total: AtomicU64,
    done: AtomicU64,
    skipped: AtomicU64,
}

impl library::Progress for Watch {
    fn started(&self, plan: &ScanPlan) {
        let total = plan.files_to_read() as u64;
        self.total.store(total, Ordering::Relaxed);
        if total > 0 {
            self.progress.get_or_init(|| Progress::start("index", total));
        }
        for warning in &plan.warnings {
            progress::note(&format!("cannot be looked into: {}", warning.reason));
        }
    }

    fn advanced(&self, files: usize) {
        let done = self.done.fetch_add(files as u64, Ordering::Relaxed) + files as u64;
        if let Some(progress) = self.progress.get() {
            progress.update(done, self.total.load(Ordering::Relaxed));
        }
    }

    fn skipped(&self, file: &SkippedFile) {
        if self.skipped.fetch_add(1, Ordering::Relaxed) < NAMED_SKIPS {
            progress::note(&format!("skipped: {}", file.reason));
        }
    }

    fn is_cancelled(&self) -> bool {
        interrupt::requested()
    }
}

impl Watch {
    fn finish(self) {
        if let Some(progress) = self.progress.into_inner() {
            progress.finish();
        }
        let unnamed = self.skipped.into_inner().saturating_sub(NAMED_SKIPS);
        if unnamed > 0 {
            progress::note(&format!("skipped: {unnamed} more files that cannot be read as pictures"));
        }
    }
}
