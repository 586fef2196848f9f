//! `relens kb import` and `relens kb export`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use relens::knowledge::knowledge_base::read_entities;
use relens::knowledge::words::ENGLISH;
use relens::knowledge::{ImportMode, json_lines};

use super::{knowledge, store, words};
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
    #[arg(long, conflicts_with = "words")]
    replace: bool,

    /// The files hold words: what `kb export --words` writes, or a language model's answers.
    #[arg(long)]
    words: bool,

    /// The language of the words.
    #[arg(long, value_name = "CODE", requires = "words", default_value = "en")]
    language: String,
}

/// Write all entities, or all words, as JSON Lines, sorted by name.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Words with their meanings instead of entities.
    #[arg(long)]
    words: bool,

    /// Where to. Default: standard output.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl ImportArguments {
    pub(crate) fn run(self) -> Result<()> {
        if self.words {
            return words::take_in("import", words::read(&self.files, &self.language)?);
        }
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
        if self.words {
            let mut output = match &self.file {
                None => Output::new(),
                Some(path) => {
                    let all = words::listed("", Some(ENGLISH))?;
                    return write_streaming(path, |writer| {
                        for word in &all {
                            serde_json::to_writer(&mut *writer, word)?;
                            writeln!(writer)?;
                        }
                        Ok(())
                    });
                }
            };
            words::write_list(&mut output, &words::listed("", Some(ENGLISH))?, true)?;
            return Ok(output.writer.flush()?);
        }
        let knowledge = knowledge()?;
        let Some(path) = &self.file else {
            let mut output = Output::new();
            json_lines::write(knowledge.entities(), &mut output.writer)?;
            return Ok(output.writer.flush()?);
        };
        write_streaming(path, |writer| Ok(json_lines::write(knowledge.entities(), writer)?))
    }
}
