//! `relens library list` and `info`.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use relens::library::DATABASE_FILE;
use serde::Serialize;

use crate::library_location::LibraryArguments;
use crate::output::Output;

/// The most reasons for skipped files that are told.
const TOLD_SKIPS: usize = 10;

/// List the folders that were indexed, and whether they are there.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    library: LibraryArguments,

    /// Print a JSON array of {"folder", "images", "state"}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Folder {
    folder: String,
    images: usize,
    state: &'static str,
}

impl ListArguments {
    pub(crate) fn run(self) -> Result<()> {
        let library = self.library.open()?;
        let folders: Vec<Folder> = library
            .catalog()
            .folders()?
            .into_iter()
            .map(|folder| Folder {
                state: state(&folder.path),
                folder: folder.path.to_string_lossy().into_owned(),
                images: folder.images,
            })
            .collect();
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer_pretty(&mut output.writer, &folders)?;
            writeln!(output.writer)?;
            return Ok(output.writer.flush()?);
        }
        if folders.is_empty() {
            writeln!(output.writer, "no folders yet; `relens index DIR` makes one searchable")?;
        }
        for Folder { folder, images, state } in folders {
            let state = if state == "there" { String::new() } else { format!("  ({state})") };
            writeln!(output.writer, "{images:>8}  {folder}{state}")?;
        }
        Ok(output.writer.flush()?)
    }
}

/// Whether a folder is there: a drive that is unplugged leaves nothing, or an empty folder.
fn state(folder: &Path) -> &'static str {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                "there"
            } else {
                "empty"
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "missing",
        Err(_) => "cannot be read",
    }
}

/// Tell what a library holds and which model made it.
#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    #[command(flatten)]
    library: LibraryArguments,

    /// Print one JSON object: {"library", "model", "dimensions", "images", "skipped", "folders", "bytes"}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Info {
    library: String,
    model: String,
    dimensions: usize,
    images: usize,
    skipped: usize,
    folders: usize,
    bytes: u64,
}

impl InfoArguments {
    pub(crate) fn run(self) -> Result<()> {
        let directory = self.library.directory()?;
        let library = self.library.open()?;
        let catalog = library.catalog();
        let info = Info {
            library: directory.to_string_lossy().into_owned(),
            model: catalog.model().name.clone(),
            dimensions: catalog.model().dim,
            images: catalog.image_count()?,
            skipped: catalog.skipped_count()?,
            folders: catalog.folders()?.len(),
            bytes: fs_err::metadata(directory.join(DATABASE_FILE))?.len(),
        };
        let mut output = Output::new();
        if self.json {
            serde_json::to_writer_pretty(&mut output.writer, &info)?;
            writeln!(output.writer)?;
            return Ok(output.writer.flush()?);
        }
        let Info { library: place, model, dimensions, images, skipped, folders, bytes } = info;
        let writer = &mut output.writer;
        writeln!(writer, "library   {place}")?;
        writeln!(writer, "model     {model}, {dimensions} dimensions")?;
        writeln!(writer, "pictures  {images}")?;
        writeln!(writer, "folders   {folders}")?;
        writeln!(writer, "size      {:.1} MB", bytes as f64 / 1e6)?;
        writeln!(writer, "skipped   {skipped}")?;
        for file in catalog.skipped(TOLD_SKIPS)? {
            writeln!(writer, "  {}", file.reason)?;
        }
        Ok(output.writer.flush()?)
    }
}
