//! Queries that mean nothing, and pictures as queries that are none.

use predicates::prelude::*;

use crate::workplace::{Workplace, errors};

#[test]
fn an_empty_query_is_refused() {
    for query in ["", "   ", "\t\n"] {
        let assert = Workplace::new().relens(&["search", query]).assert().code(2);
        assert.stdout("").stderr(predicate::str::contains("the query is empty"));
    }
}

#[test]
fn a_query_longer_than_anything_a_person_types_is_refused() {
    let query = "dog ".repeat(20_000);
    let assert = Workplace::new().relens(&["search", &query]).assert().code(2);
    assert.stdout("").stderr(predicate::str::contains("too long"));
}

#[test]
fn a_query_beyond_the_models_context_is_answered_and_the_cut_is_told() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    workplace.output(&["index", "pictures"]);
    let query = "a red dog ".repeat(100);
    let assert = workplace.relens(&["search", &query, "--json"]).assert().success();
    assert!(errors(&assert).contains("reads the first"), "{}", errors(&assert));
    assert!(
        !errors(&workplace.relens(&["search", "a red dog"]).assert().success()).contains("reads the first")
    );
}

#[test]
fn words_and_letters_the_model_never_saw_are_answered() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 2);
    workplace.output(&["index", "pictures"]);
    for query in ["日本語の犬", "🐕🐈", "zzyzx qqq", "--", "\u{202e}god", "a\u{0}b".trim_end_matches('b')]
    {
        let query = query.replace('\u{0}', " ");
        let hits = workplace.json(&["search", "--json", "--", &query]);
        assert_eq!(hits.as_array().unwrap().len(), 2, "{query:?}");
    }
}

#[test]
fn a_picture_that_is_none_fails_as_a_query() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 1);
    workplace.output(&["index", "pictures"]);
    fs_err::write(workplace.path("query.jpg"), "no picture").unwrap();
    for (file, expected) in [("query.jpg", "query.jpg"), ("nowhere.jpg", "nowhere.jpg")] {
        let assert = workplace.relens(&["search", "--image", file]).assert().code(1);
        assert!(errors(&assert).contains(expected), "{}", errors(&assert));
    }
}
