//! D_EQR (EvdCLIP, section 3.4): rewrites with visual descriptions woven in, scored by the retriever.

use relens::enhancer::Query;
use relens::enhancer::entity_finder::EntityFinder;
use relens::llm::ChatRequest;
use serde_json::json;

use super::super::conversation::Conversation;
use super::super::judge::Judgement;
use super::super::low_quality::Quality;
use super::super::pool::Pool;
use super::super::record::Strategy;
use super::LlmStrategy;
use super::asking::{Asking, schema};
use crate::Result;

/// The model weaves descriptions of the query's entities into it; what raises the similarity is kept.
pub struct EvdRewrites {
    /// The prompt and its settings.
    pub asking: Asking,
    /// Finds the entities and their descriptions.
    pub finder: EntityFinder,
    /// Which captions are worked on; the paper takes all.
    pub quality: Quality,
}

impl LlmStrategy for EvdRewrites {
    fn strategy(&self) -> Strategy {
        Strategy::EvdEnhanced
    }

    fn quality(&self) -> Quality {
        self.quality
    }

    fn asking(&self) -> &Asking {
        &self.asking
    }

    fn request(&self, conversation: &Conversation, _: &Pool) -> Result<Option<ChatRequest>> {
        let query = Query::new(&conversation.unit.query)?;
        let found = self.finder.find(&[query])?;
        let entities: Vec<_> = found
            .iter()
            .flatten()
            .map(|found| json!({"name": found.entity.name, "descriptions": found.descriptions}))
            .collect();
        if entities.is_empty() {
            return Ok(None);
        }
        let schema = schema(self.asking.settings.count, false);
        let further = json!({"entities": entities});
        self.asking.request("evd_rewrites", conversation, further, Vec::new(), schema).map(Some)
    }

    fn accepts(&self, rewrite: Judgement, query: Judgement, _: u32) -> bool {
        rewrite.score > query.score
    }
}
