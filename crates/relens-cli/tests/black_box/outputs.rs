//! Outputs never take the place of inputs, and pipes are not waited for.

use crate::workplace::{Workplace, errors};

fn captions(workplace: &Workplace) {
    workplace.pictures("pictures", 2);
    let lines = ["picture-000", "picture-001"]
        .map(|name| format!("{{\"image\": \"{name}.png\", \"captions\": [\"{name}\"]}}\n"));
    fs_err::write(workplace.path("captions.jsonl"), lines.concat()).unwrap();
}

#[test]
fn an_output_onto_an_input_is_refused_for_every_command() {
    let workplace = Workplace::new();
    captions(&workplace);
    let before = fs_err::read(workplace.path("captions.jsonl")).unwrap();
    let picture = fs_err::read(workplace.path("pictures/picture-000.png")).unwrap();
    let data = ["--annotations", "captions.jsonl", "--images", "pictures"];
    for (command, output) in [
        (&["eval"][..], &["--json", "captions.jsonl"]),
        (&["eval"], &["--json", "pictures/../captions.jsonl"]),
        (&["rewrite"], &["--output", "captions.jsonl"]),
        (&["references", "--split", "all"], &["--out", "pictures/picture-000.png"]),
    ] {
        let arguments = [command, &data, output].concat();
        let message = errors(&workplace.relens(&arguments).assert().failure());
        assert!(message.contains("would replace"), "{arguments:?}: {message}");
    }
    let words = workplace.path("built/knowledge.jsonl");
    fs_err::create_dir(workplace.path("built")).unwrap();
    fs_err::write(&words, "{\"entity\": \"dog\", \"visual\": true, \"descriptions\": [\"four legs\"]}\n")
        .unwrap();
    let build = ["kb", "build", "--captions", "captions.jsonl", "--split", "all", "--output", "built"];
    let build = [&build[..], &["--records", "built/../built/knowledge.jsonl"]].concat();
    let message = errors(&workplace.relens(&build).assert().failure());
    assert!(message.contains("would replace"), "{message}");
    assert!(fs_err::read_to_string(&words).unwrap().starts_with("{\"entity\""));
    let familiarity = [&["familiarity", "--split", "all", "--out", "captions.jsonl"][..], &data].concat();
    let message = errors(&workplace.relens(&familiarity).assert().failure());
    assert!(message.contains("would replace"), "{message}");
    let explain = ["explain", "a dog", "pictures/picture-000.png", "--out", "./pictures/picture-000.png"];
    let message = errors(&workplace.relens(&explain).assert().failure());
    assert!(message.contains("would replace"), "{message}");
    let named = ["explain", "a dog", "pictures/picture-000.png", "--out", "drawn.gif"];
    let message = errors(&workplace.relens(&named).assert().failure());
    assert!(message.contains("ends in .png, .jpg or .webp"), "{message}");
    assert_eq!(fs_err::read(workplace.path("captions.jsonl")).unwrap(), before);
    assert_eq!(fs_err::read(workplace.path("pictures/picture-000.png")).unwrap(), picture);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let workplace = Workplace::new();
    captions(&workplace);
    let pipe = workplace.path("pipe.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let compare =
        ["compare", "--annotations", "captions.jsonl", "--images", "pictures", "--config", "pipe.toml"];
    for arguments in [
        &["run", "pipe.toml"][..],
        &["report", "pipe.toml", "--out", "page.html"],
        &["eval", "--annotations", "pipe.toml", "--images", "pictures"],
        &["search", "--image", "pipe.toml"],
        &["embed", "--image", "pipe.toml"],
        &["train", "retriever", "--config", "pipe.toml"],
        &compare,
    ] {
        let mut command = workplace.relens(arguments);
        let message = errors(&command.timeout(std::time::Duration::from_secs(60)).assert().failure());
        assert!(message.contains("pipe") || message.contains("no library"), "{arguments:?}: {message}");
    }
}
