//! `relens kb lint`.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::dataset::Dataset;
use relens::english::Vocabulary;
use relens::knowledge::knowledge_base::read_entities;
use relens::knowledge::lint::lint;

use super::knowledge;
use crate::output::Output;

/// Look for what a person should look at again.
///
/// Finds entities that a query cannot tell apart, descriptions that say the same, contradict each other ("two wheels",
/// "four wheels") or are long, and with --captions words that no caption uses. Exit code 0 whatever is found.
#[derive(Debug, Args)]
pub(crate) struct LintArguments {
    /// Look at this file instead of the knowledge base in use.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Captions whose words the retriever has seen, in any format that `eval` reads.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,

    /// One JSON object a line: {"entity", "kind", "message"}.
    #[arg(long)]
    json: bool,
}

impl LintArguments {
    pub(crate) fn run(self) -> Result<()> {
        let entities = match &self.file {
            Some(file) => read_entities(file)?,
            None => knowledge()?.into_entities(),
        };
        let vocabulary = self.captions.as_deref().map(vocabulary).transpose()?;
        let mut output = Output::new();
        for finding in lint(&entities, vocabulary.as_ref()) {
            if self.json {
                serde_json::to_writer(&mut output.writer, &finding)?;
                writeln!(output.writer)?;
            } else {
                writeln!(output.writer, "{}: {}", finding.entity, finding.message)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn vocabulary(captions: &Path) -> Result<HashSet<String>> {
    let dataset = Dataset::open(captions, Path::new(""))?;
    let counted = Vocabulary::of_captions(dataset.captions().map(|(_, caption)| caption));
    Ok(counted.words().map(str::to_owned).collect())
}
