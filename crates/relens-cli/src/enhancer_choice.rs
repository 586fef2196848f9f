//! Which enhancer rewrites the queries, and how its texts make one score.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::embed::TextEmbedder;
use relens::enhancer::open::EnhancerContext;
use relens::enhancer::{Combination, arithmetic};
use relens::ranking::Pipeline;
use relens::ranking::pipeline_config::{self, DEFAULT};

use crate::library_location;

static FORGETFUL: AtomicBool = AtomicBool::new(false);

/// Whether nothing of a query may be kept on disk.
pub(crate) fn set_forgetful(forgetful: bool) {
    FORGETFUL.store(forgetful, Ordering::Relaxed);
}

/// Whether `--no-history` was given.
pub(crate) fn forgetful() -> bool {
    FORGETFUL.load(Ordering::Relaxed)
}

/// The options that choose an enhancer.
#[derive(Debug, Args)]
pub(crate) struct EnhancerArguments {
    /// What rewrites a query before the retriever reads it: default (what works best with the retriever; its
    /// enhancer.toml says what that is), identity (leaves it as it is), composer, descriptions, concat, selection,
    /// rewriter, spelling, arithmetic, evd, a TOML file with the settings of one or the weights of several, or the
    /// directory of a rewriter (with a `/` in it). Some need something: wordnet (WordNet's files), adapter (one that was
    /// trained for the retriever), retrieval_augmented and llm (a TOML file that names their pairs or records).
    #[arg(long, value_name = "NAME|FILE.toml|DIR", default_value = DEFAULT, value_parser = known)]
    enhancer: String,

    /// How the texts that an enhancer makes of one query give one score; without it, the enhancer decides.
    #[arg(long, value_enum, value_name = "HOW")]
    combine: Option<Combine>,

    /// Read the query as a sum of terms, as in "dog + beach*0.5 - people"; short for --enhancer arithmetic.
    #[arg(long, conflicts_with = "enhancer")]
    arithmetic: bool,
}

/// A name that is misspelt is wrong usage, found before anything is opened.
fn known(text: &str) -> Result<String, String> {
    if pipeline_config::names().contains(&text)
        || text.ends_with(".toml")
        || pipeline_config::is_directory(text)
    {
        return Ok(text.to_owned());
    }
    if let Some(reason) = pipeline_config::in_place_of(text) {
        return Err(reason.to_owned());
    }
    let available = pipeline_config::told_names();
    Err(format!(
        "unknown enhancer `{text}`; available: {available}, a file that ends in .toml, or a rewriter's directory, such as \
         ./{text}"
    ))
}

/// The names of [`Combination`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Combine {
    /// The enhancer's texts alone, the query itself left out.
    Replace,
    /// One vector: the mean of the texts' vectors, weighted, scaled to length 1.
    MeanEmbedding,
    /// The mean of the texts' scores, weighted.
    MeanScore,
    /// The best of the texts' scores.
    MaxScore,
    /// The texts' rankings, fused by reciprocal rank.
    ReciprocalRank,
}

impl From<Combine> for Combination {
    fn from(combine: Combine) -> Self {
        match combine {
            Combine::Replace => Self::Replace,
            Combine::MeanEmbedding => Self::MeanEmbedding,
            Combine::MeanScore => Self::MeanScore,
            Combine::MaxScore => Self::MaxScore,
            Combine::ReciprocalRank => Self::ReciprocalRank,
        }
    }
}

impl EnhancerArguments {
    /// The pipeline with the enhancer that was named. `embedder`, the text side of the retriever in use, tells senses of
    /// words apart.
    pub(crate) fn open(&self, embedder: Arc<dyn TextEmbedder>) -> Result<Pipeline> {
        let context = EnhancerContext {
            home: library_location::home().ok(),
            embedder: Some(embedder),
            forgetful: forgetful(),
            ..EnhancerContext::default()
        };
        self.open_in(&context)
    }

    fn open_in(&self, context: &EnhancerContext) -> Result<Pipeline> {
        let name = if self.arithmetic { arithmetic::NAME } else { &self.enhancer };
        let pipeline = Pipeline::open(name, context)?;
        Ok(Pipeline { combine: self.combine.map(Combination::from).or(pipeline.combine), ..pipeline })
    }
}

#[cfg(test)]
mod tests {
    use relens::enhancer::Query;

    use super::*;

    #[test]
    fn only_known_names_and_files_are_taken() {
        assert!(pipeline_config::names().into_iter().all(|name| known(name).is_ok()));
        assert!(known("mine.toml").is_ok() && known("runs/sft/model").is_ok());
        assert!(
            known("magic").unwrap_err().starts_with("unknown enhancer `magic`; available: default, identity")
        );
    }

    #[test]
    fn combine_overrides_the_enhancers_own_choice() {
        let (enhancer, combine) = ("identity".to_owned(), Some(Combine::MaxScore));
        let option = EnhancerArguments { enhancer, combine, arithmetic: false };
        let pipeline = option.open_in(&EnhancerContext::default()).unwrap();
        let query = Query::new("two dogs").unwrap();
        assert_eq!(pipeline.name(), "identity");
        assert_eq!(pipeline.enhance(&[query], None).unwrap()[0].combination, Combination::MaxScore);
    }
}
