//! A TOML file of one or several enhancers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::settings::Settings;
use super::{EnhancerContext, open_member, spelling};
use crate::embed::TextEmbedder;
use crate::embed::memory::RememberingEmbedder;
use crate::embed::reference_pairs::ReferencePairs;
use crate::enhancer::baselines::retrieval_augmented::{Enrichment, NeighbourSettings};
use crate::enhancer::ensemble::{Ensemble, Member};
use crate::enhancer::referenced::Referenced;
use crate::enhancer::spelling::NAME;
use crate::enhancer::{Combination, Identity, QueryEnhancer};
use crate::error::{Error, Result};
use crate::ranking::hubness::{CalibrationSettings, HubnessCalibration};

/// A whole TOML file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnsembleSpec {
    #[serde(default = "mean_embedding")]
    combine: Combination,
    /// Corrects queries before anything else; an empty table is enough.
    spelling: Option<toml::Table>,
    /// Moves every text's embedding towards what similar captions show.
    neighbours: Option<WithPairs<NeighbourSettings>>,
    /// Lowers hubs.
    calibration: Option<WithPairs<CalibrationSettings>>,
    #[serde(default)]
    enhancer: Vec<toml::Table>,
}

/// A file of reference pairs, and settings of what works by them.
#[derive(Deserialize)]
#[serde(try_from = "toml::Table", bound = "S: DeserializeOwned")]
struct WithPairs<S> {
    pairs: PathBuf,
    settings: S,
}

impl<S: DeserializeOwned> TryFrom<toml::Table> for WithPairs<S> {
    type Error = String;

    // Not by serde's `flatten`, which lets unknown settings pass.
    fn try_from(mut table: toml::Table) -> std::result::Result<Self, String> {
        let pairs = match table.remove("pairs") {
            Some(toml::Value::String(pairs)) => PathBuf::from(pairs),
            other => return Err(format!("expected `pairs`, a file of reference pairs, found {other:?}")),
        };
        let settings = toml::Value::Table(table).try_into();
        Ok(Self { pairs, settings: settings.map_err(|error: toml::de::Error| error.message().to_owned())? })
    }
}

fn mean_embedding() -> Combination {
    Combination::MeanEmbedding
}

/// Texts whose embeddings the members of an ensemble share.
const SHARED_TEXTS: usize = 4096;

/// Opens what a file says.
pub(super) fn open_file(path: &Path, context: &EnhancerContext) -> Result<Box<dyn QueryEnhancer>> {
    let unreadable = |reason: String| Error::Enhancer { enhancer: path.display().to_string(), reason };
    let spec: EnsembleSpec =
        toml::from_str(&fs_err::read_to_string(path)?).map_err(|error| unreadable(error.to_string()))?;
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let context = &shared_context(context, spec.enhancer.len());
    let mut members = Vec::new();
    for mut table in spec.enhancer {
        let name = match table.remove("name") {
            Some(toml::Value::String(name)) => name,
            other => return Err(unreadable(format!("expected the name of each enhancer, found {other:?}"))),
        };
        let weight = match table.remove("weight") {
            None => 1.0,
            Some(toml::Value::Float(weight)) => weight as f32,
            Some(toml::Value::Integer(weight)) => weight as f32,
            Some(other) => {
                return Err(unreadable(format!("`{name}`: expected a number as weight, found {other}")));
            }
        };
        let settings = Settings { name, table, directory: directory.clone() };
        members.push(Member { weight, enhancer: open_member(&settings, context)? });
    }
    let stands_alone = spec.neighbours.is_some() || spec.calibration.is_some() || spec.spelling.is_some();
    let enhancer: Box<dyn QueryEnhancer> = match <[Member; 1]>::try_from(members) {
        // One enhancer alone keeps its own way of combining.
        Ok([only]) => only.enhancer,
        Err(members) if members.is_empty() && stands_alone => Box::new(Identity),
        Err(members) => Box::new(Ensemble::new(members, spec.combine)?),
    };
    let enhancer = with_references(enhancer, spec.neighbours, spec.calibration, &directory)?;
    Ok(match spec.spelling {
        None => enhancer,
        Some(table) => {
            let settings = Settings { name: NAME.to_owned(), table, directory };
            Box::new(spelling::open(&settings, context, enhancer)?)
        }
    })
}

/// Several enhancers look at the same words to tell their senses apart: one look serves them all.
fn shared_context(context: &EnhancerContext, members: usize) -> EnhancerContext {
    let share = |embedder: Arc<dyn TextEmbedder>| -> Arc<dyn TextEmbedder> {
        match members {
            0 | 1 => embedder,
            _ => Arc::new(RememberingEmbedder::with_limit(embedder, SHARED_TEXTS)),
        }
    };
    EnhancerContext { embedder: context.embedder.clone().map(share), ..context.clone() }
}

/// Adds what works by reference pairs; a file that both name is read once.
fn with_references(
    enhancer: Box<dyn QueryEnhancer>,
    neighbours: Option<WithPairs<NeighbourSettings>>,
    calibration: Option<WithPairs<CalibrationSettings>>,
    directory: &Path,
) -> Result<Box<dyn QueryEnhancer>> {
    if neighbours.is_none() && calibration.is_none() {
        return Ok(enhancer);
    }
    let mut opened: BTreeMap<PathBuf, Arc<ReferencePairs>> = BTreeMap::new();
    let mut open = |path: &Path| -> Result<Arc<ReferencePairs>> {
        if let Some(pairs) = opened.get(path) {
            return Ok(pairs.clone());
        }
        let pairs = Arc::new(ReferencePairs::open(&directory.join(path))?);
        opened.insert(path.to_owned(), pairs.clone());
        Ok(pairs)
    };
    let enrichment = neighbours
        .map(|neighbours| Enrichment::new(open(&neighbours.pairs)?, neighbours.settings))
        .transpose()?;
    let calibration = calibration
        .map(|calibration| HubnessCalibration::new(&open(&calibration.pairs)?, calibration.settings))
        .transpose()?;
    Ok(Box::new(Referenced::new(enhancer, enrichment, calibration)))
}
