//! `relens familiarity`: the file, where the composer finds it, and what is refused.

use serde_json::json;

use crate::model_directory;
use crate::workplace::{Workplace, errors};

/// A retriever of the test's own, and pictures whose captions hold what "pooch" means.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 4);
    model_directory::write(&workplace.path("model"), 3);
    let line = |number: usize| {
        let caption = ["a dog on the square", "two dog of a picture", "a red cat", "a pooch"][number];
        json!({"image": format!("picture-{number:03}.png"), "caption": caption}).to_string()
    };
    fs_err::write(workplace.path("captions.jsonl"), (0..4).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    workplace
}

const FAMILIARITY: [&str; 9] = [
    "familiarity",
    "--model",
    "./model",
    "--annotations",
    "captions.jsonl",
    "--images",
    "images",
    "--split",
    "all",
];

#[test]
fn words_are_measured_and_the_file_lies_beside_the_model() {
    let workplace = workplace();
    let told = workplace.output(&FAMILIARITY);
    assert!(told.contains("words measured") && told.trim_end().ends_with("familiarity.tsv"), "{told}");
    let written = fs_err::read_to_string(workplace.path("model/familiarity.tsv")).unwrap();
    let columns = |word: &str| {
        let line = written.lines().find(|line| line.split('\t').next() == Some(word));
        line.map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(columns("two").unwrap()[1..], ["1"], "a word that was only counted");
    let pooch = columns("pooch").unwrap();
    assert_eq!((pooch.len(), pooch[3].as_str()), (4, "3"), "tried in three captions: {pooch:?}");
    assert_eq!(columns("laddie"), None, "no caption holds it or what it means");
    workplace.output(&FAMILIARITY);
    assert_eq!(fs_err::read_to_string(workplace.path("model/familiarity.tsv")).unwrap(), written);
}

#[test]
fn the_composer_replaces_what_the_file_says_is_unfamiliar() {
    let workplace = workplace();
    let rewritten = || {
        let found =
            workplace.json(&["rewrite", "a pooch", "--enhancer", "composer", "--model", "./model", "--json"]);
        found["texts"].to_string()
    };
    for (count, replaced) in [(0, true), (100, false)] {
        fs_err::write(workplace.path("model/familiarity.tsv"), format!("pooch\t{count}\t0.000\t3\n"))
            .unwrap();
        assert_eq!(rewritten().contains("a dog"), replaced, "{count}: {}", rewritten());
    }
}

#[test]
fn captions_that_say_nothing_of_words_are_refused() {
    let workplace = workplace();
    let line = json!({"image": "picture-000.png", "caption": "of the"}).to_string();
    fs_err::write(workplace.path("captions.jsonl"), line).unwrap();
    let assert = workplace.relens(&FAMILIARITY).assert().code(1);
    assert!(errors(&assert).contains("no such caption"), "{}", errors(&assert));
    assert!(!workplace.path("model/familiarity.tsv").exists());
}
