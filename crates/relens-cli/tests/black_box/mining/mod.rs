//! `relens mine`.

mod endpoint;

use std::sync::Mutex;

use serde_json::{Value, json};

use crate::server::{Action, Server};
use crate::workplace::{Workplace, errors};

const DATA: [&str; 4] = ["--annotations", "captions.json", "--images", "images"];

/// Twelve pictures with two captions each, most of them ranked badly by a random model.
fn dataset() -> Workplace {
    let workplace = Workplace::new();
    let things =
        ["dog", "cat", "man", "girl", "bike", "ball", "car", "boat", "horse", "bird", "tree", "house"];
    let images: Vec<Value> = workplace
        .pictures("images", things.len())
        .iter()
        .zip(things)
        .enumerate()
        .map(|(number, (path, thing))| {
            let captions = [format!("a {thing} on the grass ."), format!("one red {thing} near water .")];
            let sentences = captions.map(|caption| json!({"raw": caption}));
            let name = path.file_name().unwrap().to_string_lossy();
            json!({"filename": name, "imgid": number, "split": "train", "sentences": sentences})
        })
        .collect();
    let annotations = json!({"dataset": "things", "images": images});
    fs_err::write(workplace.path("captions.json"), annotations.to_string()).unwrap();
    workplace
}

fn lines(workplace: &Workplace, path: &str) -> Vec<Value> {
    let text = fs_err::read_to_string(workplace.path(path)).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line in {path}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A reply that depends on the request alone, as a model with a seed gives it.
fn review(asked: &crate::server::Asked) -> String {
    let query = asked.body["messages"].as_array().unwrap()[1]["content"].as_str().unwrap().to_owned();
    let query = query.split('"').nth(1).unwrap_or("nothing").trim_end_matches([' ', '.']).to_owned();
    let seed = asked.body["seed"].as_u64().unwrap();
    let rewrites = [format!("{query} in the sun {seed}"), format!("big {query} outside")];
    json!({"analysis": "x", "failed_concepts": ["dog"], "rewrites": rewrites}).to_string()
}

fn challenge<'a>(url: &'a str, output: &'a str) -> Vec<&'a str> {
    let options = [
        "mine",
        "challenge",
        "--endpoint",
        url,
        "--llm",
        "tiny",
        "--text-only",
        "--output",
        output,
        "--min-similarity",
        "-1",
        "--turns",
        "2",
        "--enough",
        "9",
        "--in-flight",
        "4",
        "--json",
    ];
    [options.as_slice(), &DATA].concat()
}

#[test]
fn the_composer_mines_without_a_model_and_again_changes_nothing() {
    let workplace = dataset();
    let command =
        [["mine", "compose", "--output", "composed", "--min-similarity", "-1", "--json"].as_slice(), &DATA]
            .concat();
    let summary = workplace.json(&command);
    let composer = &summary["strategies"]["composer"];
    let mined = lines(&workplace, "composed/mined.jsonl");
    assert_eq!(composer["queries"], mined.len());
    assert!(mined.len() > 10, "{summary}");
    for query in &mined {
        let ranks: Vec<u64> =
            query["rewrites"].as_array().unwrap().iter().map(|one| one["rank"].as_u64().unwrap()).collect();
        assert!(ranks.is_sorted() && query["low_rank"].as_u64().unwrap() > 1, "{query}");
    }
    for example in lines(&workplace, "composed/pro.jsonl") {
        let rewards: Vec<f64> =
            example["rewards"].as_array().unwrap().iter().map(|reward| reward.as_f64().unwrap()).collect();
        assert!(rewards.is_sorted_by(|left, right| left >= right), "{example}");
        assert_eq!(rewards.len(), example["candidates"].as_array().unwrap().len());
    }
    let before = fs_err::read(workplace.path("composed/mined.jsonl")).unwrap();
    assert_eq!(workplace.json(&command), summary);
    assert_eq!(fs_err::read(workplace.path("composed/mined.jsonl")).unwrap(), before);
    let changed = [command.as_slice(), &["--keep", "1"]].concat();
    let assert = workplace.relens(&changed).assert().code(1);
    assert!(errors(&assert).contains("acceptance.keep: 5 → 1"), "{}", errors(&assert));
    assert!(fs_err::read_to_string(workplace.path("composed/report.html")).unwrap().contains("<svg"));
}

#[test]
fn recorded_answers_are_ranked_and_blurred_ones_become_queries() {
    let workplace = dataset();
    let answer = |number: u64, query: &str| {
        json!({
            "imgid": number, "sentid": 0, "query": query,
            "rewrites": [{"kind": "plain", "text": "a thing outside"}], "blurred": "something",
        })
    };
    let records =
        format!("{}\n{}\n", answer(0, "a dog on the grass"), answer(3, "one red girl near water ."));
    fs_err::write(workplace.path("records.jsonl"), records).unwrap();
    let options =
        ["mine", "import", "records.jsonl", "--output", "imported", "--min-similarity", "-1", "--json"];
    workplace.json(&[options.as_slice(), &DATA].concat());
    let mined = lines(&workplace, "imported/mined.jsonl");
    assert_eq!(mined.len(), 2);
    assert_eq!(mined[0]["id"], "picture-000.png#0");
    assert_eq!(mined[1]["image"], "picture-003.png");
    fs_err::write(workplace.path("records.jsonl"), answer(0, "a zebra").to_string()).unwrap();
    let options = ["mine", "import", "records.jsonl", "--output", "other"];
    let assert = workplace.relens(&[options.as_slice(), &DATA].concat()).assert().code(1);
    assert!(errors(&assert).contains("line 1: expected a caption of the pool"), "{}", errors(&assert));
}

#[test]
fn descriptions_are_woven_in_from_the_knowledge_base_that_is_named() {
    let workplace = dataset();
    let asked_for = std::sync::Arc::new(Mutex::new(String::new()));
    let heard = asked_for.clone();
    let server = Server::start(move |asked| {
        heard.lock().unwrap().push_str(&asked.text());
        Action::Reply(review(asked))
    });
    fs_err::write(workplace.path("own.json"), r#"{"dog": ["ears of plaid"], "cat": ["tail of glass"]}"#)
        .unwrap();
    let url = server.url();
    let options =
        ["mine", "eqr", "--endpoint", &url, "--llm", "tiny", "--output", "woven", "--min-similarity", "-1"];
    let summary = workplace
        .json(&[&options[..], &["--knowledge", "own.json", "--limit", "4", "--json"], &DATA].concat());
    assert_eq!(summary["strategies"]["evd_enhanced"]["queries"], 4, "{summary}");
    let prompts = asked_for.lock().unwrap().clone();
    assert!(prompts.contains("ears of plaid") && prompts.contains("tail of glass"), "{prompts}");
    let missing = [&options[..], &["--knowledge", "none.json"], &DATA].concat();
    let assert = workplace.relens(&missing).assert().code(1);
    assert!(errors(&assert).contains("none.json"), "{}", errors(&assert));
}

#[test]
fn a_recipe_goes_on_with_what_was_answered() {
    let workplace = dataset();
    let asked_for = std::sync::Arc::new(Mutex::new(Vec::new()));
    let heard = asked_for.clone();
    let server = Server::start(move |asked| {
        let mut heard = heard.lock().unwrap();
        heard.push(asked.text());
        match heard.len() {
            5 => Action::Status(401, "", String::new()),
            _ => Action::Reply(review(asked)),
        }
    });
    let recipe = |resume: &str| {
        format!(
            "name = \"tiny\"\ndirectory = \"made\"\n[[stage]]\nname = \"mine\"\n{resume}\
             command = [\"mine\", \"direct\", \"--endpoint\", \"{}\", \"--llm\", \"tiny\", \"--text-only\",\n\
             \"--in-flight\", \"1\", \"--limit\", \"8\", \"--min-similarity\", \"-1\", \"--annotations\", \"captions.json\",\n\
             \"--images\", \"images\", \"--output\", \"{{directory}}/mined\"]\n\
             inputs = [\"captions.json\"]\noutputs = [\"mined\"]\n",
            server.url()
        )
    };
    let run = |text: String| {
        fs_err::write(workplace.path("tiny.toml"), text).unwrap();
        asked_for.lock().unwrap().clear();
        workplace.relens(&["run", "tiny.toml"]).assert().code(1);
        workplace.relens(&["run", "tiny.toml"]).assert().success();
        fs_err::remove_dir_all(workplace.path("made")).unwrap();
        let mut asked = asked_for.lock().unwrap().clone();
        let all = asked.len();
        asked.sort();
        asked.dedup();
        (all, asked.len())
    };
    assert_eq!(run(recipe("resume = []\n")), (9, 8), "the refused request alone is asked again");
    assert_eq!(run(recipe("")), (13, 8), "without it, the stage starts anew");
}
