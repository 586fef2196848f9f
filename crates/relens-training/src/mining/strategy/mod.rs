//! The strategies that ask a language model, one file each; [`super::engine`] carries them out.

mod asking;
mod asking_for_rewrites;
mod blur;

pub use asking::{AskConfig, PromptedRequest};
pub use asking_for_rewrites::{ChallengeResponse, DirectGeneration, EvdRewrites, FeedbackEnhancement};
pub use blur::{Blurring, blurred_enough};

use relens::llm::ChatRequest;

use super::acceptance::{AcceptanceConfig, Kept, better, choose};
use super::conversation::Conversation;
use super::low_quality::Quality;
use super::pool::Pool;
use super::record::{ImageForm, MinedQuery, MiningStrategy};
use crate::Result;
use crate::retriever_feedback::Judgement;

/// What differs between the strategies.
pub trait LlmStrategy: Sync {
    /// What records call it.
    fn strategy(&self) -> MiningStrategy;

    /// Which captions it works on.
    fn quality(&self) -> Quality {
        Quality::Low
    }

    /// What is the same for all: the prompt and how the model is asked.
    fn asking(&self) -> &PromptedRequest;

    /// How many hard negatives are looked up before each turn.
    fn hard_negatives(&self) -> usize {
        0
    }

    /// How pictures are shown, if they are.
    fn pictures(&self) -> Option<ImageForm> {
        None
    }

    /// The request of this turn; `None` if there is nothing to ask, which finishes the query without rewrites.
    ///
    /// # Errors
    /// The prompt cannot be filled in.
    fn request(&self, conversation: &Conversation, pool: &Pool) -> Result<Option<ChatRequest>>;

    /// Whether a rewrite of this feedback is what the strategy is after.
    fn accepts(&self, rewrite: Judgement, query: Judgement, k: u32) -> bool {
        let _ = query;
        rewrite.rank <= k
    }

    /// How many accepted rewrites end the conversation before its last turn.
    fn enough(&self) -> usize {
        1
    }

    /// The most turns.
    fn turns(&self) -> u32 {
        1
    }

    /// The record of a finished conversation.
    fn record(
        &self,
        conversation: Conversation,
        pool: &Pool,
        settings: &AcceptanceConfig,
        model: &str,
    ) -> MinedQuery {
        keep_better(self.strategy(), self, conversation, pool, settings, model)
    }
}

/// The record that keeps what the retriever likes better than the query, by rank.
fn keep_better<S: LlmStrategy + ?Sized>(
    strategy: MiningStrategy,
    of: &S,
    conversation: Conversation,
    pool: &Pool,
    settings: &AcceptanceConfig,
    model: &str,
) -> MinedQuery {
    let mut kept = Kept { rewrites: Vec::new(), dropped: conversation.dropped };
    let by_score = |rewrite: Judgement, query: Judgement| rewrite.score > query.score;
    if strategy == MiningStrategy::EvdEnhanced {
        choose(&mut kept, conversation.judged, conversation.judgement, settings, by_score);
    } else {
        choose(&mut kept, conversation.judged, conversation.judgement, settings, better);
    }
    MinedQuery {
        image: pool.name(conversation.caption.picture).to_owned(),
        id: conversation.caption.id,
        query: conversation.caption.query,
        low_rank: conversation.judgement.rank,
        low_score: conversation.judgement.score,
        rewrites: kept.rewrites,
        strategy,
        prompt: of.asking().prompt.id(),
        model: model.to_owned(),
        pictures: of.pictures(),
        replies: conversation.replies,
        dropped: kept.dropped,
    }
}
