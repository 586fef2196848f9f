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
        assert_eq!(hit.as_object().unwrap().len(), 2, "{hit}");
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
