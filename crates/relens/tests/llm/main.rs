//! The client against a server on loopback that misbehaves in every way that servers do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod server;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relens::llm::{
    ApiKey, ChatModel, ChatReply, ChatRequest, ClientConfig, LlmClient, LlmError, Prices, RecordStore,
};

use self::server::{Action, Server};

const KEY: &str = "sk-very-secret-0123456789";

fn settings(server: &Server) -> ClientConfig {
    let mut settings = ClientConfig::new(&server.url(), "test-model");
    settings.timeout = Duration::from_millis(400);
    settings.retry.first_pause = Duration::from_millis(4);
    settings.retry.attempts = 4;
    settings
}

fn start(settings: ClientConfig, store: &Path) -> LlmClient {
    LlmClient::start(settings, ApiKey::new(KEY), Some(RecordStore::open(store).unwrap())).unwrap()
}

fn store_path(directory: &tempfile::TempDir) -> std::path::PathBuf {
    directory.path().join("replies.jsonl")
}

#[test]
fn a_reply_is_recorded_and_never_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|asked| {
        assert_eq!(asked.authorization, format!("Bearer {KEY}"));
        Action::Reply(format!("to {} with {KEY}", asked.text()))
    });
    let client = start(settings(&server), &store_path(&directory));
    let first = client.ask(ChatRequest::new("one", "hello")).unwrap();
    assert_eq!((first.content.as_str(), first.replayed), ("to hello with [key]", false));
    assert!(client.ask(ChatRequest::new("other label", "hello")).unwrap().replayed);
    drop(client);
    let mut replaying = settings(&server);
    replaying.replay = true;
    replaying.base_url = String::new();
    let client = start(replaying, &store_path(&directory));
    assert_eq!(client.ask(ChatRequest::new("one", "hello")).unwrap().content, first.content);
    assert_eq!((server.count(), client.usage().replayed, client.usage().prompt_tokens), (1, 1, 10));
    let message = |request| client.ask(request).unwrap_err().to_string();
    assert_eq!(message(ChatRequest::new("two", "bye")), "two: no recorded reply: it was never asked");
    let changed = ChatRequest { prompt: "p@2".into(), ..ChatRequest::new("one", "hello!") };
    assert!(message(changed).contains("the prompt has changed from  to p@2"));
    let refilled = ChatRequest { temperature: 0.5, ..ChatRequest::new("one", "hello") };
    assert!(message(refilled).contains("a setting has changed"));
    let recorded = fs_err::read_to_string(store_path(&directory)).unwrap();
    assert!(!recorded.contains(KEY), "{recorded}");
}

#[test]
fn passing_faults_are_retried_until_a_whole_reply_comes() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|asked| match asked.number {
        0 => Action::Status(429, "retry-after: 0.2\r\n", r#"{"error":{"message":"slow down"}}"#.into()),
        1 => Action::Status(500, "", "oops".into()),
        2 => Action::Status(503, "", String::new()),
        3 => Action::HalfBody,
        4 => Action::Body("{\"choices\":[{\"mess".into()),
        5 => Action::Hang(Duration::from_secs(2)),
        _ => Action::Reply("done".into()),
    });
    let mut settings = settings(&server);
    settings.retry.attempts = 9;
    settings.prices = Prices { prompt: 1e6, completion: 0.0 };
    let client = start(settings, &store_path(&directory));
    let started = Instant::now();
    assert_eq!(client.ask(ChatRequest::new("one", "hello")).unwrap().content, "done");
    assert!(
        started.elapsed() > Duration::from_millis(200 + 400),
        "Retry-After and the timeout were waited for"
    );
    let usage = client.usage();
    assert_eq!((usage.attempts, usage.replies, usage.lost), (7, 1, 3));
    // Three attempts of an unknown outcome at the estimate, and the reply at what the endpoint counted.
    let estimate = ChatRequest::new("one", "hello").estimated_prompt_tokens();
    assert_eq!(usage.cost, (3 * estimate + 10) as f64);
    drop(client);
    let spent = RecordStore::open(&store_path(&directory)).unwrap().spent();
    assert_eq!((spent.cost, spent.prompt_tokens), (usage.cost, usage.prompt_tokens));
}

#[test]
fn what_never_works_is_given_up_and_named() {
    let server = Server::start(|asked| match asked.text().as_str() {
        "bad" => Action::Status(400, "", format!(r#"{{"error":{{"message":"no {KEY}"}}}}"#)),
        _ => Action::Status(500, "", "down".into()),
    });
    let directory = tempfile::tempdir().unwrap();
    let client = start(settings(&server), &store_path(&directory));
    let message = client.ask(ChatRequest::new("one", "bad")).unwrap_err().to_string();
    assert_eq!(message, "one: the endpoint refuses the request (status 400): no [key]");
    let message = client.ask(ChatRequest::new("two", "good")).unwrap_err().to_string();
    assert_eq!(message, "two: no reply after 4 attempts; the last one: status 500: down");
    for number in 0..18 {
        assert!(!client.ask(ChatRequest::new("bad", &format!("bad{number}"))).unwrap_err().is_final());
    }
    let error = client.ask(ChatRequest::new("last", "good")).unwrap_err();
    assert!(matches!(error, LlmError::GivenUp { failures: 20, .. }), "{error}");
    let mut closed = settings(&server);
    closed.base_url = "http://127.0.0.1:9/v1".to_owned();
    closed.retry.attempts = 1;
    let error = start(closed, &directory.path().join("other")).ask(ChatRequest::new("x", "y")).unwrap_err();
    assert!(error.to_string().contains("x: no reply after 1 attempt; the last one: the connection failed"));
}

#[test]
fn no_part_of_the_key_is_recorded_or_shown_whatever_the_endpoint_says() {
    let parts = |text: &str| {
        let key: Vec<char> = KEY.chars().collect();
        key.windows(6).map(|part| part.iter().collect::<String>()).any(|part| text.contains(&part))
    };
    for status in [200, 400, 401, 500] {
        let cut = &KEY[..KEY.len() - 4];
        let server = Server::start(move |_| {
            let said = format!(
                r#"{{"choices":[{{"message":{{"content":"{KEY} {cut}","refusal":"{cut}"}},"finish_reason":"{cut}"}}],
                    "error":{{"message":"wrong key {cut}…"}}}}"#
            );
            if status == 200 { Action::Body(said) } else { Action::Status(status, "", said) }
        });
        let directory = tempfile::tempdir().unwrap();
        let client = start(settings(&server), &store_path(&directory));
        let outcome = client.ask(ChatRequest::new("one", "hello"));
        let shown = match &outcome {
            Ok(reply) => format!("{reply:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(shown.contains("[key]") && !parts(&shown), "{status}: {shown}");
        drop(client);
        let recorded = fs_err::read_to_string(store_path(&directory)).unwrap();
        assert!(!parts(&recorded), "{status}: {recorded}");
    }
}

#[test]
fn a_reply_that_trickles_without_end_is_given_up() {
    let server = Server::start(|_| Action::Trickle);
    let directory = tempfile::tempdir().unwrap();
    let mut impatient = settings(&server);
    impatient.retry.attempts = 1;
    let error = start(impatient, &store_path(&directory)).ask(ChatRequest::new("one", "hello")).unwrap_err();
    assert!(error.to_string().contains("no reply in time"), "{error}");
}

#[test]
fn a_key_that_expires_stops_everything_and_what_came_before_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let expired = std::sync::Arc::new(AtomicBool::new(false));
    let now = expired.clone();
    let server = Server::start(move |asked| {
        if now.load(Ordering::SeqCst) {
            return Action::Status(401, "", format!(r#"{{"error":"the key {KEY} has expired"}}"#));
        }
        Action::Reply(asked.text())
    });
    let client = start(settings(&server), &store_path(&directory));
    client.ask(ChatRequest::new("one", "1")).unwrap();
    expired.store(true, Ordering::SeqCst);
    let error = client.ask(ChatRequest::new("two", "2")).unwrap_err();
    assert_eq!(error.to_string(), "the endpoint refuses the key (status 401): the key [key] has expired");
    assert!(!format!("{error:?}{client:?}", client = client.stopped()).contains(KEY));
    let asked = server.count();
    assert_eq!(client.ask(ChatRequest::new("three", "3")).unwrap_err(), error);
    assert_eq!(server.count(), asked, "nothing more is sent");
    assert!(client.ask(ChatRequest::new("one", "1")).unwrap().replayed, "what is recorded is still there");
}

#[test]
fn the_budget_is_never_passed_and_counts_what_was_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Action::Reply("ok".into()));
    let run = |expected_new: usize| {
        let mut settings = settings(&server);
        settings.budget.tokens = Some(600);
        settings.in_flight = 16;
        let client = start(settings, &store_path(&directory));
        let before = server.count();
        let (sender, receiver) = std::sync::mpsc::channel();
        for number in 0..60 {
            let request =
                ChatRequest { max_tokens: 100, ..ChatRequest::new("x", &format!("question {number}")) };
            let sender = sender.clone();
            client.submit(request, Box::new(move |outcome| sender.send(outcome).unwrap()));
        }
        let outcomes: Vec<_> = receiver.iter().take(60).collect();
        let replies = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let refused = outcomes.iter().filter(
            |outcome| matches!(outcome, Err(LlmError::BudgetReached { limit, .. }) if limit == "600"),
        );
        assert_eq!(replies + refused.count(), 60);
        assert_eq!(server.count() - before, expected_new);
        let usage = client.usage();
        assert!(usage.prompt_tokens + usage.completion_tokens <= 600);
        replies
    };
    // A reply takes 15 tokens and could take 112: the last one that fits begins at 480.
    assert_eq!(run(33), 33);
    assert_eq!(run(0), 33);
}

#[test]
fn the_same_question_many_times_at_once_is_asked_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Action::Slow(Duration::from_millis(50), "ok".into()));
    let client = start(settings(&server), &store_path(&directory));
    let (sender, receiver) = std::sync::mpsc::channel();
    for _ in 0..20 {
        let sender = sender.clone();
        let deliver = Box::new(move |outcome: Result<ChatReply, LlmError>| sender.send(outcome).unwrap());
        client.submit(ChatRequest::new("x", "same"), deliver);
    }
    assert_eq!(receiver.iter().take(20).filter(|outcome| outcome.is_ok()).count(), 20);
    assert_eq!((server.answered().len(), client.usage().replies), (1, 1));
}

#[test]
fn a_cancelled_client_keeps_what_is_on_its_way() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Action::Slow(Duration::from_millis(150), "ok".into()));
    let mut settings = settings(&server);
    settings.in_flight = 4;
    let client = start(settings, &store_path(&directory));
    let outcomes = std::sync::Arc::new(Mutex::new(Vec::new()));
    for number in 0..12 {
        let outcomes = outcomes.clone();
        let deliver = Box::new(move |outcome| outcomes.lock().unwrap().push(outcome));
        client.submit(ChatRequest::new("x", &number.to_string()), deliver);
    }
    while server.count() < 4 {
        std::thread::sleep(Duration::from_millis(5));
    }
    client.cancel();
    drop(client);
    let outcomes = outcomes.lock().unwrap();
    assert_eq!(outcomes.len(), 12);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 4);
    assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(|e| *e == LlmError::Cancelled));
    assert_eq!(RecordStore::open(&store_path(&directory)).unwrap().len(), 4);
}

#[test]
fn many_requests_are_on_their_way_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(|asked| Action::Slow(Duration::from_millis(200), asked.text()));
    let mut settings = settings(&server);
    settings.in_flight = 64;
    settings.timeout = Duration::from_secs(20);
    let client = start(settings, &store_path(&directory));
    let (sender, receiver) = std::sync::mpsc::channel();
    let started = Instant::now();
    for number in 0..256 {
        let sender = sender.clone();
        let deliver = Box::new(move |outcome: Result<ChatReply, LlmError>| sender.send(outcome).unwrap());
        client.submit(ChatRequest::new("x", &number.to_string()), deliver);
    }
    assert!(receiver.iter().take(256).all(|outcome| outcome.is_ok()));
    // One after the other they would take 51 seconds; the machine may be busy with other tests.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refuse = |change: fn(&mut ClientConfig)| {
        let mut settings = ClientConfig::new("http://localhost:1/v1", "m");
        change(&mut settings);
        LlmClient::start(settings, ApiKey::default(), None).err().unwrap().to_string()
    };
    assert!(refuse(|settings| settings.base_url = "localhost".into()).contains("http://"));
    let message = refuse(|settings| settings.base_url = "http://me:pass@localhost".into());
    assert!(message.contains("password") && !message.contains("me:pass"), "{message}");
    assert!(refuse(|settings| settings.model = " ".into()).contains("`model`"));
    assert!(refuse(|settings| settings.in_flight = 0).contains("in flight"));
    assert!(refuse(|settings| settings.budget.cost = Some(f64::NAN)).contains("budget"));
    let broken = ApiKey::new("a\u{7}b");
    let refused = LlmClient::start(ClientConfig::new("http://localhost:1/v1", "m"), broken, None);
    assert!(refused.err().unwrap().to_string().contains("`key`"));
}
