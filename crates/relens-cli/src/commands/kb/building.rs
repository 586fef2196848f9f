//! `relens kb build`: a knowledge base from captions and what a language model answers.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use relens::dataset::Dataset;
use relens::english::{Vocabulary, vocabulary, word_pairs};
use relens::enhancer::composer::keywords;
use relens::knowledge::builder::Aliases;
use relens::knowledge::collection::{
    AnswerPrompts, Asking, AskingUsage, ChatAnswers, CollectionConfig, Recorded, Replies,
};
use relens::knowledge::knowledge_base::BUNDLED_FILE;
use relens::knowledge::words::{Lexicon, languages, lexicon};
use relens::knowledge::{Entity, builder, collection, json_lines, records, words};
use relens::llm::{Budget, ClientConfig, LlmClient, Prices};

use crate::interrupt;
use crate::llm_endpoint::EndpointArguments;
use crate::output_file::{check_output, write_streaming};
use crate::progress;
use crate::reporter::Reporter;
use crate::usage::usage_error;
use relens::counted::{by_number, counted};

/// Build a knowledge base from captions and a language model's answers.
///
/// Entities, their senses and descriptions come from the answers, their frequencies from the captions. Writes
/// knowledge.jsonl, vocabulary.tsv (the captions' words and their counts), links.tsv (what captions put between two
/// words), word-pairs.tsv (how often one word is behind another), with --words words.tsv (what uncommon words mean), and
/// with --forms languages/CODE.tsv (what people type in other languages) and other-languages.tsv (which languages have a
/// word) into the output directory.
///
/// With --llm a language model is asked which entities the captions name and what they look like. Every reply is
/// recorded before it is used: a stopped run goes on with what is missing, and with --replay (or --replies alone) the
/// recorded replies build the same again without any model.
#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The captions, in any format that `eval` reads.
    #[arg(long, value_name = "FILE")]
    captions: PathBuf,

    /// The split whose captions are counted. Leave out the captions that models are measured on.
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,

    /// Recorded answers, {"entity", "visual", "descriptions", "sense"} a line; may be repeated.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["replies", "llm"])]
    records: Vec<PathBuf>,

    #[command(flatten)]
    asking: AskingArguments,

    /// Answers about words, {"word", "plain", "short"}, {"word", "alternatives"} or {"word", "meanings"} a line; may be
    /// repeated, the most trusted first.
    #[arg(long, value_name = "FILE")]
    words: Vec<PathBuf>,

    /// What people type for captions' words in another language, under its two-letter code, {"word", "forms"} a line; may
    /// be repeated, also for one language, whose files are put together.
    #[arg(long, value_name = "CODE=FILE", value_parser = language_file)]
    forms: Vec<(String, PathBuf)>,

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
        self.check_outputs()?;
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
        let vocabulary = Vocabulary::of_captions(captions());
        let taught: Vec<&Path> = self.words.iter().map(PathBuf::as_path).collect();
        let meanings = words::records::read(&taught, words::ENGLISH, &vocabulary)?;
        write_streaming(&self.output.join(BUNDLED_FILE), |writer| Ok(json_lines::write(&entities, writer)?))?;
        write_streaming(&self.output.join(vocabulary::BUNDLED_FILE), |writer| {
            Ok(vocabulary.write(self.word_floor, writer)?)
        })?;
        write_streaming(&self.output.join(keywords::BUNDLED_FILE), |writer| {
            Ok(keywords::write_links(captions(), writer)?)
        })?;
        write_streaming(&self.output.join(word_pairs::BUNDLED_FILE), |writer| {
            Ok(word_pairs::write_pairs(captions(), writer)?)
        })?;
        if !meanings.is_empty() {
            write_streaming(&self.output.join(words::BUNDLED_FILE), |writer| {
                Ok(words::write(&meanings, writer)?)
            })?;
            let their = by_number(&meanings.len(), "its", "their");
            progress::note(&format!("{} with {their} meanings", counted(meanings.len(), "word")));
        }
        self.write_languages()?;
        let visual = entities.iter().filter(|entity| entity.visual);
        let (count, descriptions) =
            (visual.clone().count(), visual.map(|entity| entity.descriptions().count()).sum::<usize>());
        let captions = dataset.caption_count();
        progress::note(&format!(
            "{}, {}; counted in {}",
            counted(count, "visual entity"),
            counted(descriptions, "description"),
            counted(captions, "caption")
        ));
        Ok(())
    }

    /// What people type in other languages, and the list by which these are told.
    fn write_languages(&self) -> Result<()> {
        if self.forms.is_empty() {
            return Ok(());
        }
        let directory = self.output.join(lexicon::DIRECTORY);
        fs_err::create_dir_all(&directory)?;
        let mut lexica = Vec::new();
        let mut files: BTreeMap<&str, Vec<&Path>> = BTreeMap::new();
        for (language, file) in &self.forms {
            files.entry(language).or_default().push(file);
        }
        for (language, files) in files {
            let rows = words::records::read_forms(&files, language)?;
            write_streaming(&directory.join(format!("{language}.tsv")), |writer| {
                Ok(lexicon::write(&rows, writer)?)
            })?;
            lexica.push(Lexicon::of_rows(language, rows));
        }
        write_streaming(&self.output.join(languages::BUNDLED_FILE), |writer| {
            Ok(languages::write_list(&lexica, writer)?)
        })
    }

    /// Makes the directory, and refuses to build over what is built from.
    fn check_outputs(&self) -> Result<()> {
        fs_err::create_dir_all(&self.output)?;
        let read = self.records.iter().chain(&self.words).chain(&self.aliases).chain(&self.asking.replies);
        let read = read.chain(self.forms.iter().map(|(_, file)| file));
        let inputs: Vec<&Path> = std::iter::once(&self.captions).chain(read).map(PathBuf::as_path).collect();
        let mut written =
            vec![BUNDLED_FILE, vocabulary::BUNDLED_FILE, keywords::BUNDLED_FILE, word_pairs::BUNDLED_FILE];
        written.extend((!self.words.is_empty()).then_some(words::BUNDLED_FILE));
        written.extend((!self.forms.is_empty()).then_some(languages::BUNDLED_FILE));
        written.into_iter().try_for_each(|name| check_output(&self.output.join(name), &inputs))
    }
}

/// `de=words-de.jsonl`.
fn language_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((code, file))
            if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_lowercase()) && !file.is_empty() =>
        {
            Ok((code.to_owned(), PathBuf::from(file)))
        }
        _ => Err("expected a language's two letters and a file, as `de=words-de.jsonl`".to_owned()),
    }
}

/// The log of replies in the output directory.
const REPLIES_FILE: &str = "replies.jsonl";

/// Who is asked, where replies are, and what they cost.
#[derive(Debug, Args)]
struct AskingArguments {
    /// Ask this language model which entities the captions name and what they look like.
    #[arg(long, value_name = "NAME")]
    llm: Option<String>,

    /// The model's replies, {"prompt", "reply", "prompt_tokens", "completion_tokens"} a line. Default with --llm:
    /// replies.jsonl in the output.
    #[arg(long, value_name = "FILE")]
    replies: Option<PathBuf>,

    #[command(flatten)]
    endpoint: EndpointArguments,
}

impl AskingArguments {
    /// The entities that the captions name at least `floor` times, described; `None` if no model is to be asked.
    fn collect(&self, captions: &[&str], floor: u64, output: &Path) -> Result<Option<Vec<Entity>>> {
        let path = match (&self.replies, &self.llm) {
            (Some(path), _) => path.clone(),
            (None, Some(_)) => output.join(REPLIES_FILE),
            (None, None) => return Ok(None),
        };
        interrupt::watch();
        if let Some(directory) = path.parent() {
            fs_err::create_dir_all(directory)?;
        }
        let mut replies = Replies::open(&path)?;
        let client = self.client(&replies)?;
        let answers = client.as_ref().map(|client| ChatAnswers::new(client));
        let model: &dyn AnswerPrompts = match &answers {
            Some(answers) => answers,
            None => &Recorded,
        };
        let mut reporter = Reporter::default();
        let mut asking = Asking::new(model, &mut replies, &mut reporter);
        let settings = CollectionConfig { floor, concurrency: self.endpoint.in_flight };
        let collected = collection::collect(captions, settings, &mut asking);
        let usage = asking.usage();
        drop(reporter);
        progress::note(&self.cost_line(&usage));
        let stopped = || format!("asking stopped; {} has all replies so far", path.display());
        Ok(Some(collected.with_context(stopped)?))
    }

    /// The model; none where all replies have to be there.
    fn client(&self, replies: &Replies) -> Result<Option<LlmClient>> {
        let Some(llm) = &self.llm else { return Ok(None) };
        let settings = self.endpoint.settings(llm)?;
        if settings.replay {
            return Ok(None);
        }
        let (prompt_tokens, completion_tokens) = replies.tokens();
        let budget = left(settings.budget, settings.prices, prompt_tokens, completion_tokens)?;
        let settings = ClientConfig { budget, ..settings };
        Ok(Some(LlmClient::start(settings, self.endpoint.key(), None)?))
    }

    fn cost_line(&self, usage: &AskingUsage) -> String {
        let AskingUsage { asked, recorded, prompt_tokens, completion_tokens } = usage;
        let cost = self.endpoint.prices().cost(*prompt_tokens, *completion_tokens);
        let price = if cost > 0.0 { format!(", costing {cost:.4}") } else { String::new() };
        format!(
            "{} asked, {} recorded before; {} of prompts, {completion_tokens} of replies{price}",
            counted(*asked, "question"),
            counted(*recorded, "reply"),
            counted(*prompt_tokens, "token")
        )
    }
}

/// The rest of a budget after the recorded replies.
fn left(budget: Budget, prices: Prices, prompt_tokens: u64, completion_tokens: u64) -> Result<Budget> {
    let spent = prices.cost(prompt_tokens, completion_tokens);
    if budget.cost.is_some_and(|cost| cost.is_nan() || cost < 0.0) {
        return Err(usage_error("--budget: expected an amount of at least 0"));
    }
    Ok(Budget {
        cost: budget.cost.map(|cost| (cost - spent).max(0.0)),
        tokens: budget.tokens.map(|tokens| tokens.saturating_sub(prompt_tokens + completion_tokens)),
    })
}
