//! `relens search`: rankings for programs and for people.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::workplace::Workplace;

fn indexed(count: usize) -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("pictures", count);
    workplace.output(&["index", "pictures"]);
    workplace
}

fn hits(value: &Value) -> Vec<(String, f64)> {
    let hit = |hit: &Value| {
        assert_eq!(hit.as_object().unwrap().len(), 3, "{hit}");
        assert!(hit["similarity"].is_number(), "{hit}");
        (hit["path"].as_str().unwrap().to_owned(), hit["score"].as_f64().unwrap())
    };
    value.as_array().unwrap().iter().map(hit).collect()
}

#[test]
fn json_is_an_array_of_path_and_score_best_first() {
    let workplace = indexed(12);
    let found = hits(&workplace.json(&["search", "a red cat", "--json", "-k", "5"]));
    assert_eq!(found.len(), 5);
    assert!(found.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{found:?}");
    for (path, score) in &found {
        assert!(std::path::Path::new(path).is_file(), "{path}");
        assert!((-1.0..=1.0001).contains(score), "{score}");
    }
}

#[test]
fn k_is_ten_unless_said_otherwise_and_may_exceed_the_library() {
    let workplace = indexed(12);
    let count = |arguments: &[&str]| hits(&workplace.json(arguments)).len();
    assert_eq!(count(&["search", "dog", "--json"]), 10);
    assert_eq!(count(&["search", "dog", "--json", "-k", "1"]), 1);
    assert_eq!(count(&["search", "dog", "--json", "-k", "4000000000"]), 12);
}

#[test]
fn a_pipe_gets_a_path_a_tab_and_a_score_a_line_in_the_same_order() {
    let workplace = indexed(6);
    let json = hits(&workplace.json(&["search", "two dogs", "--json"]));
    let lines: Vec<(String, f64)> = workplace
        .output(&["search", "two dogs"])
        .lines()
        .map(|line| {
            let (path, score) = line.split_once('\t').unwrap();
            (path.to_owned(), score.parse().unwrap())
        })
        .collect();
    assert_eq!(lines.len(), json.len());
    for ((path, score), (expected_path, expected_score)) in lines.iter().zip(&json) {
        assert_eq!(path, expected_path);
        assert!((score - expected_score).abs() < 1e-4, "{score} {expected_score}");
    }
}

#[test]
fn a_picture_as_query_finds_itself() {
    let workplace = indexed(8);
    for number in [0, 3, 7] {
        let name = format!("picture-{number:03}.png");
        let query = workplace.path("pictures").join(&name);
        let found = hits(&workplace.json(&["search", "--image", query.to_str().unwrap(), "--json"]));
        assert!(found[0].0.ends_with(&name) && found[0].1 > 0.9999, "{found:?}");
        assert!(found[1].1 < found[0].1, "{found:?}");
    }
}

#[test]
fn scores_are_the_dot_products_of_the_vectors_that_embed_prints() {
    let workplace = indexed(3);
    let embed = ["embed", "--json", "--image", "pictures/picture-001.png", "--text", "green square"];
    let vectors: Vec<Vec<f64>> = workplace
        .output(&embed)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| line["embedding"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).collect())
        .collect();
    let expected: f64 = vectors[0].iter().zip(&vectors[1]).map(|(left, right)| left * right).sum();
    let found = hits(&workplace.json(&["search", "green square", "--json"]));
    let score = found.iter().find(|(path, _)| path.ends_with("picture-001.png")).unwrap().1;
    assert!((score - expected).abs() < 1e-5, "{score} {expected}");
}

#[test]
fn identity_is_the_default_enhancer() {
    let workplace = indexed(5);
    let plain = workplace.output(&["search", "two dogs", "--json"]);
    let named = ["search", "two dogs", "--json", "--enhancer", "identity", "--combine", "mean_score"];
    assert_eq!(workplace.output(&named), plain);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let workplace = indexed(12);
    for arguments in [vec!["search", "dog"], vec!["search", "dog", "--json"], vec!["embed", "--text", "dog"]]
    {
        let mut child =
            workplace.process(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The pipe is closed before the first result can be there.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    }
}

#[test]
fn the_first_line_can_be_taken_alone() {
    let workplace = indexed(12);
    let mut child = workplace.process(&["search", "dog"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("picture-"), "{first}");
    assert!(child.wait().unwrap().success());
}

/// An enhancer's file with what `sections` say, the reference pairs of six pictures beside it.
fn enhancer(workplace: &Workplace, sections: &str) {
    let captions: String = (0..6)
        .map(|number| {
            format!("{{\"image\": \"picture-{number:03}.png\", \"caption\": \"a dog on square {number}\"}}\n")
        })
        .collect();
    fs_err::write(workplace.path("captions.jsonl"), captions).unwrap();
    let references =
        ["references", "--annotations", "captions.jsonl", "--images", "pictures", "--split", "all"];
    workplace.output(&[references.as_slice(), &["--captions", "1", "--out", "pairs.safetensors"]].concat());
    fs_err::write(workplace.path("enhancer.toml"), sections).unwrap();
}

const FIT: &str = "[fit]\npairs = \"pairs.safetensors\"\nbias = 5.0\nsimilarity = 1.0\nfamiliarity = 0.0\n\
                   unseen = -12.0\nanything_line = 0.5\nhit_line = 0.01\n\
                   first_hit = { bias = 0.0, lead = 1.0 }\nother_hits = { bias = 0.0, lead = 1.0 }\n[spelling]\n";

#[test]
fn an_estimate_says_that_nothing_fits_and_leaves_out_what_does_not() {
    let workplace = indexed(6);
    enhancer(&workplace, FIT);
    let fits = |query: &str| {
        let found = workplace.json(&["search", query, "--json", "--enhancer", "enhancer.toml"]);
        found[0]["fits"].as_f64().unwrap()
    };
    assert!(fits("a dog") > 0.4 && fits("asdfgh qwerty") < 0.1);
    let search = ["search", "asdfgh qwerty", "--json", "--enhancer", "enhancer.toml"];
    let assert = workplace.relens(&search).assert().success();
    assert!(crate::workplace::errors(&assert).contains("probably nothing in the library fits"));
    let left = workplace.json(&[search.as_slice(), &["--min-fit", "0.3"]].concat());
    assert_eq!(left, serde_json::json!([]));
    let refused = ["search", "a dog", "--enhancer", "identity", "--min-fit", "0.3"];
    let assert = workplace.relens(&refused).assert().code(1);
    assert!(crate::workplace::errors(&assert).contains("found `identity` without"), "{assert}");
    workplace.relens(&["search", "a dog", "--min-fit", "2"]).assert().code(2);
}

#[test]
fn what_is_not_wanted_is_taken_away_and_told() {
    let workplace = indexed(6);
    enhancer(&workplace, "[exclusion]\nweight = 0.5\n");
    let search = |query: &[&str]| {
        let options = ["--json", "--enhancer", "enhancer.toml"];
        let assert = workplace.relens(&[&["search"], query, &options].concat()).assert().success();
        let found: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        (hits(&found), crate::workplace::errors(&assert))
    };
    let (found, told) = search(&["a", "dog", "without", "a", "leash"]);
    assert!(told.contains("searched for: a dog, without: a leash"), "{told}");
    let sum = ["search", "a dog - a leash*0.5", "--arithmetic", "--json"];
    assert_eq!(found, hits(&workplace.json(&sum)), "the part's vector is subtracted");
    let (plain, told) = search(&["a dog"]);
    assert!(plain != found && !told.contains("searched for"), "{told}");
}

#[test]
fn a_query_in_another_language_is_read_word_by_word_or_said_to_be_one() {
    let workplace = indexed(3);
    fs_err::write(workplace.path("enhancer.toml"), "[spelling]\n").unwrap();
    let told = |query: &str| {
        let assert = workplace.relens(&["search", query, "--enhancer", "enhancer.toml"]).assert().success();
        crate::workplace::errors(&assert)
    };
    let german = told("der Hund und der Ball");
    assert!(
        german
            .contains("this looks like German and was read word by word; searched for: the dog and the ball"),
        "{german}"
    );
    assert!(!german.contains("multilingual"), "{german}");
    let greek = told("σκύλος στην παραλία");
    assert!(greek.contains("this looks like Greek; relens-mini reads English"), "{greek}");
    assert!(!greek.contains("searched for"), "{greek}");
    assert!(!told("a dog").contains("looks like"));
}

#[test]
fn a_query_needs_no_quotes() {
    let workplace = indexed(6);
    let quoted = workplace.output(&["search", "a red cat", "--json"]);
    assert_eq!(workplace.output(&["search", "a", "red", "cat", "--json"]), quoted);
    assert_eq!(workplace.output(&["search", "--json", "a", "red", "cat"]), quoted);
}

#[test]
fn words_with_a_hyphen_behind_the_first_are_words_and_options_are_options() {
    let workplace = indexed(6);
    workplace.pictures("elsewhere", 3);
    workplace.output(&["index", "elsewhere"]);
    let typed = ["search", "a", "dog", "-in:elsewhere", "-k", "20", "on", "the", "beach", "--json"];
    let found = hits(&workplace.json(&typed));
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(found.iter().all(|(path, _)| !path.contains("elsewhere")), "{found:?}");
    assert_eq!(
        found,
        hits(&workplace.json(&["search", "a dog on the beach -in:elsewhere", "-k20", "--json"]))
    );
    enhancer(&workplace, "[exclusion]\nweight = 0.5\n");
    let typed = ["search", "a", "dog", "-leash", "--json", "-k", "2", "--enhancer", "enhancer.toml"];
    let assert = workplace.relens(&typed).assert().success();
    let told = crate::workplace::errors(&assert);
    assert!(told.contains("searched for: a dog, without: leash"), "{told}");
    for wrong in [&["search", "-leash", "dog"][..], &["search", "dog", "--leash"], &["search", "dog", "-x"]] {
        workplace.relens(wrong).assert().code(2);
    }
}

#[test]
fn a_best_score_below_nought_is_explained() {
    let workplace = indexed(6);
    enhancer(&workplace, "[hubness]\npairs = \"pairs.safetensors\"\ntypical = -3.0\n");
    let search = ["search", "a dog", "--json", "--enhancer", "enhancer.toml"];
    let assert = workplace.relens(&search).assert().success();
    let found: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let number = |key: &str| found[0][key].as_f64().unwrap();
    assert!(number("score") < -1.0 && number("similarity") >= -1.0, "{found}");
    let told = crate::workplace::errors(&assert);
    assert!(told.contains("even the best score is below 0: it is the similarity, "), "{told}");
    let assert =
        workplace.relens(&["search", "a dog", "--json", "--enhancer", "identity"]).assert().success();
    let found: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let told = crate::workplace::errors(&assert);
    assert_eq!(found[0]["score"].as_f64().unwrap() < 0.0, told.contains("below 0"), "{told}");
}

#[test]
fn an_estimate_does_not_depend_on_how_many_hits_are_shown() {
    let workplace = indexed(6);
    enhancer(&workplace, FIT);
    let first = |k: &str| {
        let search = ["search", "a dog", "--json", "--missing", "--enhancer", "enhancer.toml", "-k", k];
        workplace.json(&search)[0]["fits"].as_f64().unwrap()
    };
    assert_eq!(first("1"), first("6"));
}
