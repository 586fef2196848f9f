//! Which enhancer rewrites the queries, and how its texts make one score.

use anyhow::Result;
use clap::{Args, ValueEnum};
use relens::enhancer::{Combination, EnhancedQuery, Identity, Query, QueryEnhancer};

use crate::cli;

/// The enhancers that `--enhancer` knows.
const AVAILABLE: [&str; 1] = ["identity"];

/// The options that choose an enhancer.
#[derive(Debug, Args)]
pub(crate) struct EnhancerOption {
    /// What rewrites a query before the retriever reads it. `identity` leaves it as it is.
    #[arg(long, value_name = "NAME", default_value = "identity")]
    enhancer: String,

    /// How the texts that an enhancer makes of one query give one score; without it, the enhancer decides.
    #[arg(long, value_enum, value_name = "HOW")]
    combine: Option<Combine>,
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
}

impl From<Combine> for Combination {
    fn from(combine: Combine) -> Self {
        match combine {
            Combine::Replace => Self::Replace,
            Combine::MeanEmbedding => Self::MeanEmbedding,
            Combine::MeanScore => Self::MeanScore,
            Combine::MaxScore => Self::MaxScore,
        }
    }
}

impl EnhancerOption {
    /// The enhancer that was named; an unknown name is wrong usage.
    pub(crate) fn open(&self) -> Result<Box<dyn QueryEnhancer>> {
        let enhancer: Box<dyn QueryEnhancer> = match self.enhancer.as_str() {
            "identity" => Box::new(Identity),
            unknown => {
                let available = AVAILABLE.join(", ");
                return Err(cli::usage_error(format!(
                    "unknown enhancer `{unknown}`; available: {available}"
                )));
            }
        };
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(enhancer: &str, combine: Option<Combine>) -> EnhancerOption {
        EnhancerOption { enhancer: enhancer.to_owned(), combine }
    }

    #[test]
    fn every_available_name_opens() {
        for name in AVAILABLE {
            assert_eq!(option(name, None).open().unwrap().name(), name);
        }
        assert!(option("magic", None).open().is_err());
    }

    #[test]
    fn combine_overrides_the_enhancers_own_choice() {
        let enhancer = option("identity", Some(Combine::MaxScore)).open().unwrap();
        let query = Query::new("two dogs").unwrap();
        assert_eq!(enhancer.name(), "identity");
        assert_eq!(enhancer.enhance(&query).unwrap().combination, Combination::MaxScore);
        assert_eq!(enhancer.enhance_batch(&[query]).unwrap()[0].combination, Combination::MaxScore);
    }
}
