//! Carries out a strategy: many conversations at once, the model asked in parallel, retests in one batch.
//!
//! A window of conversations is open. Replies come in any order; what came is retested together, while the other
//! requests stay on their way. Records are written in the order of the captions, so that a run that was killed and went
//! on has the same file as one that was not. Every change of a conversation is persisted first.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use relens::llm::{ChatModel, ChatReply, ChatRequest, LlmError, structured};

use super::acceptance::{AcceptanceConfig, Proposal, Proposed, drop_one, judge_proposals};
use super::conversation::{Conversation, ConversationPhase, Review, TransitionLog, Turn, TurnRewrite};
use super::filters::DropReason;
use super::low_quality::RankedCaptions;
use super::pool::MiningFeedback;
use super::record::MiningStrategy;
use super::run::MiningRun;
use super::strategy::LlmStrategy;
use crate::retriever_feedback::{Judgement, RECALLED_PER_WANTED, choose_hard_negatives};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// The file of unfinished conversations in the run's directory.
pub const TRANSITIONS: &str = "transitions.jsonl";
/// Queries that are looked up, and retested, at a time.
const BATCH: usize = 64;
/// How long further replies are waited for once one has come, so that they are retested together.
const GATHER: Duration = Duration::from_millis(20);
/// How often the wait for replies looks whether the user wants to stop.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Queries that are finished, those of earlier runs too.
    pub finished: u64,
    /// Queries that stay open because the model did not answer; they are asked again when the run goes on.
    pub unanswered: u64,
}

/// A strategy at work.
pub struct Engine<'a> {
    judge: &'a MiningFeedback<'a>,
    strategy: &'a dyn LlmStrategy,
    model: &'a dyn ChatModel,
    settings: AcceptanceConfig,
    run: &'a mut MiningRun,
    transitions: TransitionLog,
    saved: HashMap<String, Conversation>,
    window: usize,
    open: VecDeque<Slot>,
    /// The number of the first open conversation.
    first: u64,
    on_their_way: usize,
    sender: Sender<(u64, Result<ChatReply, LlmError>)>,
    replies: Receiver<(u64, Result<ChatReply, LlmError>)>,
    stopped: Option<LlmError>,
    outcome: Outcome,
}

struct Slot {
    conversation: Conversation,
    asked: Option<ChatRequest>,
    repairing: bool,
    failed: bool,
}

impl Slot {
    /// Whether nothing more will happen to it.
    fn is_through(&self) -> bool {
        self.conversation.phase == ConversationPhase::Finished || self.failed
    }
}

impl<'a> Engine<'a> {
    /// Prepares to carry out `strategy` with at most `window` conversations open.
    ///
    /// # Errors
    /// The conversations of an earlier run cannot be read.
    pub fn new(
        judge: &'a MiningFeedback<'a>,
        strategy: &'a dyn LlmStrategy,
        model: &'a dyn ChatModel,
        settings: AcceptanceConfig,
        run: &'a mut MiningRun,
        window: usize,
    ) -> Result<Self> {
        let path = run.directory().join(TRANSITIONS);
        let (transitions, saved) = TransitionLog::open(&path, |id| run.is_finished(id))?;
        let (sender, replies) = channel();
        Ok(Self {
            judge,
            strategy,
            model,
            settings,
            run,
            transitions,
            saved,
            window: window.max(1),
            open: VecDeque::new(),
            first: 0,
            on_their_way: 0,
            sender,
            replies,
            stopped: None,
            outcome: Outcome::default(),
        })
    }

    /// Works through the pool's captions, at most `limit` of them, those of earlier runs included.
    ///
    /// # Errors
    /// [`TrainingError::Llm`] when the model cannot be asked any more; [`TrainingError::Retrieval`] with
    /// [`Cancelled`](relens::error::Error::Cancelled) when the user stops; those of the judge and of the disk. What was
    /// finished is written in all cases.
    pub fn work(&mut self, limit: Option<u64>, progress: &mut dyn Progress) -> Result<Outcome> {
        let judge = self.judge;
        let mut captions = RankedCaptions::new(judge, self.strategy.quality(), self.settings.k);
        progress.begin("queries", limit.unwrap_or(0));
        let (mut left, mut exhausted) = (limit.unwrap_or(u64::MAX), false);
        loop {
            // New conversations begin in batches, so that they are ranked together, but before the window is empty.
            let least = (self.window / 2).clamp(1, BATCH);
            while !exhausted && self.stopped.is_none() && self.open.len() + least <= self.window {
                let room = (self.window - self.open.len()).min(BATCH);
                let block = captions.next_block(room.min(usize::try_from(left).unwrap_or(BATCH)))?;
                left -= block.len() as u64;
                exhausted = block.is_empty() || left == 0;
                for ranked in block {
                    self.take(ranked.caption, ranked.judgement);
                }
            }
            self.recall()?;
            self.submit()?;
            self.receive()?;
            self.feedback()?;
            self.write_finished()?;
            progress.advance(self.outcome.finished);
            if progress.cancelled() && self.stopped.is_none() {
                self.model.cancel();
                self.stopped = Some(LlmError::Cancelled);
            }
            let done = self.open.is_empty() && exhausted;
            if done || self.stopped.is_some() && self.on_their_way == 0 {
                break;
            }
        }
        progress.end();
        match self.stopped.take() {
            None => Ok(self.outcome),
            Some(LlmError::Cancelled) => Err(TrainingError::Retrieval(relens::error::Error::Cancelled)),
            Some(error) => Err(TrainingError::Llm(error)),
        }
    }

    fn take(&mut self, caption: super::pool::PoolCaption, judgement: Judgement) {
        if self.run.is_finished(&caption.id) {
            self.outcome.finished += 1;
            return;
        }
        let conversation =
            self.saved.remove(&caption.id).unwrap_or_else(|| Conversation::new(caption, judgement));
        self.open.push_back(Slot { conversation, asked: None, repairing: false, failed: false });
    }

    /// Looks up the hard negatives of all conversations that begin a turn.
    fn recall(&mut self) -> Result<()> {
        let waiting = |slot: &&mut Slot| slot.conversation.phase == ConversationPhase::Recall;
        let mut slots: Vec<&mut Slot> = self.open.iter_mut().filter(waiting).collect();
        let wanted = self.strategy.hard_negatives();
        for block in slots.chunks_mut(BATCH) {
            if wanted > 0 {
                let texts: Vec<(&str, usize)> = block
                    .iter()
                    .map(|slot| (slot.conversation.recall_text(), slot.conversation.caption.picture))
                    .collect();
                let recalled = self.judge.recall(&texts, wanted * RECALLED_PER_WANTED)?;
                let pictures = self.judge.pool.embeddings();
                for (slot, (judgement, recalled)) in block.iter_mut().zip(recalled) {
                    let ground_truth = slot.conversation.caption.picture;
                    slot.conversation.negatives =
                        choose_hard_negatives(&recalled, ground_truth, judgement, pictures, wanted);
                }
            }
            for slot in block {
                slot.conversation.phase = ConversationPhase::Submit;
                self.transitions.append(&slot.conversation)?;
            }
        }
        Ok(())
    }

    /// Sends the requests of all conversations that have none on its way.
    fn submit(&mut self) -> Result<()> {
        if self.stopped.is_some() {
            return Ok(());
        }
        for (number, slot) in (self.first..).zip(&mut self.open) {
            if slot.conversation.phase != ConversationPhase::Submit || slot.asked.is_some() || slot.failed {
                continue;
            }
            let Some(request) = self.strategy.request(&slot.conversation, self.judge.pool)? else {
                slot.conversation.phase = ConversationPhase::Finished;
                continue;
            };
            slot.asked = Some(request.clone());
            self.on_their_way += 1;
            send(self.model, &self.sender, number, request);
        }
        Ok(())
    }

    /// Takes what has come; waits if there is nothing else to do.
    fn receive(&mut self) -> Result<()> {
        // What is finished behind an unfinished conversation waits to be written in its order: nothing to do yet.
        let writable = self.open.front().is_some_and(Slot::is_through);
        let ready = writable
            || self.open.iter().any(|slot| {
                matches!(slot.conversation.phase, ConversationPhase::Feedback(_) | ConversationPhase::Recall)
            });
        if self.on_their_way == 0 {
            return Ok(());
        }
        let mut patience = if ready { Duration::ZERO } else { PATIENCE };
        for _ in 0..BATCH {
            match self.replies.recv_timeout(patience) {
                Ok((number, outcome)) => self.reply(number, outcome)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            patience = GATHER;
        }
        Ok(())
    }

    fn reply(&mut self, number: u64, outcome: Result<ChatReply, LlmError>) -> Result<()> {
        self.on_their_way -= 1;
        let position = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let Some(slot) = self.open.get_mut(position) else { return Ok(()) };
        let Some(request) = slot.asked.take() else { return Ok(()) };
        let reply = match outcome {
            Ok(reply) => reply,
            // A replay with a hole in it would be another run than the one that was recorded.
            Err(error) if error.is_final() || matches!(error, LlmError::NotRecorded { .. }) => {
                self.stopped.get_or_insert(error);
                return Ok(());
            }
            Err(error) => {
                tracing::warn!("{error}");
                slot.failed = true;
                return Ok(());
            }
        };
        match structured::read::<Review>(&reply) {
            Ok((review, reading)) => {
                let how = match reading {
                    _ if slot.repairing => "repaired",
                    structured::Reading::Valid => "valid",
                    structured::Reading::Mended => "mended",
                };
                slot.conversation.count_reply(how);
                slot.conversation.phase = ConversationPhase::Feedback(review);
            }
            Err(fault) if !slot.repairing && self.stopped.is_none() => {
                tracing::debug!("{}: {fault}", request.label);
                let repair = structured::repair_request(&request, &reply, &fault);
                slot.repairing = true;
                slot.asked = Some(repair.clone());
                self.on_their_way += 1;
                send(self.model, &self.sender, number, repair);
                return Ok(());
            }
            // It is asked for again when the run goes on.
            Err(_) if !slot.repairing => return Ok(()),
            Err(_) => {
                slot.conversation.count_reply("unusable");
                drop_one(&mut slot.conversation.dropped, DropReason::UnusableReply);
                slot.conversation.phase = ConversationPhase::Feedback(Review::default());
            }
        }
        slot.repairing = false;
        self.transitions.append(&slot.conversation)
    }

    /// Retests the rewrites of all conversations that have new ones, in one batch.
    fn feedback(&mut self) -> Result<()> {
        let mut slots: Vec<(&mut Slot, Vec<Proposal>)> = Vec::new();
        let kind = if self.strategy.strategy() == MiningStrategy::Blur { "blurred" } else { "rewrite" };
        for slot in &mut self.open {
            let ConversationPhase::Feedback(review) = &slot.conversation.phase else { continue };
            let turn = slot.conversation.turn;
            let proposals = review.rewrites.iter().map(|text| Proposal {
                text: text.trim().to_owned(),
                kind: kind.to_owned(),
                source: "llm",
                turn,
            });
            let proposals = proposals.collect();
            slots.push((slot, proposals));
        }
        let proposed: Vec<Proposed<'_>> = slots
            .iter()
            .map(|(slot, proposals)| Proposed {
                caption: &slot.conversation.caption,
                proposals,
                earlier: &slot.conversation.judged,
            })
            .collect();
        let judged = judge_proposals(self.judge, &self.settings.filters, &proposed)?;
        for ((slot, _), judged) in slots.into_iter().zip(judged) {
            end_turn(&mut slot.conversation, judged, self.strategy, &self.settings);
            self.transitions.append(&slot.conversation)?;
        }
        Ok(())
    }

    /// Writes the records of the first conversations as long as they are finished.
    fn write_finished(&mut self) -> Result<()> {
        while let Some(slot) = self.open.front() {
            if !slot.is_through() {
                break;
            }
            let Some(slot) = self.open.pop_front() else { break };
            self.first += 1;
            if slot.failed {
                self.outcome.unanswered += 1;
                continue;
            }
            let model = self.model.model();
            let mined = self.strategy.record(slot.conversation, self.judge.pool, &self.settings, model);
            self.run.append(&mined)?;
            self.outcome.finished += 1;
        }
        Ok(())
    }
}

/// The first requests that a run would make, at most `count`, without asking anybody.
///
/// # Errors
/// Those of the judge and of the prompt.
pub fn preview(
    judge: &MiningFeedback<'_>,
    strategy: &dyn LlmStrategy,
    k: u32,
    count: usize,
) -> Result<Vec<ChatRequest>> {
    let mut captions = RankedCaptions::new(judge, strategy.quality(), k);
    let mut requests = Vec::new();
    let wanted = strategy.hard_negatives();
    while requests.len() < count
        && let Some(ranked) = captions.next_caption()?
    {
        let mut conversation = Conversation::new(ranked.caption, ranked.judgement);
        if wanted > 0 {
            let (text, picture) = (conversation.recall_text(), conversation.caption.picture);
            let recalled = judge.recall(&[(text, picture)], wanted * RECALLED_PER_WANTED)?;
            for (judgement, recalled) in recalled {
                let pictures = judge.pool.embeddings();
                conversation.negatives =
                    choose_hard_negatives(&recalled, picture, judgement, pictures, wanted);
            }
        }
        requests.extend(strategy.request(&conversation, judge.pool)?);
    }
    Ok(requests)
}

fn send(
    model: &dyn ChatModel,
    sender: &Sender<(u64, Result<ChatReply, LlmError>)>,
    number: u64,
    request: ChatRequest,
) {
    let sender = sender.clone();
    // The engine may be gone after an error; the reply is recorded all the same.
    model.submit(request, Box::new(move |outcome| drop(sender.send((number, outcome)))));
}

/// Takes the retriever's feedback into a conversation, and ends it or begins the next turn.
fn end_turn(
    conversation: &mut Conversation,
    judged: super::acceptance::Judged,
    strategy: &dyn LlmStrategy,
    settings: &AcceptanceConfig,
) {
    let phase = std::mem::replace(&mut conversation.phase, ConversationPhase::Finished);
    let review = if let ConversationPhase::Feedback(review) = phase { review } else { Review::default() };
    let rewrites = judged.rewrites.iter().map(|rewrite| TurnRewrite {
        text: rewrite.text.clone(),
        rank: rewrite.rank,
        score: rewrite.score,
    });
    conversation.history.push(Turn {
        number: conversation.turn,
        failed_concepts: review.failed_concepts,
        rewrites: rewrites.collect(),
    });
    conversation.judged.extend(judged.rewrites);
    for (reason, count) in judged.dropped {
        *conversation.dropped.entry(reason).or_default() += count;
    }
    let accepted = conversation.judged.iter().filter(|rewrite| {
        let found = Judgement { rank: rewrite.rank, score: rewrite.score };
        rewrite.similarity_to_query >= settings.filters.min_similarity
            && strategy.accepts(found, conversation.judgement, settings.k)
    });
    if accepted.count() < strategy.enough() && conversation.turn < strategy.turns() {
        conversation.turn += 1;
        conversation.phase = ConversationPhase::Recall;
    }
}
