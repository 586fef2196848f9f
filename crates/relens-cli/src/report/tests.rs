use relens_training::mining::record::MinedQuery;
use relens_training::mining::summary::Highlights;
use relens_training::mining::summary::Summary;
use serde_json::{Value, json};

use super::comparison::{PieceKind, word_difference};
use super::inputs::Inputs;
use super::{mining_page, write};

/// An evaluation of captions whose pictures have these ranks.
fn evaluation(ranks: &[u32], rewrite: Option<&str>) -> Value {
    let queries: Vec<Value> = ranks
        .iter()
        .enumerate()
        .map(|(number, rank)| {
            let query = format!("a <b>dog</b> number {number}");
            let texts = rewrite.map(|rewrite| json!([{"text": format!("{query} {rewrite}"), "weight": 1.0}]));
            json!({"query": query, "image": format!("pictures/{}.png", number / 2), "rank": rank, "texts": texts.unwrap_or(json!([]))})
        })
        .collect();
    let hits = ranks.iter().filter(|rank| **rank == 1).count() as f64;
    json!({
        "image_retrieval_recall@1": hits / ranks.len() as f64, "image_retrieval_mean_rank": 2.0, "n_images": 3, "n_texts": ranks.len(),
        "model": "mini", "enhancer": if rewrite.is_some() { "rewriter" } else { "identity" }, "queries": queries,
    })
}

#[test]
fn a_page_has_tables_changes_and_examples_and_escapes_what_it_quotes() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    fs_err::write(place("before.json"), evaluation(&[9, 1, 1, 3, 2, 150], None).to_string()).unwrap();
    fs_err::write(place("after.json"), evaluation(&[1, 1, 12, 3, 1, 2], Some("in snow")).to_string())
        .unwrap();
    fs_err::create_dir(place("run")).unwrap();
    let log = "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":2.0}\n\
               {\"step\":2,\"split\":\"val\",\"reward\":0.1,\"image_retrieval_recall@1\":0.4}\n";
    fs_err::write(place("run/metrics.jsonl"), log).unwrap();
    fs_err::write(place("run/config.toml"), "seed = 17\n").unwrap();
    let inputs = Inputs::read(&[place("before.json"), place("after.json"), place("run")]).unwrap();
    let page = write(&inputs, true, None).unwrap();
    for expected in [
        "rank 9 → 1",
        "rank 150 → 2",
        "rank 1 → 12",
        "Won</h3>",
        "<ins> in snow</ins>",
        "a &lt;b&gt;dog&lt;/b&gt; number 0",
        "50.0 <span",
        "figcaption>loss<",
        "Reward beside recall",
        "seed = 17",
        "<svg",
    ] {
        let expected = expected.replace("Won</h3>", "Won: 3</h3>");
        assert!(page.contains(&expected), "{expected}\n{page}");
    }
    assert!(!page.contains("<b>dog"), "what results quote is escaped");
    assert!(
        !page.contains("href=") && !page.contains("src=\"pictures") && !page.contains("src=\"http"),
        "nothing is loaded from elsewhere"
    );
}

#[test]
fn other_captions_are_not_compared() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    fs_err::write(place("a.json"), evaluation(&[1, 2], None).to_string()).unwrap();
    fs_err::write(place("b.json"), evaluation(&[1, 2, 3], None).to_string()).unwrap();
    let inputs = Inputs::read(&[place("a.json"), place("b.json")]).unwrap();
    let error = write(&inputs, true, None).unwrap_err().to_string();
    assert_eq!(error, "`a` and `b`: expected evaluations of the same captions, found different ones");
    assert!(write(&inputs, false, None).is_ok());
}

#[test]
fn what_is_no_result_is_refused_by_its_name() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    fs_err::write(place("x.json"), "{}").unwrap();
    fs_err::write(place("y.json"), "{").unwrap();
    fs_err::create_dir(place("empty")).unwrap();
    for (name, expected) in
        [("x.json", "another JSON file"), ("y.json", "expected JSON"), ("empty", "found neither")]
    {
        let error = format!("{:#}", Inputs::read(&[place(name)]).unwrap_err());
        assert!(error.contains(name) && error.contains(expected), "{error}");
    }
}

#[test]
fn a_difference_says_which_words_came_and_went() {
    let pieces = word_difference("a dog in snow", "a brown dog in deep snow");
    let only = |change: PieceKind| -> String {
        pieces.iter().filter(|piece| piece.change == change).map(|piece| piece.text.as_str()).collect()
    };
    assert_eq!(only(PieceKind::Added).split_whitespace().collect::<Vec<_>>(), ["brown", "deep"]);
    assert_eq!(only(PieceKind::Removed), "");
    assert_eq!(word_difference("dog", "cat").len(), 2);
}

#[test]
fn minings_page_has_numbers_charts_and_escaped_samples() {
    let rewrite = |text: &str, rank: u32| {
        json!({"text": text, "rank": rank, "score": 0.3, "similarity_to_query": 0.8, "turn": 1,
               "kind": "rewrite", "source": "llm"})
    };
    let mined: MinedQuery = serde_json::from_value(json!({
        "id": "a.jpg#0", "query": "a <b>dog</b>", "image": "a.jpg", "low_rank": 7, "low_score": 0.25,
        "rewrites": [rewrite("a brown dog", 1), rewrite("a wet dog", 9)],
        "strategy": "challenge_response", "prompt": "challenge", "model": "m", "dropped": {"too_long": 1},
    }))
    .unwrap();
    let (mut summary, mut highlights) = (Summary::new(1), Highlights::new(1));
    summary.add(&mined);
    highlights.add(&mined);
    let nowhere = std::path::Path::new("nowhere");
    let page = mining_page("challenge & response", &summary, &highlights, nowhere).unwrap();
    assert_eq!(page.matches("<svg").count(), 3, "ranks, turns, reasons: {page}");
    assert_eq!(page.matches("class=\"example\"").count(), 1);
    assert!(page.contains("a &lt;b&gt;dog&lt;/b&gt;") && !page.contains("<b>"), "{page}");
    assert!(page.contains("challenge &amp; response") && page.contains("1 (100.0 %)"), "{page}");
    assert_eq!(page.matches("rewrite better").count(), 1, "only the rewrite of a better rank: {page}");
}
