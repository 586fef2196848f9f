//! Direct generation: rewrites from the picture alone, without the retriever's mistakes. MGQRe's weaker comparison.

use relens::llm::ChatRequest;
use serde_json::json;

use super::super::conversation::Conversation;
use super::super::pool::Pool;
use super::super::record::{PictureForm, Strategy};
use super::LlmStrategy;
use super::asking::{Asking, described, schema};
use crate::Result;

/// The model sees the query and the right picture, once.
#[derive(Debug)]
pub struct DirectGeneration(pub Asking);

impl LlmStrategy for DirectGeneration {
    fn strategy(&self) -> Strategy {
        Strategy::DirectGeneration
    }

    fn asking(&self) -> &Asking {
        &self.0
    }

    fn pictures(&self) -> Option<PictureForm> {
        Some(self.0.settings.pictures)
    }

    fn request(&self, conversation: &Conversation, pool: &Pool) -> Result<Option<ChatRequest>> {
        let unit = &conversation.unit;
        let further = json!({"right": described(pool, unit.picture, &unit.query)});
        let shown = self.0.shown(pool, &[unit.picture]);
        let schema = schema(self.0.settings.count, false);
        self.0.request("direct_generation", conversation, further, shown, schema).map(Some)
    }
}
