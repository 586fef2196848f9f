//! The strategies that ask for rewrites of queries, each a prompt of its own: MGQRe's challenge-response with the images
//! that the retriever prefers, its two weaker comparisons (direct generation from the right image alone; feedback
//! enhancement by the similarity score alone), and EvdCLIP's rewrites with descriptions of what the image shows.

use relens::enhancer::Query;
use relens::enhancer::entity_finder::EntityFinder;
use relens::llm::ChatRequest;
use serde_json::json;

use super::super::conversation::Conversation;
use super::super::low_quality::Quality;
use super::super::pool::Pool;
use super::super::record::{ImageForm, MiningStrategy};
use super::LlmStrategy;
use super::{PromptedRequest, described, schema};
use crate::Result;
use crate::retriever_feedback::Judgement;

/// The model compares the ground truth with the pictures that beat it and rewrites what the retriever failed on.
#[derive(Debug)]
pub struct ChallengeResponse(pub PromptedRequest);

impl LlmStrategy for ChallengeResponse {
    fn strategy(&self) -> MiningStrategy {
        MiningStrategy::ChallengeResponse
    }

    fn asking(&self) -> &PromptedRequest {
        &self.0
    }

    fn hard_negatives(&self) -> usize {
        self.0.settings.negatives
    }

    fn pictures(&self) -> Option<ImageForm> {
        Some(self.0.settings.pictures)
    }

    fn turns(&self) -> u32 {
        self.0.settings.turns
    }

    fn enough(&self) -> usize {
        self.0.settings.enough
    }

    fn request(&self, conversation: &Conversation, pool: &Pool) -> Result<Option<ChatRequest>> {
        let caption = &conversation.caption;
        let negatives: Vec<_> =
            conversation.negatives.iter().map(|&picture| described(pool, picture, "")).collect();
        let further =
            json!({"right": described(pool, caption.picture, &caption.query), "negatives": negatives});
        let mut shown = vec![caption.picture];
        shown.extend(&conversation.negatives);
        let schema = schema(self.0.settings.count, true);
        let shown = self.0.shown(pool, &shown);
        self.0.request("challenge_response", conversation, further, shown, schema).map(Some)
    }
}

/// The model sees the query and the right picture, once.
#[derive(Debug)]
pub struct DirectGeneration(pub PromptedRequest);

impl LlmStrategy for DirectGeneration {
    fn strategy(&self) -> MiningStrategy {
        MiningStrategy::DirectGeneration
    }

    fn asking(&self) -> &PromptedRequest {
        &self.0
    }

    fn pictures(&self) -> Option<ImageForm> {
        Some(self.0.settings.pictures)
    }

    fn request(&self, conversation: &Conversation, pool: &Pool) -> Result<Option<ChatRequest>> {
        let caption = &conversation.caption;
        let further = json!({"right": described(pool, caption.picture, &caption.query)});
        let shown = self.0.shown(pool, &[caption.picture]);
        let schema = schema(self.0.settings.count, false);
        self.0.request("direct_generation", conversation, further, shown, schema).map(Some)
    }
}

/// The model sees its earlier rewrites and their similarities, and no picture.
#[derive(Debug)]
pub struct FeedbackEnhancement(pub PromptedRequest);

impl LlmStrategy for FeedbackEnhancement {
    fn strategy(&self) -> MiningStrategy {
        MiningStrategy::FeedbackEnhancement
    }

    fn asking(&self) -> &PromptedRequest {
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

/// The model weaves descriptions of the query's entities into it; what raises the similarity is kept.
pub struct EvdRewrites {
    /// The prompt and its settings.
    pub asking: PromptedRequest,
    /// Finds the entities and their descriptions.
    pub finder: EntityFinder,
    /// Which captions are worked on; the paper takes all.
    pub quality: Quality,
}

impl LlmStrategy for EvdRewrites {
    fn strategy(&self) -> MiningStrategy {
        MiningStrategy::EvdEnhanced
    }

    fn quality(&self) -> Quality {
        self.quality
    }

    fn asking(&self) -> &PromptedRequest {
        &self.asking
    }

    fn request(&self, conversation: &Conversation, _: &Pool) -> Result<Option<ChatRequest>> {
        let query = Query::new(&conversation.caption.query)?;
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
