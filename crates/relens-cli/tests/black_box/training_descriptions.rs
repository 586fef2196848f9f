//! `relens train adapter` and `relens train selection`: from captions to what an enhancer reads.

use serde_json::{Value, json};

use crate::workplace::Workplace;

/// Twelve captioned pictures and a configuration for both stages.
fn prepared() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 12);
    let images: Vec<Value> = (0..12)
        .map(|number| {
            let entity = ["dog", "cat", "zebra"][number % 3];
            let sentences = [json!({"raw": format!("a {entity} on a bench")}), json!({"raw": "happiness"})];
            json!({"filename": format!("picture-{number:03}.png"), "imgid": number, "split": "train",
                   "sentences": sentences})
        })
        .collect();
    let annotations = json!({"dataset": "squares", "images": images});
    fs_err::write(workplace.path("captions.json"), annotations.to_string()).unwrap();
    let config = "output = \"run\"\ncache = \"cache\"\nknowledge = \"evd.jsonl\"\n\
                  [data]\nannotations = \"captions.json\"\nimages = \"images\"\n\
                  train_split = \"train[:8]\"\nvalidation_split = \"train[8:]\"\n\
                  [training]\nepochs = 3\nbatch_size = 4\n";
    fs_err::write(workplace.path("train.toml"), config).unwrap();
    let knowledge = workplace.output(&["kb", "export"]);
    fs_err::write(workplace.path("evd.jsonl"), knowledge).unwrap();
    workplace
}

#[test]
fn what_is_learned_is_read_by_the_enhancers() {
    let workplace = prepared();
    let report = workplace.json(&["train", "adapter", "--config", "train.toml", "--json"]);
    assert!(report["metrics"]["image_retrieval_recall@1"].is_number(), "{report}");
    assert_eq!(report["file"], "run/adapter.safetensors");
    let report =
        workplace.json(&["train", "selection", "--config", "train.toml", "--output", "values", "--json"]);
    assert_eq!(report["file"], "values/values.json");

    workplace.output(&["index", "images"]);
    let search = |spec: &str| {
        fs_err::write(workplace.path("spec.toml"), spec).unwrap();
        workplace.output(&["search", "a zebra", "--enhancer", "spec.toml"])
    };
    let plain = search("[[enhancer]]\nname = \"descriptions\"\ntemplate = \"entity\"\n");
    let adapted = search(
        "[[enhancer]]\nname = \"adapter\"\nweights = \"run/adapter.safetensors\"\ntemplate = \"entity\"\n",
    );
    let selected = search(
        "[[enhancer]]\nname = \"selection\"\nvalues = \"values/values.json\"\ntemplate = \"entity\"\n",
    );
    assert_eq!(adapted.lines().count(), 10, "as many as are shown without -k");
    assert!(plain != adapted && plain != selected);
}

#[test]
fn a_resumed_run_ends_as_the_uninterrupted_one() {
    let workplace = prepared();
    for (stage, file) in [("adapter", "adapter.safetensors"), ("selection", "values.json")] {
        let train = ["train", stage, "--config", "train.toml", "--output", stage];
        let run = |arguments: &[&str]| workplace.output(&[train.as_slice(), arguments].concat());
        let read = |name: &str| fs_err::read(workplace.path(format!("{stage}/{name}"))).unwrap();
        run(&[]);
        let (learned, log) = (read(file), read("metrics.jsonl"));
        // As a kill after the second of three epochs leaves it, with half a line in the log.
        fs_err::remove_dir_all(workplace.path(format!("{stage}/checkpoints/step-6"))).unwrap();
        fs_err::remove_file(workplace.path(format!("{stage}/{file}"))).unwrap();
        let half = [&log[..], b"{\"step\":6,"].concat();
        fs_err::write(workplace.path(format!("{stage}/metrics.jsonl")), half).unwrap();
        workplace.relens(&train).assert().code(1);
        run(&["--resume"]);
        assert!(read(file) == learned && read("metrics.jsonl") == log, "{stage}");
    }
}
