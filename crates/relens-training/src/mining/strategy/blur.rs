//! Blur: low-quality partners of queries that are of high quality (MGQRe, section 3.1).

use relens::llm::ChatRequest;
use serde_json::json;

use super::super::acceptance::{AcceptanceConfig, drop_one};
use super::super::conversation::Conversation;
use super::super::filters::DropReason;
use super::super::low_quality::Quality;
use super::super::pool::Pool;
use super::super::record::{MinedQuery, MinedRewrite, MiningStrategy};
use super::LlmStrategy;
use super::{PromptedRequest, schema};
use crate::Result;
use crate::retriever_feedback::Judgement;

/// The model makes a good query vaguer; what has really lost similarity is kept.
#[derive(Debug)]
pub struct Blurring {
    /// The prompt and its settings.
    pub asking: PromptedRequest,
    /// How much similarity to the picture must be lost.
    pub margin: f32,
}

impl LlmStrategy for Blurring {
    fn strategy(&self) -> MiningStrategy {
        MiningStrategy::Blur
    }

    fn quality(&self) -> Quality {
        Quality::High
    }

    fn asking(&self) -> &PromptedRequest {
        &self.asking
    }

    fn request(&self, conversation: &Conversation, _: &Pool) -> Result<Option<ChatRequest>> {
        let schema = schema(self.asking.settings.count, false);
        self.asking.request("blur", conversation, json!({}), Vec::new(), schema).map(Some)
    }

    fn accepts(&self, rewrite: Judgement, query: Judgement, _: u32) -> bool {
        blurred_enough(query, rewrite, self.margin)
    }

    /// The blurred text nearest in meaning is the query, the original its rewrite. Without one there are no rewrites.
    fn record(
        &self,
        conversation: Conversation,
        pool: &Pool,
        settings: &AcceptanceConfig,
        model: &str,
    ) -> MinedQuery {
        let Conversation { caption, judgement, judged, mut dropped, replies, .. } = conversation;
        let mut blurred: Option<MinedRewrite> = None;
        for text in judged {
            let found = Judgement { rank: text.rank, score: text.score };
            let reason = if text.similarity_to_query < settings.filters.min_similarity {
                Some(DropReason::Unfaithful)
            } else if blurred_enough(judgement, found, self.margin) {
                None
            } else {
                Some(DropReason::NotBlurred)
            };
            if let Some(reason) = reason {
                drop_one(&mut dropped, reason);
                continue;
            }
            let nearer =
                blurred.as_ref().is_none_or(|best| text.similarity_to_query > best.similarity_to_query);
            let other = if nearer { blurred.replace(text) } else { Some(text) };
            if other.is_some() {
                drop_one(&mut dropped, DropReason::Surplus);
            }
        }
        let original = |blurred: &MinedRewrite| MinedRewrite {
            text: caption.query.clone(),
            rank: judgement.rank,
            score: judgement.score,
            similarity_to_query: blurred.similarity_to_query,
            turn: 0,
            kind: "original".to_owned(),
            source: "caption".to_owned(),
        };
        MinedQuery {
            rewrites: blurred.iter().map(original).collect(),
            low_rank: blurred.as_ref().map_or(judgement.rank, |blurred| blurred.rank),
            low_score: blurred.as_ref().map_or(judgement.score, |blurred| blurred.score),
            query: blurred.map_or_else(|| caption.query.clone(), |blurred| blurred.text),
            image: pool.name(caption.picture).to_owned(),
            id: caption.id,
            strategy: MiningStrategy::Blur,
            prompt: self.asking.prompt.id(),
            model: model.to_owned(),
            pictures: None,
            replies,
            dropped,
        }
    }
}

/// Whether a blurred query has lost enough: its similarity to the picture falls by `margin` at least, and its picture
/// does not rank better than before.
pub fn blurred_enough(original: Judgement, blurred: Judgement, margin: f32) -> bool {
    blurred.score <= original.score - margin && blurred.rank >= original.rank
}
