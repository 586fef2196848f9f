//! `relens kb build --llm`: a knowledge base from captions by a language model behind an endpoint.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Action, Asked, Server};
use crate::workplace::{Workplace, errors};

const THINGS: [&str; 12] =
    ["dog", "cat", "man", "girl", "bike", "ball", "car", "boat", "horse", "bird", "tree", "house"];

/// Sixty captions, each met twice: six questions about entities, two about descriptions.
fn captions() -> Workplace {
    let workplace = Workplace::new();
    let mut lines = String::new();
    for number in 0..60 {
        let caption = format!("the {} number {number} on good luck day", THINGS[number % THINGS.len()]);
        let line =
            json!({"image": format!("{number}.jpg"), "captions": [caption, caption], "split": "train"});
        lines += &format!("{line}\n");
    }
    fs_err::write(workplace.path("captions.jsonl"), lines).unwrap();
    workplace
}

/// What a good model says.
fn answer(asked: &Asked) -> String {
    let prompt = asked.body["messages"][0]["content"].as_str().unwrap();
    let question = prompt.rsplit("Question: ").next().unwrap().split("\nAnswer:").next().unwrap();
    if !question.starts_with('[') {
        let named: Vec<&str> =
            THINGS.into_iter().chain(["luck"]).filter(|thing| question.contains(thing)).collect();
        return json!({"entities": named}).to_string();
    }
    let names: Vec<String> = serde_json::from_str(question).unwrap();
    let described = |name: &String| {
        let visual = name != "luck";
        let looks = if visual { vec![format!("look of a {name}")] } else { Vec::new() };
        json!({"entity": name, "visual": visual, "descriptions": looks, "sense": null})
    };
    json!({"answers": names.iter().map(described).collect::<Vec<_>>()}).to_string()
}

fn build<'a>(url: &'a str, output: &'a str) -> Vec<&'a str> {
    vec![
        "kb",
        "build",
        "--captions",
        "captions.jsonl",
        "--output",
        output,
        "--llm",
        "tiny",
        "--endpoint",
        url,
        "--in-flight",
        "4",
        "--prompt-price",
        "2",
        "--reply-price",
        "10",
    ]
}

fn replies(workplace: &Workplace, output: &str) -> Vec<Value> {
    let text = fs_err::read_to_string(workplace.path(format!("{output}/replies.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_model_is_asked_everything_once_and_a_replay_needs_none() {
    let workplace = captions();
    let server = Server::start(|asked| Action::Reply(answer(asked)));
    let url = server.url();
    let assert = workplace.relens(&build(&url, "built")).assert().success();
    let told = errors(&assert);
    assert!(told.contains("8 questions asked, 0 replies recorded before; "), "{told}");
    assert!(told.contains("tokens of prompts") && told.contains("costing 0."), "{told}");
    assert!(told.contains("12 visual entities, 12 descriptions"), "{told}");
    assert_eq!(server.answered().len(), 8);
    let built = fs_err::read_to_string(workplace.path("built/knowledge.jsonl")).unwrap();
    assert!(built.contains(r#"{"entity":"luck","visual":false"#), "{built}");

    // Nothing is asked again, with or without a model.
    let again = workplace.relens(&build(&url, "built")).assert().success();
    assert!(errors(&again).contains("0 questions asked, 8 replies recorded before"), "{}", errors(&again));
    let replay = [build("http://127.0.0.1:9/v1", "built").as_slice(), &["--replay"]].concat();
    workplace.relens(&replay).assert().success();
    assert_eq!(server.answered().len(), 8);
    assert_eq!(fs_err::read_to_string(workplace.path("built/knowledge.jsonl")).unwrap(), built);
}

#[test]
fn a_build_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let workplace = captions();
    let server = Server::start(|asked| Action::Slow(Duration::from_millis(40), answer(asked)));
    let url = server.url();
    workplace.relens(&build(&url, "whole")).assert().success();
    let mut kills = 0;
    for moment in [60, 90, 30, 120] {
        let mut process = workplace.process(&build(&url, "killed"));
        let mut child =
            process.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(moment));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    workplace.relens(&build(&url, "killed")).assert().success();
    let read = |output: &str| fs_err::read(workplace.path(format!("{output}/knowledge.jsonl"))).unwrap();
    assert_eq!(read("killed"), read("whole"), "after {kills} kills");
    let prompts: Vec<String> =
        replies(&workplace, "killed").iter().map(|reply| reply["prompt"].to_string()).collect();
    assert_eq!(prompts.len(), 8);
    assert_eq!(prompts.iter().collect::<HashSet<_>>().len(), 8, "no reply is recorded twice");
}

#[test]
fn bad_replies_are_asked_for_again_and_never_recorded() {
    let workplace = captions();
    let server = Server::start(|asked| {
        if asked.text().contains("cannot be used") {
            return Action::Reply(answer(asked));
        }
        match asked.number % 5 {
            0 => Action::Reply(format!("Sure!\n```json\n{}\n```", answer(asked))),
            1 => Action::Reply("{\"entities\": \"no list\"}".to_owned()),
            2 => Action::Reply(String::new()),
            3 => Action::Status(503, "retry-after: 0\r\n", "busy".to_owned()),
            _ => Action::Reply("{\"entities\": [\"do".to_owned()),
        }
    });
    let url = server.url();
    workplace.relens(&build(&url, "built")).assert().success();
    assert_eq!(replies(&workplace, "built").len(), 8);

    let hopeless = Server::start(|_| Action::Reply("I'm sorry, I can't.".to_owned()));
    let url = hopeless.url();
    let assert = workplace.relens(&build(&url, "hopeless")).assert().code(1);
    let message = errors(&assert);
    assert!(message.contains("asking stopped; hopeless/replies.jsonl has all replies so far"), "{message}");
    assert!(message.contains("no reply that can be used; of the last one: "), "{message}");
    assert_eq!(replies(&workplace, "hopeless").len(), 0);
    assert!(!workplace.path("hopeless/knowledge.jsonl").exists());
}

#[test]
fn what_may_be_spent_is_kept_over_runs() {
    let workplace = captions();
    let server = Server::start(|asked| Action::Reply(answer(asked)));
    let url = server.url();
    let limited = |tokens: &'static str| {
        let mut command = build(&url, "built");
        command.extend(["--token-budget", tokens]);
        command
    };
    let assert = workplace.relens(&limited("1")).assert().code(1);
    assert!(errors(&assert).contains("budget"), "{}", errors(&assert));
    assert_eq!(server.answered().len(), 0);
    workplace
        .relens(&["kb", "build", "--captions", "captions.jsonl", "--output", "x", "--llm", "tiny"])
        .assert()
        .code(2);
    workplace.relens(&build(&url, "built")).assert().success();
    // All is recorded: nothing has to be asked, whatever the budget.
    workplace.relens(&limited("1")).assert().success();
}
