//! The strategies that ask a language model, one file each; [`super::engine`] carries them out. How a model is
//! asked is the same whatever the strategy.

mod asking_for_rewrites;
mod blur;

use relens::llm::{ChatRequest, Message, Part, ReplyForm, Role};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::acceptance::{AcceptanceConfig, Kept, better, choose};
use super::conversation::Conversation;
use super::low_quality::Quality;
use super::pool::Pool;
use super::prompts::Prompt;
use super::record::{ImageForm, MinedQuery, MiningStrategy};
use crate::Result;
use crate::retriever_feedback::Judgement;

pub use asking_for_rewrites::{ChallengeResponse, DirectGeneration, EvdRewrites, FeedbackEnhancement};
pub use blur::{Blurring, blurred_enough};

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

/// Known captions of one picture that a prompt shows.
const CAPTIONS_SHOWN: usize = 3;

/// Settings of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskConfig {
    /// Rewrites that are asked for at a time; default 3.
    pub count: usize,
    /// The most turns; default 3.
    pub turns: u32,
    /// Accepted rewrites that end a conversation early; default 2.
    pub enough: usize,
    /// Hard negatives that are submitted beside the ground truth; default 4.
    pub negatives: usize,
    /// How pictures are shown; default as pictures.
    pub pictures: ImageForm,
    /// How freely the model chooses; default 0.7.
    pub temperature: f32,
    /// The seed of the first turn; every further turn has the next one. Default 0.
    pub seed: u64,
    /// The longest reply in tokens; default 512.
    pub max_tokens: u32,
}

impl Default for AskConfig {
    fn default() -> Self {
        Self {
            count: 3,
            turns: 3,
            enough: 2,
            negatives: 4,
            pictures: ImageForm::Images,
            temperature: 0.7,
            seed: 0,
            max_tokens: 512,
        }
    }
}

/// A prompt with the settings of its requests.
#[derive(Debug)]
pub struct PromptedRequest {
    /// The prompt.
    pub prompt: Prompt,
    /// The settings.
    pub settings: AskConfig,
}

/// A picture as a text-only prompt knows it.
#[derive(Debug, Serialize)]
struct Described {
    captions: Vec<String>,
}

/// What every prompt can use; each is allowed what it declares.
#[derive(Debug, Serialize)]
struct Variables<'a, E: Serialize> {
    query: &'a str,
    rank: u32,
    score: f32,
    count: usize,
    pictures: ImageForm,
    history: &'a [super::conversation::Turn],
    #[serde(flatten)]
    further: E,
}

impl PromptedRequest {
    /// The request of a conversation's turn. `further` are the variables that only this strategy has, `shown` the
    /// pictures that go with the prompt.
    fn request<E: Serialize>(
        &self,
        name: &str,
        conversation: &Conversation,
        further: E,
        shown: Vec<Part>,
        schema: Value,
    ) -> Result<ChatRequest> {
        let variables = Variables {
            query: &conversation.caption.query,
            rank: conversation.judgement.rank,
            score: conversation.judgement.score,
            count: self.settings.count,
            pictures: self.settings.pictures,
            history: &conversation.history,
            further,
        };
        let mut messages = self.prompt.messages(&variables)?;
        if !shown.is_empty() {
            match messages.last_mut() {
                Some(message) => message.parts.extend(shown),
                None => messages.push(Message { role: Role::User, parts: shown }),
            }
        }
        Ok(ChatRequest {
            label: format!("{name} {} turn {}", conversation.caption.id, conversation.turn),
            prompt: self.prompt.id(),
            messages,
            form: ReplyForm::Json { name: name.to_owned(), schema },
            temperature: self.settings.temperature,
            seed: self.settings.seed + u64::from(conversation.turn) - 1,
            max_tokens: self.settings.max_tokens,
        })
    }

    /// The pictures at these positions as parts of a message, or none where they are submitted as captions.
    fn shown(&self, pool: &Pool, positions: &[usize]) -> Vec<Part> {
        if self.settings.pictures == ImageForm::Captions {
            return Vec::new();
        }
        let path = |&position: &usize| pool.pictures().get(position).map(|picture| picture.path.clone());
        positions.iter().filter_map(path).map(Part::Image).collect()
    }
}

/// The known captions of a picture, without the query itself.
fn described(pool: &Pool, position: usize, query: &str) -> Described {
    let captions = pool.pictures().get(position).map_or(&[][..], |picture| &picture.captions);
    let others = captions.iter().filter(|caption| caption.as_str() != query).take(CAPTIONS_SHOWN);
    Described { captions: others.cloned().collect() }
}

/// The schema of a reply with rewrites, and with a review where `reviewed`.
fn schema(count: usize, reviewed: bool) -> Value {
    let rewrites =
        json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": count.max(1)});
    let text = json!({"type": "string"});
    let (properties, required) = if reviewed {
        let concepts = json!({"type": "array", "items": text, "maxItems": 8});
        (
            json!({"analysis": text, "failed_concepts": concepts, "rewrites": rewrites}),
            json!(["analysis", "failed_concepts", "rewrites"]),
        )
    } else {
        (json!({"rewrites": rewrites}), json!(["rewrites"]))
    };
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
