//! Captions made harder, as the arguments say.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::Args;
use relens::dataset::Dataset;
use relens::error::Error;
use relens::evaluation::perturbation::{Perturbation, PerturbationKind, Synonyms};
use relens::knowledge::Knowledge;
use relens::knowledge::wordnet::WordNet;
use serde::Serialize;

use crate::library_location;

/// The arguments that say how captions are perturbed, beside what is done to them.
#[derive(Debug, Args)]
pub(crate) struct PerturbationArguments {
    /// What a perturbation draws from: the same seed gives the same texts.
    // What conflicts with `perturb` lifts the requirement, so that it has to be named again.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "0",
        requires = "perturb",
        conflicts_with = "queries"
    )]
    perturb_seed: u64,

    /// Where synonym-replacement and word-insertion take synonyms from: JSON Lines of {"word", "alternatives"}, or a
    /// directory with WordNet's files. Default: the knowledge base, which flatters enhancers that use it, too.
    #[arg(long, value_name = "FILE|DIR", requires = "perturb", conflicts_with = "queries")]
    synonyms: Option<PathBuf>,
}

/// Captions after a perturbation.
#[derive(Debug)]
pub(crate) struct PerturbedCaptions {
    /// The pictures with their captions perturbed.
    pub(crate) dataset: Dataset,
    pub(crate) effect: PerturbationEffect,
}

/// What was done to captions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PerturbationEffect {
    /// The perturbation, with its level.
    pub(crate) perturbation: String,
    /// How many captions are not what they were.
    pub(crate) changed: usize,
}

/// Makes captions harder.
pub(crate) struct Perturber {
    synonyms: Synonyms,
    seed: u64,
}

impl PerturbationArguments {
    /// Reads the synonyms for the captions of `dataset`.
    pub(crate) fn open(&self, dataset: &Dataset) -> Result<Perturber> {
        let synonyms = match &self.synonyms {
            None => Synonyms::of_knowledge(&match library_location::home() {
                Ok(home) => Knowledge::of_home(&home)?,
                Err(_) => Knowledge::bundled()?,
            }),
            Some(path) if path.is_dir() => Synonyms::of_wordnet(&wordnet(path)?, dataset)?,
            Some(path) => Synonyms::open(path)?,
        };
        Ok(Perturber { synonyms, seed: self.perturb_seed })
    }

    /// What the perturbations draw from.
    pub(crate) fn seed(&self) -> u64 {
        self.perturb_seed
    }
}

fn wordnet(directory: &Path) -> Result<WordNet> {
    let expected = "expected WordNet's files (index.noun, data.noun, noun.exc)";
    WordNet::open(directory).with_context(|| format!("--synonyms {}: {expected}", directory.display()))
}

impl Perturber {
    /// The captions of `dataset` after a perturbation.
    pub(crate) fn perturb(&self, dataset: &Dataset, perturbation: Perturbation) -> PerturbedCaptions {
        let (dataset, changed) = perturbation.perturb_captions(dataset, &self.synonyms, self.seed);
        PerturbedCaptions {
            dataset,
            effect: PerturbationEffect { perturbation: perturbation.to_string(), changed },
        }
    }
}

/// Several perturbations: `all`, `all:LEVEL`, or names with levels, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PerturbationList(pub(crate) Vec<Perturbation>);

impl FromStr for PerturbationList {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, level) = text.split_once(':').map_or((text, None), |(name, level)| (name, Some(level)));
        if name != "all" {
            return Ok(Self(text.split(',').map(str::parse).collect::<Result<_, _>>()?));
        }
        let of = |kind: PerturbationKind| match level.filter(|_| kind.has_levels()) {
            Some(level) => format!("{}:{level}", kind.name()).parse(),
            None => kind.name().parse(),
        };
        Ok(Self(PerturbationKind::ALL.into_iter().map(of).collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<String>, String> {
        let list: Result<PerturbationList, Error> = text.parse();
        list.map(|list| list.0.iter().map(ToString::to_string).collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn all_or_some_perturbations_are_named() {
        let all = names("all:3").unwrap();
        assert_eq!((all.len(), all[0].as_str(), all[14].as_str()), (15, "keyboard:3", "active"));
        assert_eq!(names("ocr,passive").unwrap(), ["ocr:2", "passive"]);
        for wrong in ["all:9", "ocr,", "everything", "all,ocr"] {
            assert!(names(wrong).unwrap_err().contains("expected"), "{wrong}");
        }
    }
}
