//! Runs that an endpoint, a budget or a kill stops.

use std::collections::{HashMap, HashSet};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{DATA, challenge, dataset, lines, review};
use crate::server::{Action, Server};
use crate::workplace::{Workplace, errors};

const KEY: &str = "sk-never-to-be-seen-4711";

/// A run of `arguments` that is killed once `replies` more replies have left the server and `then` has passed.
fn killed(workplace: &Workplace, server: &Server, arguments: &[&str], replies: usize, then: Duration) {
    let until = server.answered().len() + replies;
    let mut process = workplace.process(arguments);
    let mut child = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while server.answered().len() < until {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(then);
    assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_ten_times_ends_as_one_that_was_not() {
    const KILLS: usize = 10;
    let workplace = dataset();
    let server = Server::start(|asked| Action::Slow(Duration::from_millis(25), review(asked)));
    let url = server.url();
    workplace.json(&challenge(&url, "whole"));
    let whole = fs_err::read_to_string(workplace.path("whole/mined.jsonl")).unwrap();
    assert!(whole.lines().count() > 10);
    let asked_before = server.answered().len();
    let mut moments = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..KILLS {
        let replies = moments.random_range(0..=2);
        let then = Duration::from_micros(moments.random_range(0..12_000));
        killed(&workplace, &server, &challenge(&url, "killed"), replies, then);
    }
    workplace.json(&challenge(&url, "killed"));
    assert_eq!(fs_err::read_to_string(workplace.path("killed/mined.jsonl")).unwrap(), whole);
    let keys: Vec<String> =
        lines(&workplace, "killed/replies.jsonl").iter().map(|reply| reply["key"].to_string()).collect();
    assert_eq!(keys.len(), asked_before, "every reply is recorded");
    assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len(), "no reply is recorded twice");
    // What was on its way when the process died cannot have been received; everything else is asked once.
    let asked = server.answered().len() - asked_before;
    assert!(asked <= keys.len() + KILLS * 4, "{asked} asked, {} recorded", keys.len());
}

#[test]
fn faults_of_the_connection_change_nothing_but_the_time() {
    let workplace = dataset();
    let whole = Server::start(|asked| Action::Reply(review(asked)));
    let run = |server: &Server, output: &str| {
        let url = server.url();
        workplace.json(&[challenge(&url, output).as_slice(), &["--limit", "7", "--timeout", "2"]].concat())
    };
    run(&whole, "whole");
    // The first two attempts at every request fail, each in another way.
    let seen = Mutex::new(HashMap::new());
    let server = Server::start(move |asked| {
        let number = {
            let mut seen = seen.lock().unwrap();
            let request = seen.len();
            let (request, attempt) = seen.entry(asked.body["messages"].to_string()).or_insert((request, 0));
            *attempt += 1;
            if *attempt > 2 {
                return Action::Reply(review(asked));
            }
            *request + *attempt
        };
        match number % 6 {
            0 => Action::Status(429, "retry-after: 0\r\n", "{\"error\":\"slow down\"}".to_owned()),
            1 => Action::Status(500, "", "oops".to_owned()),
            2 => Action::Status(503, "", String::new()),
            3 => Action::HalfBody,
            4 => Action::Body("{\"choices\":[{\"mess".to_owned()),
            _ => Action::Hang(Duration::from_secs(4)),
        }
    });
    run(&server, "faulty");
    let mined = |run: &str| fs_err::read_to_string(workplace.path(format!("{run}/mined.jsonl"))).unwrap();
    assert_eq!(mined("faulty"), mined("whole"));
    assert_eq!(server.count(), 3 * whole.count());
    assert_eq!(server.answered().len(), whole.answered().len());
}

#[test]
fn a_reached_budget_stops_a_run_that_goes_on_with_a_larger_one() {
    let workplace = dataset();
    let server = Server::start(|asked| Action::Reply(review(asked)));
    let url = server.url();
    workplace.json(&challenge(&url, "whole"));
    let whole = server.count();
    let with = |budget| {
        let options = ["--prompt-price", "1", "--reply-price", "1", "--budget", budget];
        [challenge(&url, "run").as_slice(), &options].concat()
    };
    let stopped = workplace.relens(&with("0.0012")).assert().code(1);
    assert!(errors(&stopped).contains("budget"), "{}", errors(&stopped));
    let recorded = lines(&workplace, "run/replies.jsonl").len();
    assert!(recorded > 0 && recorded < whole, "{recorded} of {whole}");
    assert_eq!(server.count(), whole + recorded, "nothing is asked that the budget has no room for");
    workplace.json(&with("10"));
    let mined = |run: &str| fs_err::read_to_string(workplace.path(format!("{run}/mined.jsonl"))).unwrap();
    assert_eq!(mined("run"), mined("whole"));
    assert_eq!(server.count(), 2 * whole, "nothing is asked twice");
}

/// What `mine` is promised to need at most, its model apart: the test's is small.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes"]
fn a_hundred_thousand_queries_fit_into_300_megabytes() {
    const QUERIES: usize = 100_000;
    const MOST_KILOBYTES: u64 = 300_000;
    let workplace = Workplace::new();
    let pictures = workplace.pictures("images", 250);
    // A few more than are wanted: some find their picture by chance.
    let captions = QUERIES / pictures.len() + 20;
    let images: Vec<Value> = (0..)
        .zip(&pictures)
        .map(|(number, path)| {
            let caption = |sentence: usize| json!({"raw": format!("a dog {sentence} beside a cat {number}")});
            let name = path.file_name().unwrap().to_string_lossy();
            let sentences: Vec<Value> = (0..captions).map(caption).collect();
            json!({"filename": name, "imgid": number, "split": "train", "sentences": sentences})
        })
        .collect();
    let annotations = json!({"dataset": "many", "images": images});
    fs_err::write(workplace.path("captions.json"), annotations.to_string()).unwrap();
    let server = Server::start(|asked| Action::Reply(review(asked)));
    let (url, limit) = (server.url(), QUERIES.to_string());
    let options = ["mine", "direct", "--endpoint", &url, "--llm", "tiny", "--text-only", "--in-flight", "64"];
    let more = ["--output", "many", "--min-similarity", "-1", "--limit", &limit, "--quiet"];
    let mut process = workplace.process(&[options.as_slice(), &more, &DATA].concat());
    let mut child = process.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        let text = fs_err::read_to_string(&status).unwrap_or_default();
        let high_water = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = high_water.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = kilobytes.unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(ended.success());
    assert_eq!(lines(&workplace, "many/mined.jsonl").len(), QUERIES);
    println!("at most {peak} kB");
    assert!(peak > 0 && peak < MOST_KILOBYTES, "{peak} kB");
}

#[test]
fn a_key_that_expires_is_named_by_its_status_and_shown_nowhere() {
    let workplace = dataset();
    let server = Server::start(|asked| {
        assert_eq!(asked.authorization, format!("Bearer {KEY}"));
        if asked.number == 5 {
            return Action::Status(
                401,
                "",
                json!({"error": {"message": format!("{KEY} expired")}}).to_string(),
            );
        }
        Action::Reply(review(asked))
    });
    let url = server.url();
    let stopped =
        workplace.relens(&challenge(&url, "run")).env("OPENAI_API_KEY", KEY).arg("-vv").assert().code(1);
    let output = errors(&stopped);
    assert!(output.contains("refuses the key (status 401): [key] expired"), "{output}");
    assert!(!output.contains(KEY), "{output}");
    workplace.relens(&challenge(&url, "run")).env("OPENAI_API_KEY", KEY).assert().success();
    for entry in fs_err::read_dir(workplace.path("run")).unwrap() {
        let text = String::from_utf8_lossy(&fs_err::read(entry.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains(KEY));
    }
    let keys = lines(&workplace, "run/replies.jsonl");
    assert_eq!(server.answered().len(), keys.len(), "nothing was asked twice");
}

#[test]
fn bad_replies_are_repaired_or_counted_and_a_replay_needs_no_server() {
    let workplace = dataset();
    let server = Server::start(|asked| {
        let text = asked.text();
        if text.contains("cannot be used") {
            return Action::Reply(if text.contains("empty") { String::new() } else { review(asked) });
        }
        match asked.number % 6 {
            0 => Action::Reply(format!("Sure!\n```json\n{}\n```", review(asked))),
            1 => Action::Reply("{\"rewrites\": \"no list\"}".to_owned()),
            2 => Action::Reply(String::new()),
            3 => Action::Reply("I'm sorry, I can't.".to_owned()),
            4 => Action::Status(503, "retry-after: 0\r\n", "busy".to_owned()),
            _ => Action::Reply(review(asked)),
        }
    });
    let url = server.url();
    workplace.json(&challenge(&url, "run"));
    let mined = lines(&workplace, "run/mined.jsonl");
    let count = |how: &str| mined.iter().filter_map(|query| query["replies"][how].as_u64()).sum::<u64>();
    for how in ["valid", "mended", "repaired", "unusable"] {
        assert!(count(how) > 0, "{how}");
    }
    let unusable: u64 = mined.iter().filter_map(|query| query["dropped"]["unusable_reply"].as_u64()).sum();
    assert_eq!(unusable, count("unusable"));
    fs_err::create_dir_all(workplace.path("replayed")).unwrap();
    fs_err::copy(workplace.path("run/replies.jsonl"), workplace.path("replayed/replies.jsonl")).unwrap();
    let asked = server.count();
    let replay = [challenge("http://127.0.0.1:9/v1", "replayed").as_slice(), &["--replay"]].concat();
    workplace.json(&replay);
    assert_eq!(lines(&workplace, "replayed/mined.jsonl"), mined);
    assert_eq!(server.count(), asked);
    fs_err::create_dir_all(workplace.path("prompts")).unwrap();
    fs_err::write(workplace.path("prompts/challenge_response.md"), "Rewrite {{ query }}").unwrap();
    fs_err::create_dir_all(workplace.path("changed")).unwrap();
    fs_err::copy(workplace.path("run/replies.jsonl"), workplace.path("changed/replies.jsonl")).unwrap();
    let changed =
        [challenge("http://127.0.0.1:9/v1", "changed").as_slice(), &["--replay", "--prompts", "prompts"]]
            .concat();
    let assert = workplace.relens(&changed).assert().code(1);
    assert!(
        errors(&assert).contains("the prompt has changed from challenge_response@"),
        "{}",
        errors(&assert)
    );
}

#[test]
fn a_dry_run_shows_prompts_and_cost_and_asks_nothing() {
    let workplace = dataset();
    let options = [
        "mine",
        "blur",
        "--llm",
        "tiny",
        "--output",
        "run",
        "--dry-run",
        "--limit",
        "1000",
        "--k",
        "12",
        "--prompt-price",
        "1",
        "--reply-price",
        "2",
    ];
    let shown = workplace.output(&[options.as_slice(), &DATA].concat());
    assert!(shown.contains("── blur picture-000.png#0 turn 1 (blur@"), "{shown}");
    assert!(shown.contains("The query \"a dog on the grass .\" finds its picture."), "{shown}");
    assert!(shown.contains("At most 1000 requests"), "{shown}");
    assert!(!workplace.path("run").exists());
    let without = ["mine", "direct", "--llm", "tiny", "--output", "run"];
    workplace.relens(&[without.as_slice(), &DATA].concat()).assert().code(2);
}
