//! MGQRe's challenge response (section 3.1): recall, submit, review, feedback, for several turns.

use relens::llm::ChatRequest;
use serde_json::json;

use super::super::conversation::Conversation;
use super::super::pool::Pool;
use super::super::record::{PictureForm, Strategy};
use super::LlmStrategy;
use super::asking::{Asking, described, schema};
use crate::Result;

/// The model compares the ground truth with the pictures that beat it and rewrites what the retriever failed on.
#[derive(Debug)]
pub struct ChallengeResponse(pub Asking);

impl LlmStrategy for ChallengeResponse {
    fn strategy(&self) -> Strategy {
        Strategy::ChallengeResponse
    }

    fn asking(&self) -> &Asking {
        &self.0
    }

    fn hard_negatives(&self) -> usize {
        self.0.settings.negatives
    }

    fn pictures(&self) -> Option<PictureForm> {
        Some(self.0.settings.pictures)
    }

    fn turns(&self) -> u32 {
        self.0.settings.turns
    }

    fn enough(&self) -> usize {
        self.0.settings.enough
    }

    fn request(&self, conversation: &Conversation, pool: &Pool) -> Result<Option<ChatRequest>> {
        let unit = &conversation.unit;
        let negatives: Vec<_> =
            conversation.negatives.iter().map(|&picture| described(pool, picture, "")).collect();
        let further = json!({"right": described(pool, unit.picture, &unit.query), "negatives": negatives});
        let mut shown = vec![unit.picture];
        shown.extend(&conversation.negatives);
        let schema = schema(self.0.settings.count, true);
        let shown = self.0.shown(pool, &shown);
        self.0.request("challenge_response", conversation, further, shown, schema).map(Some)
    }
}
