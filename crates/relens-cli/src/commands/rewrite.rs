//! `relens rewrite`: what would be sent to the retriever, and why.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use relens::enhancer::{EnhancedQuery, Query, TraceEntry};
use serde::Serialize;

use crate::cli;
use crate::enhancer_choice::EnhancerOption;
use crate::model_choice::ModelOption;
use crate::output::{self, Output};

/// Show what an enhancer makes of a query.
///
/// Prints the texts that would be sent to the retriever with their weights, how they are combined, and why: the
/// entities that were found, their sense, the descriptions that were used, the words that were replaced. The model is
/// what tells the senses of a word apart.
#[derive(Debug, Args)]
pub(crate) struct RewriteArguments {
    /// The query.
    #[arg(value_name = "QUERY")]
    query: String,

    #[command(flatten)]
    enhancer: EnhancerOption,

    #[command(flatten)]
    model: ModelOption,

    /// One JSON object: {"query", "enhancer", "combine", "texts": [{"text", "weight"}], "trace": [steps]}.
    #[arg(long)]
    json: bool,
}

/// The machine-readable form.
#[derive(Debug, Serialize)]
struct Rewritten<'a> {
    query: &'a str,
    enhancer: &'a str,
    combine: relens::enhancer::Combination,
    texts: &'a [relens::enhancer::WeightedText],
    trace: &'a [TraceEntry],
}

impl RewriteArguments {
    pub(crate) fn run(self) -> Result<()> {
        let query = Query::new(&self.query).map_err(cli::usage_error)?;
        let enhancer = self.enhancer.open(Some(Arc::new(self.model.open()?)))?;
        let enhanced = enhancer.enhance(&query)?;
        let mut output = Output::new();
        if self.json {
            let rewritten = Rewritten {
                query: query.text(),
                enhancer: enhancer.name(),
                combine: enhanced.combination,
                texts: &enhanced.texts,
                trace: &enhanced.trace,
            };
            serde_json::to_writer(&mut output.writer, &rewritten)?;
            writeln!(output.writer)?;
        } else if output.for_people {
            write_for_people(&mut output, &enhanced)?;
        } else {
            for text in &enhanced.texts {
                writeln!(output.writer, "{:.4}\t{}", text.weight, text.text)?;
            }
        }
        Ok(output.writer.flush()?)
    }
}

fn write_for_people(output: &mut Output, enhanced: &EnhancedQuery) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let writer = &mut output.writer;
    for text in &enhanced.texts {
        writeln!(writer, "{strong}{:5.3}{strong:#}  {}", text.weight, text.text)?;
    }
    writeln!(writer, "{faint}combined by {}{faint:#}", combination_name(enhanced.combination))?;
    for step in &enhanced.trace {
        writeln!(writer, "{faint}{}{faint:#}", told(step))?;
    }
    Ok(())
}

fn combination_name(combination: relens::enhancer::Combination) -> &'static str {
    use relens::enhancer::Combination;
    match combination {
        Combination::Replace => "replacing the query",
        Combination::MeanEmbedding => "the mean of the embeddings",
        Combination::MeanScore => "the mean of the scores",
        Combination::MaxScore => "the best score",
    }
}

fn told(step: &TraceEntry) -> String {
    match step {
        TraceEntry::EntityFound { surface, entity, sense, descriptions } => {
            let sense = sense.as_ref().map_or_else(String::new, |sense| format!(" ({sense})"));
            format!("found `{surface}` → {entity}{sense}: {}", descriptions.join("; "))
        }
        TraceEntry::TextAdded { text, source } => format!("added from {source}: {text}"),
        TraceEntry::Replaced { from, to } if to.is_empty() => format!("left out `{from}`"),
        TraceEntry::Replaced { from, to } => format!("`{from}` became `{to}`"),
        TraceEntry::Kept { reason } => format!("kept as it is: {reason}"),
        _ => String::new(),
    }
}
