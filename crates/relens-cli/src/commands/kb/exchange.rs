//! `relens kb import` and `relens kb export`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use relens::knowledge::knowledge_base::read_entities;
use relens::knowledge::{ImportMode, json_lines};

use super::{knowledge, store};
use crate::output::Output;
use crate::output_file::write_streaming;
use crate::progress;

/// Take in entities from files.
///
/// Formats: what `kb export` writes; {"class": ["descriptor", …]} JSON as classify-by-description tools use it (.json);
/// a language model's answers, {"entity", "visual", "descriptions", "sense"} a line; another knowledge base (.db).
/// All files are taken in one revision, or nothing is.
#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// What is imported becomes the whole knowledge base. Without this, entities gain senses, descriptions and aliases.
    #[arg(long)]
    replace: bool,
}

/// Write all entities as JSON Lines, sorted by name.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Where to. Default: standard output.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ImportArguments {
    pub(crate) fn run(self) -> Result<()> {
        let mut entities = Vec::new();
        for file in &self.files {
            entities.extend(read_entities(file)?);
        }
        let mode = if self.replace { ImportMode::Replace } else { ImportMode::Merge };
        let summary = store()?.import("import", &entities, mode)?;
        let relens::knowledge::store::ImportSummary { added, changed, removed, unchanged, .. } = summary;
        progress::note(&format!(
            "{added} entities added, {changed} changed, {removed} removed, {unchanged} as before"
        ));
        Ok(())
    }
}

impl ExportArguments {
    pub(crate) fn run(self) -> Result<()> {
        let knowledge = knowledge()?;
        let Some(path) = &self.file else {
            let mut output = Output::new();
            json_lines::write(knowledge.entities(), &mut output.writer)?;
            return Ok(output.writer.flush()?);
        };
        write_streaming(path, |writer| Ok(json_lines::write(knowledge.entities(), writer)?))
    }
}
