//! A strategy carried out against a model in this process.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use relens::dataset::{Dataset, DatasetImage, Split};
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::llm::{ChatModel, ChatReply, ChatRequest, Deliver, LlmError, Part};
use relens::progress::Silent;
use relens_training::TrainingError;
use relens_training::mining::acceptance::AcceptanceConfig;
use relens_training::mining::engine::{Engine, Outcome};
use relens_training::mining::filters::FilterConfig;
use relens_training::mining::pool::MiningFeedback;
use relens_training::mining::pool::Pool;
use relens_training::mining::prompts::Prompt;
use relens_training::mining::record::{ImageForm, MinedQuery, MiningStrategy, read};
use relens_training::mining::run::{MINED, MiningRun};
use relens_training::mining::strategy::{
    AskConfig, Blurring, ChallengeResponse, LlmStrategy, PromptedRequest,
};

const NOUNS: [&str; 8] = ["dog", "cat", "man", "girl", "bike", "ball", "car", "boat"];
const COLOURS: [&str; 4] = ["red", "blue", "green", "black"];

/// A text's vector counts the known words in it.
struct Words;

impl TextEmbedder for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn fingerprint(&self) -> &str {
        "words"
    }

    fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
        let mut embeddings = Embeddings::new(NOUNS.len() + COLOURS.len() + 1);
        for text in texts {
            let known = |word: &&str| f32::from(u8::from(text.split(' ').any(|other| other == *word)));
            let mut vector: Vec<f32> = NOUNS.iter().chain(&COLOURS).map(known).collect();
            vector.push(0.1);
            embeddings.push(&vector)?;
        }
        embeddings.normalise();
        Ok(embeddings)
    }
}

/// Pictures of every colour and noun; their captions do not name the colour, so that most are ranked badly.
fn pool() -> Pool {
    let shown: Vec<(String, String)> = NOUNS
        .iter()
        .flat_map(|noun| {
            COLOURS.iter().map(move |colour| (format!("{colour} {noun}"), format!("a {noun} here")))
        })
        .collect();
    let images = shown.iter().enumerate().map(|(number, (picture, caption))| DatasetImage {
        id: number as u64,
        path: PathBuf::from(format!("{}.jpg", picture.replace(' ', "-"))),
        split: Split::Train,
        captions: vec![caption.clone(), format!("the {picture}")],
    });
    let dataset = Dataset { name: "test".into(), images_directory: PathBuf::new(), images: images.collect() };
    let pictures: Vec<&str> = shown.iter().map(|(picture, _)| picture.as_str()).collect();
    Pool::new(&dataset, Words.embed_texts(&pictures).unwrap()).unwrap()
}

/// Answers by `answer`, until so many requests have come.
struct Scripted<F> {
    answer: F,
    asked: Mutex<Vec<ChatRequest>>,
    until: AtomicUsize,
    cancelled: AtomicBool,
}

impl<F: Fn(&ChatRequest) -> String + Send + Sync> Scripted<F> {
    fn new(answer: F) -> Self {
        let (until, cancelled) = (AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        Self { answer, asked: Mutex::default(), until, cancelled }
    }
}

impl<F: Fn(&ChatRequest) -> String + Send + Sync> ChatModel for Scripted<F> {
    fn model(&self) -> &str {
        "scripted"
    }

    fn submit(&self, request: ChatRequest, deliver: Deliver) {
        let mut asked = self.asked.lock().unwrap();
        if asked.len() >= self.until.load(Ordering::SeqCst) || self.cancelled.load(Ordering::SeqCst) {
            return deliver(Err(LlmError::KeyRefused { status: 401, message: "expired".into() }));
        }
        let content = (self.answer)(&request);
        asked.push(request);
        deliver(Ok(ChatReply {
            content,
            refusal: None,
            finish_reason: "stop".into(),
            prompt_tokens: 1,
            completion_tokens: 1,
            cost: 0.0,
            replayed: false,
        }));
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }
}

fn text(request: &ChatRequest) -> String {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts.map(|part| if let Part::Text(text) = part { text.as_str() } else { "" }).collect()
}

/// The first turn names a wrong colour, the second one the right one, which the captions of the picture tell.
fn review(request: &ChatRequest) -> String {
    let text = text(request);
    let right = text.split("The right picture shows:\n- the ").nth(1).unwrap();
    let right = right.lines().next().unwrap();
    let noun = right.split(' ').nth(1).unwrap();
    let rewrite =
        if text.contains("Turn 1.") { format!("a {right} here") } else { format!("some {noun} there") };
    serde_json::json!({"analysis": "x", "failed_concepts": ["colour"], "rewrites": [rewrite]}).to_string()
}

fn challenge() -> ChallengeResponse {
    let settings = AskConfig { pictures: ImageForm::Captions, enough: 1, turns: 3, ..AskConfig::default() };
    ChallengeResponse(PromptedRequest { prompt: Prompt::load("challenge_response", None).unwrap(), settings })
}

fn settings() -> AcceptanceConfig {
    let filters = FilterConfig { min_similarity: 0.1, ..FilterConfig::default() };
    AcceptanceConfig { filters, ..AcceptanceConfig::default() }
}

fn work(
    strategy: &dyn LlmStrategy,
    model: &dyn ChatModel,
    directory: &Path,
    limit: Option<u64>,
) -> Result<Outcome, TrainingError> {
    let pool = pool();
    let judge = MiningFeedback { retriever: &Words, sentences: &Words, pool: &pool };
    let mut run = MiningRun::open(directory, &serde_json::json!({"test": true})).unwrap();
    Engine::new(&judge, strategy, model, settings(), &mut run, 4).unwrap().work(limit, &mut Silent)
}

#[test]
fn the_loop_submits_hard_negatives_and_learns_from_the_turn_before() {
    let directory = tempfile::tempdir().unwrap();
    let model = Scripted::new(review);
    let outcome = work(&challenge(), &model, directory.path(), None).unwrap();
    let mined: Vec<MinedQuery> = read(&directory.path().join(MINED)).unwrap();
    assert_eq!((outcome.finished, outcome.unanswered), (mined.len() as u64, 0));
    assert_eq!(mined.len(), 32, "the captions without a colour");
    let first = &mined[0];
    assert_eq!((first.id.as_str(), first.query.as_str()), ("red-dog.jpg#0", "a dog here"));
    assert_eq!(
        (first.strategy, first.pictures),
        (MiningStrategy::ChallengeResponse, Some(ImageForm::Captions))
    );
    assert_eq!((first.rewrites[0].text.as_str(), first.rewrites[0].rank), ("a red dog here", 1));
    assert_eq!((first.rewrites[0].turn, first.replies["valid"]), (2, 2));
    assert!(first.turned_high(1) && first.prompt.starts_with("challenge_response@"));
    let asked = model.asked.lock().unwrap();
    let turns: Vec<String> =
        asked.iter().filter(|one| one.label.contains(" red-dog.jpg#0 ")).map(text).collect();
    assert_eq!(turns.len(), 2);
    // The other dogs score the same as the right one and are submitted; what was asked before is not.
    assert!(turns[0].contains("1. a dog here / the blue dog"), "{}", turns[0]);
    assert!(!turns[0].contains("Turn 1.") && turns[1].contains("\"some dog there\": rank"), "{}", turns[1]);
}

#[test]
fn a_run_that_stops_anywhere_goes_on_to_the_same_end() {
    let whole = tempfile::tempdir().unwrap();
    work(&challenge(), &Scripted::new(review), whole.path(), Some(12)).unwrap();
    let expected = fs_err::read(whole.path().join(MINED)).unwrap();
    for until in [0, 1, 5, 8, 13, 20, 23] {
        let directory = tempfile::tempdir().unwrap();
        let model = Scripted::new(review);
        model.until.store(until, Ordering::SeqCst);
        let error = work(&challenge(), &model, directory.path(), Some(12)).unwrap_err();
        assert!(matches!(error, TrainingError::Llm(LlmError::KeyRefused { .. })), "{error}");
        model.until.store(usize::MAX, Ordering::SeqCst);
        work(&challenge(), &model, directory.path(), Some(12)).unwrap();
        assert_eq!(fs_err::read(directory.path().join(MINED)).unwrap(), expected, "stopped after {until}");
        assert_eq!(
            model.asked.lock().unwrap().len(),
            24,
            "no turn is asked for twice, stopped after {until}"
        );
    }
}

#[test]
fn blurred_queries_become_the_low_quality_partners_of_good_ones() {
    let directory = tempfile::tempdir().unwrap();
    let model = Scripted::new(|request| {
        let text = text(request);
        let query = text.split('"').nth(1).unwrap().to_owned();
        let noun = query.rsplit(' ').next().unwrap();
        serde_json::json!({"rewrites": [format!("{query} again"), format!("some {noun}")]}).to_string()
    });
    let asking =
        PromptedRequest { prompt: Prompt::load("blur", None).unwrap(), settings: AskConfig::default() };
    work(&Blurring { asking, margin: 0.05 }, &model, directory.path(), Some(3)).unwrap();
    let mined = read(&directory.path().join(MINED)).unwrap();
    assert_eq!(mined.len(), 3);
    let first = &mined[0];
    assert_eq!((first.query.as_str(), first.rewrites[0].text.as_str()), ("some dog", "the red dog"));
    assert!(first.low_rank > 1 && first.rewrites[0].rank == 1 && first.low_score < first.rewrites[0].score);
    assert_eq!(first.dropped["not_blurred"], 1);
}

/// Counts how often it is called.
#[derive(Default)]
struct Counted(AtomicUsize);

impl TextEmbedder for Counted {
    fn name(&self) -> &str {
        Words.name()
    }

    fn fingerprint(&self) -> &str {
        Words.fingerprint()
    }

    fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Words.embed_texts(texts)
    }
}

#[test]
fn many_queries_are_recalled_and_retested_together() {
    let directory = tempfile::tempdir().unwrap();
    let (pool, retriever, model) = (pool(), Counted::default(), Scripted::new(review));
    let judge = MiningFeedback { retriever: &retriever, sentences: &Words, pool: &pool };
    let mut run = MiningRun::open(directory.path(), &serde_json::json!({"test": true})).unwrap();
    let strategy = challenge();
    let mut engine = Engine::new(&judge, &strategy, &model, settings(), &mut run, 16).unwrap();
    assert_eq!(engine.work(None, &mut Silent).unwrap().finished, 32);
    let asked = model.asked.lock().unwrap().len();
    // Each turn is recalled for and retested; one by one that would be two calls a turn.
    let calls = retriever.0.load(Ordering::SeqCst);
    assert!(asked == 64 && calls < asked / 2, "{calls} calls for {asked} turns");
}
