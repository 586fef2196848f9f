//! `relens rewrite`: what would be sent to the retriever, and why.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use relens::dataset::Dataset;
use relens::enhancer::{Combination, EnhancedQuery, Query, TraceEntry, WeightedText};
use relens::error::Error;
use relens::progress::Progress;
use relens::ranking::Pipeline;
use serde::Serialize;

use crate::enhancer_choice::EnhancerArguments;
use crate::interrupt;
use crate::model_choice::ModelArguments;
use crate::output::{self, Output};
use crate::output_file::{check_output, write_streaming};
use crate::reporter::Reporter;
use crate::usage::usage_error;
use relens::counted::counted;

/// Queries that are enhanced together.
const QUERIES_PER_BATCH: usize = 64;

/// Show what an enhancer makes of a query.
///
/// Prints the texts that would be sent to the retriever with their weights, how they are combined, and why: the
/// entities that were found, their sense, the descriptions that were used, the words that were replaced. The model is
/// what tells the senses of a word apart.
///
/// With --annotations all captions of a dataset are enhanced, with --json as a line each: what `data.rewrites` of the
/// retriever stage reads.
#[derive(Debug, Args)]
pub(crate) struct RewriteArguments {
    /// The query.
    #[arg(value_name = "QUERY", required_unless_present = "annotations", conflicts_with = "annotations")]
    query: Option<String>,

    /// Enhance the captions of this dataset instead of a query.
    #[arg(long, value_name = "FILE", requires = "images")]
    annotations: Option<PathBuf>,

    /// Where the pictures of the dataset are.
    #[arg(long, value_name = "DIR", requires = "annotations")]
    images: Option<PathBuf>,

    /// The part of the dataset, such as train. Without it, the whole dataset.
    #[arg(long, value_name = "NAME", requires = "annotations")]
    split: Option<String>,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// One JSON object: {"query", "enhancer", "combine", "texts": [{"text", "weight"}], "trace": [steps]}.
    #[arg(long)]
    json: bool,

    /// Write to this file instead of standard output; it is there when it is whole.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The machine-readable form.
#[derive(Debug, Serialize)]
struct Rewritten<'a> {
    query: &'a str,
    enhancer: &'a str,
    combine: Combination,
    texts: &'a [WeightedText],
    trace: &'a [TraceEntry],
}

impl RewriteArguments {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(path) = &self.output {
            let inputs = self.annotations.iter().chain(&self.images).map(PathBuf::as_path);
            check_output(path, &inputs.collect::<Vec<_>>())?;
        }
        let queries = self.queries()?;
        let pipeline = self.enhancer.open(Arc::new(self.model.open()?))?;
        let name = pipeline.name();
        if let Some(path) = &self.output {
            return write_streaming(path, |writer| {
                self.enhance(&pipeline, &queries, |query, enhanced| {
                    self.write_for_programs(writer, query, &name, enhanced)
                })
            });
        }
        let mut output = Output::new();
        self.enhance(&pipeline, &queries, |query, enhanced| {
            if output.for_people && !self.json {
                return write_for_people(&mut output, enhanced);
            }
            self.write_for_programs(&mut output.writer, query, &name, enhanced)
        })?;
        Ok(output.writer.flush()?)
    }

    /// Enhances all queries, a batch at a time, and hands every one to `write`.
    fn enhance(
        &self,
        pipeline: &Pipeline,
        queries: &[Query],
        mut write: impl FnMut(&Query, &EnhancedQuery) -> Result<()>,
    ) -> Result<()> {
        let mut progress = Reporter::default();
        if queries.len() > 1 {
            progress.begin("queries", queries.len() as u64);
        }
        for (batch, first) in queries.chunks(QUERIES_PER_BATCH).zip((0u64..).step_by(QUERIES_PER_BATCH)) {
            if progress.cancelled() {
                return Err(Error::Cancelled.into());
            }
            for (query, enhanced) in batch.iter().zip(pipeline.enhance(batch, None)?) {
                write(query, &enhanced)?;
            }
            progress.advance(first + batch.len() as u64);
        }
        progress.end();
        Ok(())
    }

    fn queries(&self) -> Result<Vec<Query>> {
        if let Some(query) = &self.query {
            return Ok(vec![Query::new(query).map_err(usage_error)?]);
        }
        interrupt::watch();
        let (Some(annotations), Some(images)) = (&self.annotations, &self.images) else {
            return Err(usage_error("expected a query, or --annotations with --images"));
        };
        let mut dataset = Dataset::open(annotations, images)?;
        if let Some(split) = &self.split {
            dataset = dataset.split(split)?;
        }
        dataset.captions().map(|(_, caption)| Ok(Query::new(caption)?)).collect()
    }

    fn write_for_programs(
        &self,
        writer: &mut impl Write,
        query: &Query,
        enhancer: &str,
        enhanced: &EnhancedQuery,
    ) -> Result<()> {
        if self.json {
            let rewritten = Rewritten {
                query: query.text(),
                enhancer,
                combine: enhanced.combination,
                texts: &enhanced.texts,
                trace: &enhanced.trace,
            };
            serde_json::to_writer(&mut *writer, &rewritten)?;
            return Ok(writeln!(writer)?);
        }
        for text in &enhanced.texts {
            writeln!(writer, "{:.4}\t{}", text.weight, text.text)?;
        }
        Ok(())
    }
}

/// Where texts begin behind their weights.
const TEXT_INDENT: usize = 7;

fn write_for_people(output: &mut Output, enhanced: &EnhancedQuery) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let writer = &mut output.writer;
    for text in &enhanced.texts {
        let shown = output::wrapped(&text.text, TEXT_INDENT);
        writeln!(writer, "{strong}{:5.3}{strong:#}  {shown}", text.weight)?;
    }
    writeln!(writer, "{faint}combined by {}{faint:#}", combination_name(enhanced.combination))?;
    for step in &enhanced.trace {
        writeln!(writer, "{faint}{}{faint:#}", output::wrapped(&explanation(step), 2))?;
    }
    Ok(())
}

fn combination_name(combination: Combination) -> &'static str {
    match combination {
        Combination::Replace => "replacing the query",
        Combination::MeanEmbedding => "the mean of the embeddings",
        Combination::MeanScore => "the mean of the scores",
        Combination::MaxScore => "the best score",
        Combination::ReciprocalRank => "reciprocal ranks",
        Combination::WeightedSum => "the sum of the embeddings",
    }
}

fn explanation(step: &TraceEntry) -> String {
    match step {
        TraceEntry::EntityFound { surface, entity, sense, descriptions } => {
            let sense = sense.as_ref().map_or_else(String::new, |sense| format!(" ({sense})"));
            format!("found `{surface}` → {entity}{sense}: {}", descriptions.join("; "))
        }
        TraceEntry::TextAdded { text, source } => format!("added from {source}: {text}"),
        TraceEntry::ReadWordByWord { language, text } => format!("{language}, read word by word: {text}"),
        TraceEntry::NotRead { language } => format!("kept as it is: {language}, of which no words are known"),
        TraceEntry::Replaced { from, to } if to.is_empty() => format!("left out `{from}`"),
        TraceEntry::Replaced { from, to } => format!("`{from}` became `{to}`"),
        TraceEntry::Reworded { from, to, seen } => {
            format!("`{from}` became `{to}`: captions use it {}", counted(*seen, "time"))
        }
        TraceEntry::Kept { reason } => format!("kept as it is: {reason}"),
        _ => String::new(),
    }
}
