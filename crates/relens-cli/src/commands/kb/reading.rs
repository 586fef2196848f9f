//! `relens kb list`, `show` and `lint`: the knowledge base as it is.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::dataset::Dataset;
use relens::english::Vocabulary;
use relens::knowledge::editing::unknown_entity;
use relens::knowledge::knowledge_base::read_entities;
use relens::knowledge::lint::lint;
use relens::knowledge::words::ENGLISH;
use relens::knowledge::{Entity, Sense};
use serde::Serialize;

use super::opening::knowledge;
use super::words;
use crate::output::{self, Output};
use relens::counted::counted;

/// List the entities, or the words.
///
/// A terminal shows a table; a pipe gets the name, how often captions name it, and the number of descriptions, separated
/// by tabs.
#[derive(Debug, Args)]
pub(crate) struct KnowledgeListArguments {
    /// Only entities whose name or alias has this in it.
    #[arg(value_name = "TEXT")]
    filter: Option<String>,

    /// Also words that were judged not to be visual.
    #[arg(long)]
    all: bool,

    /// Words with their meanings instead of entities.
    #[arg(long)]
    words: bool,

    /// Only words of this language.
    #[arg(long, value_name = "CODE", requires = "words")]
    language: Option<String>,

    /// One JSON object a line: {"entity", "visual", "frequency", "aliases", "descriptions": [texts], "senses"}.
    #[arg(long)]
    json: bool,
}

/// Show what is known of one entity or word.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Its name or an alias.
    #[arg(value_name = "ENTITY")]
    name: String,

    /// One JSON object, as `kb list --json` prints it.
    #[arg(long)]
    json: bool,
}

/// The machine-readable form of an entity.
#[derive(Debug, Serialize)]
struct EntityLine<'a> {
    entity: &'a str,
    visual: bool,
    frequency: u64,
    aliases: &'a [String],
    descriptions: Vec<&'a str>,
    senses: &'a [Sense],
}

impl<'a> EntityLine<'a> {
    fn new(entity: &'a Entity) -> Self {
        Self {
            entity: &entity.name,
            visual: entity.visual,
            frequency: entity.frequency,
            aliases: &entity.aliases,
            descriptions: entity.descriptions().map(|description| description.text.as_str()).collect(),
            senses: &entity.senses,
        }
    }
}

impl KnowledgeListArguments {
    pub(crate) fn run(self) -> Result<()> {
        if self.words {
            let filter = self.filter.unwrap_or_default().to_lowercase();
            let mut output = Output::new();
            words::write_list(&mut output, &words::listed(&filter, self.language.as_deref())?, self.json)?;
            return Ok(output.writer.flush()?);
        }
        let knowledge = knowledge()?;
        let filter = self.filter.unwrap_or_default().to_lowercase();
        let named = |entity: &&Entity| {
            entity.name.contains(&filter) || entity.aliases.iter().any(|alias| alias.contains(&filter))
        };
        let entities = knowledge.entities().iter().filter(|entity| entity.visual || self.all).filter(named);
        let mut output = Output::new();
        let count = |entity: &Entity| entity.descriptions().count().to_string();
        if self.json {
            for entity in entities {
                serde_json::to_writer(&mut output.writer, &EntityLine::new(entity))?;
                writeln!(output.writer)?;
            }
        } else if output.for_people {
            let mut table = output::table(["entity", "in captions", "descriptions", "first description"]);
            for entity in entities {
                let first = entity.descriptions().next().map_or("", |description| description.text.as_str());
                table.add_row([&entity.name, &entity.frequency.to_string(), &count(entity), first]);
            }
            output::align_numbers(&mut table, 1..3);
            writeln!(output.writer, "{table}")?;
        } else {
            for entity in entities {
                writeln!(output.writer, "{}\t{}\t{}", entity.name, entity.frequency, count(entity))?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

impl ShowArguments {
    pub(crate) fn run(self) -> Result<()> {
        let knowledge = knowledge()?;
        let mut output = Output::new();
        let word = knowledge.words().get(&self.name.to_lowercase(), ENGLISH);
        if let Some(word) = &word {
            if !self.json {
                words::write_word(&mut output, word)?;
            } else if knowledge.by_name(&self.name).is_none() {
                words::write_list(&mut output, std::slice::from_ref(word), true)?;
            }
        }
        let Some(entity) = knowledge.by_name(&self.name) else {
            if word.is_some() {
                return Ok(output.writer.flush()?);
            }
            return Err(unknown_entity(&self.name, knowledge.entities()).into());
        };
        if self.json {
            serde_json::to_writer(&mut output.writer, &EntityLine::new(entity))?;
            writeln!(output.writer)?;
        } else {
            write_entity(&mut output, entity, knowledge.source())?;
        }
        Ok(output.writer.flush()?)
    }
}

fn write_entity(output: &mut Output, entity: &Entity, source: &str) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let writer = &mut output.writer;
    write!(writer, "{strong}{}{strong:#}", entity.name)?;
    if !entity.aliases.is_empty() {
        write!(writer, " (also {})", entity.aliases.join(", "))?;
    }
    writeln!(writer)?;
    if !entity.visual {
        writeln!(writer, "  not visual: no picture can show it")?;
    }
    for sense in &entity.senses {
        if let Some(label) = &sense.label {
            writeln!(writer, "  {strong}{label}{strong:#}")?;
        }
        for description in &sense.descriptions {
            writeln!(writer, "  - {} {faint}[{}]{faint:#}", description.text, description.source.as_str())?;
        }
    }
    writeln!(
        writer,
        "{faint}named {} in captions; from {source}{faint:#}",
        counted(entity.frequency, "time")
    )?;
    Ok(())
}

/// Find entries that a person should check.
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
                let line = format!("{}: {}", finding.entity, finding.message);
                writeln!(output.writer, "{}", output::wrapped(&line, 2))?;
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
