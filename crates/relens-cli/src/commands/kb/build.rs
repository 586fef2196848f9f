//! `relens kb build`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use relens::dataset::Dataset;
use relens::english::Vocabulary;
use relens::english::vocabulary;
use relens::enhancer::composer::keywords;
use relens::knowledge::builder;
use relens::knowledge::builder::Aliases;
use relens::knowledge::knowledge_base::BUNDLED_FILE;
use relens::knowledge::{json_lines, records, words};

use super::asking;
use crate::output_file::write_streaming;
use crate::progress;

/// Build a knowledge base from captions and a language model's answers.
///
/// Entities, their senses and descriptions come from the answers, their frequencies from the captions. Writes
/// knowledge.jsonl, vocabulary.tsv (the captions' words and their counts), links.tsv (what captions put between two
/// words) and, with --words, words.tsv (what uncommon words mean) into the output directory.
///
/// With --llm a language model is asked which entities the captions name and what they look like. Every reply is
/// recorded before it is used: a stopped run goes on with what is missing, and with --replay (or --replies alone) the
/// recorded replies build the same again without any model.
#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The captions, in any format that `eval` reads.
    #[arg(long, value_name = "FILE")]
    captions: PathBuf,

    /// The part of the captions to count in: what models are measured on has to stay out.
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,

    /// Recorded answers, {"entity", "visual", "descriptions", "sense"} a line; may be repeated.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["replies", "llm"])]
    records: Vec<PathBuf>,

    #[command(flatten)]
    asking: asking::AskingOptions,

    /// Answers about words, {"word", "plain", "short"}, {"word", "alternatives"} or {"word", "meanings"} a line; may be
    /// repeated, the most trusted first.
    #[arg(long, value_name = "FILE")]
    words: Vec<PathBuf>,

    /// Other names, {"entity": ["alias", …]} as JSON.
    #[arg(long, value_name = "FILE")]
    aliases: Option<PathBuf>,

    /// Drop entities that the captions name fewer times than this.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    floor: u64,

    /// Leave out of vocabulary.tsv words that are met fewer times than this.
    #[arg(long, value_name = "NUMBER", default_value_t = 2)]
    word_floor: u64,

    /// The directory to write to; made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

impl BuildArguments {
    pub(crate) fn run(self) -> Result<()> {
        let dataset = Dataset::open(&self.captions, Path::new(""))?.split(&self.split)?;
        let records: Vec<&Path> = self.records.iter().map(PathBuf::as_path).collect();
        let mut recorded = records::read(&records)?;
        let aliases = self.aliases.as_deref().map_or_else(|| Ok(Aliases::new()), builder::read_aliases)?;
        let captions = || dataset.captions().map(|(_, caption)| caption);
        let asked = self.asking.collect(&captions().collect::<Vec<_>>(), self.floor, &self.output)?;
        if let Some(collected) = asked {
            // What was recorded before is known; of the rest the model's word counts.
            let known: HashSet<String> = recorded.iter().map(|entity| entity.name.clone()).collect();
            recorded.extend(collected.into_iter().filter(|entity| !known.contains(&entity.name)));
        }
        let entities = builder::build(recorded, &aliases, captions(), self.floor)?;
        let words = Vocabulary::of_captions(captions());
        let taught: Vec<&Path> = self.words.iter().map(PathBuf::as_path).collect();
        let meanings = words::records::read(&taught, words::ENGLISH, &words)?;
        fs_err::create_dir_all(&self.output)?;
        write_streaming(&self.output.join(BUNDLED_FILE), |writer| Ok(json_lines::write(&entities, writer)?))?;
        write_streaming(&self.output.join(vocabulary::BUNDLED_FILE), |writer| {
            Ok(words.write(self.word_floor, writer)?)
        })?;
        write_streaming(&self.output.join(keywords::BUNDLED_FILE), |writer| {
            Ok(keywords::write_links(captions(), writer)?)
        })?;
        if !meanings.is_empty() {
            write_streaming(&self.output.join(words::BUNDLED_FILE), |writer| {
                Ok(words::write(&meanings, writer)?)
            })?;
            progress::note(&format!("{} words with their meanings", meanings.len()));
        }
        let visual = entities.iter().filter(|entity| entity.visual);
        let (count, descriptions) =
            (visual.clone().count(), visual.map(|entity| entity.descriptions().count()).sum::<usize>());
        let captions = dataset.caption_count();
        progress::note(&format!(
            "{count} visual entities, {descriptions} descriptions; counted in {captions} captions"
        ));
        Ok(())
    }
}
