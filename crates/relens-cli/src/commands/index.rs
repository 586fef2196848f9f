//! `relens index`: a library that follows a directory.

use std::collections::BTreeMap;
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
use crate::settings::settings;
use relens::counted::{by_number, counted};

/// Make a directory's pictures searchable, or bring the library up to date with it.
///
/// Looks through DIR and all directories below it (not through hidden ones). New and changed pictures are embedded,
/// deleted ones forgotten; the rest is left as it is, so that the second run takes moments. Several directories can
/// be indexed into one library.
///
/// What is done is kept at every moment: after Ctrl-C, a kill or a full disk the next run goes on. A picture that
/// cannot be read is named, counted and skipped until it changes. A picture that was moved or renamed is known by its
/// content and not embedded again. A folder that is suddenly empty or missing, such as a drive that is unplugged, is
/// kept until `relens library forget DIR`.
///
/// Pictures: JPEG (MPO among it), PNG, GIF, WebP, BMP, TIFF, PNM, QOI, TGA; RAW of cameras (CR2, CR3, NEF, ARW, DNG,
/// RAF, ORF, RW2, PEF, SRW) by the preview inside; HEIC, HEIF and AVIF where relens is built with `--features heif`,
/// else through `heif-convert` or `ffmpeg`. Videos (MP4, MOV, MKV, AVI, WebM and others) through `ffmpeg`, and folders of
/// frames called NAME.frames. Transparent pictures are laid on white. JPEG 2000, JPEG XL, SVG, PSD and other formats are
/// counted and named. Pictures of more than 100 megapixels are left out (`relens config set max_megapixels` sets the
/// limit), but JPEG is decoded at a half, a quarter or an eighth of its size.
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

    /// Follow symbolic links to files and folders; without it they are counted.
    #[arg(long)]
    follow_links: bool,

    /// Read every file again and embed those whose content has changed though size and time have not.
    #[arg(long)]
    verify: bool,

    /// Empty the library first, even if another model made it.
    #[arg(long)]
    rebuild: bool,

    /// Print one JSON object at the end: {"library", "model", "added", "changed", "moved", "copied", "removed",
    /// "unchanged", "skipped", "unreadable", "not_read", "links", "hidden", "others", "kept", "images", "seconds"}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    library: &'a Path,
    model: &'a str,
    added: usize,
    changed: usize,
    moved: usize,
    copied: usize,
    removed: usize,
    unchanged: usize,
    skipped: usize,
    unreadable: usize,
    /// By ending: how many files of a format that is not read here.
    not_read: BTreeMap<&'a str, usize>,
    links: usize,
    /// Files and folders whose names begin with a dot.
    hidden: usize,
    /// Files that are no pictures.
    others: usize,
    /// Indexed folders in which nothing is found any more.
    kept: Vec<std::borrow::Cow<'a, str>>,
    images: usize,
    seconds: f64,
}

impl IndexArguments {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let directory = self.library.directory()?;
        let options = IndexingOptions {
            follow_links: self.follow_links || settings()?.follow_links.unwrap_or_default(),
            verify: self.verify,
            ..options(self.jobs.or(settings()?.jobs))
        };
        let retriever = self.model.open()?;
        let existing = if self.rebuild { Existing::Rebuild } else { Existing::Keep };
        let (library, summary) =
            indexing::index(&directory, &self.directory, &retriever, &options, existing)?;
        let report = Report {
            library: &directory,
            model: retriever.name(),
            added: summary.added,
            changed: summary.updated,
            moved: summary.moved,
            copied: summary.copied,
            removed: summary.deleted,
            unchanged: summary.unchanged,
            skipped: summary.skipped,
            unreadable: summary.unreadable,
            not_read: not_read(&summary),
            links: summary.passed_over.links,
            hidden: summary.passed_over.hidden,
            others: summary.passed_over.others + summary.passed_over.special,
            kept: summary.kept.iter().map(|folder| folder.path.to_string_lossy()).collect(),
            images: library.catalog().image_count()?,
            seconds: start.elapsed().as_secs_f64(),
        };
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer(&mut output.writer, &report)?;
            writeln!(output.writer)?;
        } else {
            report.write(&mut output)?;
            write_passed_over(&mut output, &summary)?;
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

fn not_read(summary: &IndexingSummary) -> BTreeMap<&str, usize> {
    summary.passed_over.unread.iter().map(|(ending, (count, _))| (ending.as_str(), *count)).collect()
}

/// Every file that became no picture, with the reason and what to do.
fn write_passed_over(output: &mut Output, summary: &IndexingSummary) -> Result<()> {
    let writer = &mut output.writer;
    let passed_over = &summary.passed_over;
    for (ending, (count, remedy)) in &passed_over.unread {
        writeln!(writer, "not read: {count} of the format .{ending}: {remedy}")?;
    }
    if passed_over.links > 0 {
        writeln!(
            writer,
            "not followed: {} (--follow-links follows them)",
            counted(passed_over.links, "symbolic link")
        )?;
    }
    if passed_over.hidden > 0 {
        let files = by_number(
            &passed_over.hidden,
            "file or folder whose name begins",
            "files and folders whose names begin",
        );
        writeln!(writer, "hidden: {} {files} with a dot", passed_over.hidden)?;
    }
    let others = passed_over.others + passed_over.special;
    if others > 0 {
        writeln!(writer, "no pictures: {}", counted(others, "other file"))?;
    }
    for folder in &summary.kept {
        let (path, images) = (folder.path.display(), counted(folder.images, "picture"));
        let them = by_number(&folder.images, "it", "them");
        writeln!(writer, "kept: {images} of {path}, where nothing is found now")?;
        writeln!(writer, "      `relens library forget {path}` drops {them}")?;
    }
    let read = summary.added + summary.updated + summary.moved + summary.copied + summary.unchanged;
    if read == 0 && summary.skipped == 0 && summary.kept.is_empty() {
        writeln!(
            writer,
            "no pictures that can be read were found here; `relens help index` lists the formats"
        )?;
    }
    Ok(())
}

impl Report<'_> {
    fn write(&self, output: &mut Output) -> Result<()> {
        let Self { added, changed, moved, copied, removed, unchanged, skipped, images, seconds, .. } = self;
        let known = match moved + copied {
            0 => String::new(),
            _ => format!(", {moved} moved, {copied} copied"),
        };
        let strong = output.style(output::strong());
        let unreadable = match self.unreadable {
            0 => String::new(),
            places => format!(", {} could not be looked into", counted(places, "place")),
        };
        writeln!(
            output.writer,
            "{strong}{added} added{strong:#}, {changed} changed{known}, {removed} removed, {unchanged} unchanged, \
             {skipped} skipped{unreadable} in {seconds:.1} s"
        )?;
        let library = self.library.display();
        writeln!(output.writer, "{} in {library}, indexed by {}", counted(*images, "picture"), self.model)?;
        Ok(())
    }
}
