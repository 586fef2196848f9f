//! How many replies a second the chat client brings, and how much memory it takes.
//!
//! ```sh
//! python3 tools/llm/slow_server.py 8718 200 &
//! cargo run --release --package relens --example time_llm -- http://127.0.0.1:8718/v1 64 100000
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use relens::llm::{ApiKey, ChatModel, ChatRequest, ClientConfig, LlmClient, RecordStore};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("expected the address of an endpoint")?;
    let in_flight: usize = arguments.next().ok_or("expected a number of requests in flight")?.parse()?;
    let total: usize = arguments.next().ok_or("expected a number of requests")?.parse()?;
    let directory = tempfile::tempdir()?;
    let mut settings = ClientConfig::new(&url, "slow");
    settings.in_flight = in_flight;
    settings.timeout = Duration::from_secs(30);
    let store = RecordStore::open(&directory.path().join("replies.jsonl"))?;
    let client = LlmClient::start(settings, ApiKey::default(), Some(store))?;
    let (sender, receiver) = channel();
    let started = Instant::now();
    let (mut asked, mut answered) = (0, 0);
    while answered < total {
        // As mining does: a window of queries, not all of them, is open at a time.
        while asked < total && asked - answered < 8 * in_flight {
            let question =
                format!("Rewrite the query number {asked} so that a retriever finds the right picture.");
            let sender = sender.clone();
            let request = ChatRequest::new("time", &question);
            client.submit(
                request,
                Box::new(move |outcome| {
                    let _ = sender.send(outcome.is_ok());
                }),
            );
            asked += 1;
        }
        if !receiver.recv()? {
            return Err(client.stopped().map_or_else(|| "a request failed".into(), |error| error.into()));
        }
        answered += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{answered} replies in {seconds:.1} s: {:.1} a second, {in_flight} in flight",
        answered as f64 / seconds
    );
    if let Ok(status) = fs_err::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        println!("peak memory: {}", peak.trim_start_matches("VmHWM:").trim());
    }
    Ok(())
}
