//! What is typed wrongly ends with exit code 2 and says what is expected; help is the manual.

use predicates::prelude::*;

use crate::workplace::Workplace;

#[track_caller]
fn refused(arguments: &[&str], message: &str) {
    let assert = Workplace::new().relens(arguments).assert().code(2);
    assert.stdout("").stderr(predicate::str::contains(message));
}

#[test]
fn a_command_is_required() {
    Workplace::new().relens::<&str>(&[]).assert().code(2);
}

#[test]
fn unknown_words_are_refused() {
    refused(&["find", "dog"], "unrecognized subcommand");
    refused(&["search", "dog", "--colour"], "unexpected argument");
    refused(&["models", "remove"], "unrecognized subcommand");
}

#[test]
fn missing_arguments_are_named() {
    refused(&["index"], "<DIR>");
    refused(&["search"], "<QUERY>");
    refused(&["embed"], "--image <FILE>");
    refused(&["eval", "--images", "."], "--annotations <FILE|DIR>");
    refused(&["train", "retriever"], "--config <FILE>");
}

#[test]
fn values_out_of_range_are_refused() {
    refused(&["search", "dog", "-k", "0"], "'-k <NUMBER>'");
    refused(&["search", "dog", "-k", "many"], "'-k <NUMBER>'");
    refused(&["index", ".", "--jobs", "0"], "'--jobs <NUMBER>'");
    let eval = ["eval", "--annotations", "a.json", "--images", ".", "--recall-k"];
    for cutoffs in ["", "0", "1,", "five"] {
        refused(&[eval.as_slice(), &[cutoffs]].concat(), "--recall-k");
    }
}

#[test]
fn a_query_is_a_text_or_a_picture_not_both() {
    refused(&["search", "dog", "--image", "dog.jpg"], "cannot be used with");
}

#[test]
fn what_belongs_to_another_option_is_refused_without_it() {
    let data = ["--annotations", "a.json", "--images", "."];
    for options in [
        &["--queries", "q.jsonl", "--perturb-seed", "3"][..],
        &["--queries", "q.jsonl", "--synonyms", "s.jsonl"],
        &["--perturb", "ocr", "--query-field", "rare"],
    ] {
        refused(&[&["eval"], &data[..], options].concat(), "cannot be used with");
    }
    refused(&["kb", "add", "zorg", "--is", "a box", "--language", "de"], "cannot be used with");
    refused(&["kb", "import", "a.jsonl", "--replace", "--language", "de"], "cannot be used with");
}

#[test]
fn unknown_enhancers_are_refused_with_the_ones_there_are() {
    refused(
        &["search", "dog", "--enhancer", "magic"],
        "unknown enhancer `magic`; available: default, identity, ",
    );
    refused(&["search", "dog", "--combine", "sum"], "possible values: replace");
}

#[test]
fn what_is_gone_names_what_is_in_its_place() {
    refused(&["train", "soft", "--config", "soft.toml"], "`relens train sft`");
    refused(&["search", "a dog", "--enhancer", "soft"], "`rewriter` is in its place");
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    refused(&["-q", "-v", "models", "list"], "cannot be used with");
}

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 25] = [
        &[],
        &["quickstart"],
        &["index"],
        &["search"],
        &["embed"],
        &["eval"],
        &["compare"],
        &["rewrite"],
        &["kb"],
        &["kb", "list"],
        &["kb", "show"],
        &["kb", "add"],
        &["kb", "edit"],
        &["kb", "remove"],
        &["kb", "history"],
        &["kb", "undo"],
        &["kb", "import"],
        &["kb", "export"],
        &["kb", "lint"],
        &["kb", "build"],
        &["train"],
        &["train", "retriever"],
        &["models"],
        &["models", "list"],
        &["models", "info"],
    ];
    for command in commands {
        let help = Workplace::new().output(&[command, &["--help"]].concat());
        assert!(help.contains("Usage: relens") && help.len() > 200, "{command:?}: {help}");
    }
}

#[test]
fn the_version_is_the_workspaces() {
    let version = Workplace::new().output(&["--version"]);
    assert_eq!(version, format!("relens {}\n", env!("CARGO_PKG_VERSION")));
}
