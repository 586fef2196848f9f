//! `relens kb history`, `undo`, `import` and `export`: the knowledge base as a whole, then and now.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::knowledge::entity::normalise_name;
use relens::knowledge::knowledge_base::read_entities;
use relens::knowledge::store::{EntityChange, Revision, WordChange};
use relens::knowledge::{ImportMode, json_lines};
use serde::Serialize;

use super::opening::{existing_store, knowledge, store};
use super::words;
use crate::output::{self, Output};
use crate::output_file::{check_output, write_streaming};
use crate::progress;
use relens::counted::counted;

/// List what was changed, the latest first.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Only changes of this entity.
    #[arg(value_name = "ENTITY")]
    name: Option<String>,

    /// How many revisions.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,

    /// One JSON object a line: {"id", "at", "action", "changed", "entity", "changes": [{"entity", "before", "after"}]}.
    #[arg(long)]
    json: bool,
}

/// Take back an edit: the latest, or the revision that is named. The undo itself can be undone.
#[derive(Debug, Args)]
pub(crate) struct UndoArguments {
    /// The revision's number, as `kb history` shows it.
    #[arg(value_name = "REVISION")]
    revision: Option<i64>,
}

#[derive(Debug, Serialize)]
struct RevisionLine {
    #[serde(flatten)]
    revision: Revision,
    changes: Vec<EntityChange>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    words: Vec<WordChange>,
}

/// Revisions of more changes, such as imports, are shown by their number only.
const CHANGES_SHOWN: usize = 20;

impl HistoryArguments {
    pub(crate) fn run(self) -> Result<()> {
        let mut output = Output::new();
        let Some(store) = existing_store()? else {
            progress::note("no changes: the bundled knowledge base is in use");
            return Ok(());
        };
        let name = self.name.as_deref().map(normalise_name);
        for revision in store.history(name.as_deref(), self.limit)? {
            if self.json {
                let few = revision.changed <= CHANGES_SHOWN;
                let changes = if few { store.changes(revision.id)? } else { Vec::new() };
                let words = if few { store.word_changes(revision.id)? } else { Vec::new() };
                serde_json::to_writer(&mut output.writer, &RevisionLine { revision, changes, words })?;
                writeln!(output.writer)?;
            } else {
                write_revision(&mut output, &revision)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn write_revision(output: &mut Output, revision: &Revision) -> Result<()> {
    let faint = output.style(output::faint());
    let Revision { id, at, action, undoes, undone_by, changed, entity } = revision;
    let what = if *changed == 1 { entity.clone() } else { counted(*changed, "entity") };
    let note = match (undoes, undone_by) {
        (_, Some(by)) => format!(" (undone by {by})"),
        (Some(undone), None) => format!(" (of {undone})"),
        (None, None) => String::new(),
    };
    writeln!(output.writer, "{id}\t{faint}{at}{faint:#}\t{action}{note}\t{what}")?;
    Ok(())
}

impl UndoArguments {
    pub(crate) fn run(self) -> Result<()> {
        let revision = store()?.undo(self.revision)?;
        let Revision { id, undoes, changed, entity, .. } = &revision;
        let what = if *changed == 1 { format!("`{entity}`") } else { counted(*changed, "entity") };
        let undone = undoes.map_or_else(String::new, |undone| format!(" undoes revision {undone}"));
        progress::note(&format!("revision {id}{undone}: {what}"));
        Ok(())
    }
}

/// Take in entities from files.
///
/// Formats: what `kb export` writes; {"class": ["descriptor", …]} JSON as classify-by-description tools use it (.json);
/// a language model's answers, {"entity", "visual", "descriptions", "sense"} a line; another knowledge base (.db).
/// All files are taken in one revision, or nothing is.
#[derive(Debug, Args)]
pub(crate) struct KnowledgeImportArguments {
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Replace the whole knowledge base. Without this, entities gain senses, descriptions and aliases.
    #[arg(long, conflicts_with = "words")]
    replace: bool,

    /// The files hold words: what `kb export --words` writes, or a language model's answers.
    #[arg(long)]
    words: bool,

    /// The language of the words.
    #[arg(long, value_name = "CODE", requires = "words", conflicts_with = "replace", default_value = "en")]
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

impl KnowledgeImportArguments {
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
            "{} added, {changed} changed, {removed} removed, {unchanged} as before",
            counted(added, "entity")
        ));
        Ok(())
    }
}

impl ExportArguments {
    pub(crate) fn run(self) -> Result<()> {
        if self.words {
            let all = words::listed("", None)?;
            let Some(path) = &self.file else {
                let mut output = Output::new();
                words::write_json(&mut output.writer, &all)?;
                return Ok(output.writer.flush()?);
            };
            return write_streaming(path, |writer| words::write_json(writer, &all));
        }
        let knowledge = knowledge()?;
        let Some(path) = &self.file else {
            let mut output = Output::new();
            json_lines::write(knowledge.entities(), &mut output.writer)?;
            return Ok(output.writer.flush()?);
        };
        check_output(path, &[Path::new(knowledge.source())])?;
        write_streaming(path, |writer| Ok(json_lines::write(knowledge.entities(), writer)?))
    }
}
