//! What reinforcement learning starts from: the reference policy, and the queries that are rewritten.

use relens_models::language_model::{self, LanguageModel};

use super::config::PolicySettings;
use super::experience::RolloutQuery;
use crate::Result;
use crate::data::candidates;
use crate::data::candidates::CandidateConfig;
use crate::data::corpus::RewritingCorpus;

/// The frozen policy that the penalty measures the distance to.
pub(crate) struct ReferencePolicy {
    model: Box<dyn LanguageModel>,
}

impl ReferencePolicy {
    /// The rewriter that the run starts from.
    pub(crate) fn open(settings: &PolicySettings) -> Result<Self> {
        let (model, _) = language_model::open(&settings.start_from)?;
        Ok(Self { model })
    }

    /// Its language model.
    pub(crate) fn model(&self) -> &dyn LanguageModel {
        &*self.model
    }
}

/// The queries of candidate files, or all training captions where there are none.
pub(crate) fn rollout_queries(
    sources: Option<&CandidateConfig>,
    corpus: &RewritingCorpus,
) -> Result<Vec<RolloutQuery>> {
    if let Some(sources) = sources {
        let queries = candidates::read(sources, corpus)?;
        return Ok(queries
            .into_iter()
            .map(|query| RolloutQuery { text: query.query, picture: query.picture })
            .collect());
    }
    let captions = corpus.training.iter().enumerate().flat_map(|(picture, of)| {
        of.captions.iter().map(move |caption| RolloutQuery { text: caption.clone(), picture })
    });
    Ok(captions.collect())
}
