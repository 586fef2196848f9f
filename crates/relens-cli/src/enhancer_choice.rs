//! Which enhancer rewrites the queries, and how its texts make one score.

use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::embed::TextEmbedder;
use relens::enhancer::rewriter::Gallery;
use relens::enhancer::spec::{self, EnhancerContext};
use relens::enhancer::{Combination, EnhancedQuery, Query, QueryEnhancer, arithmetic};
use relens::ranking::hubness::HubnessCalibration;

use crate::library_location;

/// The options that choose an enhancer.
#[derive(Debug, Args)]
pub(crate) struct EnhancerOption {
    /// What rewrites a query before the retriever reads it: default (what works best with the retriever; its
    /// enhancer.toml says what that is), identity (leaves it as it is), wordnet, descriptions, concat, adapter, selection,
    /// retrieval_augmented, llm, composer, rewriter, soft, spelling, arithmetic, evd, a TOML file with the settings of
    /// one or the weights of several, or the directory of a rewriter (with a `/` in it).
    #[arg(long, value_name = "NAME|FILE.toml|DIR", default_value = spec::DEFAULT, value_parser = known)]
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
    if spec::NAMES.contains(&text) || text.ends_with(".toml") || spec::is_directory(text) {
        return Ok(text.to_owned());
    }
    let available = spec::NAMES.join(", ");
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

impl EnhancerOption {
    /// The enhancer that was named. `embedder`, the text side of the retriever in use, tells senses of words apart;
    /// without it the usual sense is taken.
    pub(crate) fn open(&self, embedder: Option<Arc<dyn TextEmbedder>>) -> Result<Box<dyn QueryEnhancer>> {
        self.open_for(embedder, Gallery::default())
    }

    /// The same for a search among `gallery`, at which the gate of a rewriter looks.
    pub(crate) fn open_for(
        &self,
        embedder: Option<Arc<dyn TextEmbedder>>,
        gallery: Gallery,
    ) -> Result<Box<dyn QueryEnhancer>> {
        let context = EnhancerContext { home: library_location::home().ok(), embedder, gallery };
        let name = if self.arithmetic { arithmetic::NAME } else { &self.enhancer };
        let enhancer = spec::open(name, &context)?;
        Ok(match self.combine {
            Some(combine) => Box::new(Recombined { enhancer, combination: combine.into() }),
            None => enhancer,
        })
    }
}

/// An enhancer whose texts are combined as the user asks.
struct Recombined {
    enhancer: Box<dyn QueryEnhancer>,
    combination: Combination,
}

impl QueryEnhancer for Recombined {
    fn name(&self) -> &str {
        self.enhancer.name()
    }

    fn enhance(&self, query: &Query) -> relens::error::Result<EnhancedQuery> {
        let enhanced = self.enhancer.enhance(query)?;
        Ok(EnhancedQuery { combination: self.combination, ..enhanced })
    }

    fn enhance_batch(&self, queries: &[Query]) -> relens::error::Result<Vec<EnhancedQuery>> {
        let mut enhanced = self.enhancer.enhance_batch(queries)?;
        enhanced.iter_mut().for_each(|query| query.combination = self.combination);
        Ok(enhanced)
    }

    fn calibration(&self) -> Option<&HubnessCalibration> {
        // It is taken from cosines; sums of reciprocal ranks are none.
        let of_cosines = self.combination != Combination::ReciprocalRank;
        self.enhancer.calibration().filter(|_| of_cosines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_and_files_are_taken() {
        assert!(spec::NAMES.into_iter().all(|name| known(name).is_ok()));
        assert!(known("mine.toml").is_ok() && known("runs/sft/model").is_ok());
        assert!(
            known("magic").unwrap_err().starts_with("unknown enhancer `magic`; available: default, identity")
        );
    }

    #[test]
    fn combine_overrides_the_enhancers_own_choice() {
        let (enhancer, combine) = ("identity".to_owned(), Some(Combine::MaxScore));
        let option = EnhancerOption { enhancer, combine, arithmetic: false };
        let enhancer = option.open(None).unwrap();
        let query = Query::new("two dogs").unwrap();
        assert_eq!(enhancer.name(), "identity");
        assert_eq!(enhancer.enhance(&query).unwrap().combination, Combination::MaxScore);
        assert_eq!(enhancer.enhance_batch(&[query]).unwrap()[0].combination, Combination::MaxScore);
    }
}
