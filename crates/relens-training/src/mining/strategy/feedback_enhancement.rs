//! Feedback enhancement: rewrites, refined by the similarity score alone. MGQRe's weaker comparison.

use relens::llm::ChatRequest;
use serde_json::json;

use super::super::conversation::Conversation;
use super::super::pool::Pool;
use super::super::record::Strategy;
use super::LlmStrategy;
use super::asking::{Asking, schema};
use crate::Result;

/// The model sees its earlier rewrites and their similarities, and no picture.
#[derive(Debug)]
pub struct FeedbackEnhancement(pub Asking);

impl LlmStrategy for FeedbackEnhancement {
    fn strategy(&self) -> Strategy {
        Strategy::FeedbackEnhancement
    }

    fn asking(&self) -> &Asking {
        &self.0
    }

    fn turns(&self) -> u32 {
        self.0.settings.turns
    }

    fn enough(&self) -> usize {
        self.0.settings.enough
    }

    fn request(&self, conversation: &Conversation, _: &Pool) -> Result<Option<ChatRequest>> {
        let schema = schema(self.0.settings.count, false);
        self.0.request("feedback_enhancement", conversation, json!({}), Vec::new(), schema).map(Some)
    }
}
