//! `relens train fine-tune`: one configuration, the options that take its values' places, and what becomes of it.

use serde_json::{Value, json};

use crate::model_directory;
use crate::workplace::{Workplace, errors};

const TUNE: [&str; 4] = ["train", "fine-tune", "--config", "tune.toml"];

/// Ten captioned pictures, a model, rewrites, and a configuration that names none of them.
fn prepared() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures("images", 10);
    model_directory::write(&workplace.path("start"), 5);
    let image = |number: usize| {
        let sentences =
            ["a dog", "two cats"].map(|what| json!({"raw": format!("picture of {what} {number}")}));
        let split = if number < 6 { "train" } else { "val" };
        json!({"filename": format!("picture-{number:03}.png"), "imgid": number, "split": split, "sentences": sentences})
    };
    let images: Vec<Value> = (0..10).map(image).collect();
    let annotations = json!({"dataset": "squares", "images": images}).to_string();
    fs_err::write(workplace.path("captions.json"), annotations).unwrap();
    let rewrites: String = (0..6)
        .map(|number| json!({"query": format!("picture of a dog {number}"), "rewrites": ["a red dog"]}))
        .map(|line| format!("{line}\n"))
        .collect();
    fs_err::write(workplace.path("rewrites.jsonl"), rewrites).unwrap();
    let config = "output = \"run\"\n[data]\nannotations = \"nowhere.json\"\nimages = \"nowhere\"\n\
                  [model]\nstart_from = \"nowhere\"\ntrain = [\"text-tower\", \"text-projection\"]\n\
                  [optimization]\nepochs = 2\nbatch_size = 4\nlearning_rate = 1e-3\nwarmup_steps = 0\n";
    fs_err::write(workplace.path("tune.toml"), config).unwrap();
    workplace
}

const PLACES: [&str; 8] = [
    "--model",
    "start",
    "--annotations",
    "captions.json",
    "--images",
    "images",
    "--rewrites",
    "rewrites.jsonl",
];

#[test]
fn options_take_the_place_of_the_configuration_and_the_model_can_be_used() {
    let workplace = prepared();
    let run = |more: &[&str]| workplace.json(&[&TUNE[..], &PLACES, more, &["--json"]].concat());
    let report = run(&[]);
    assert_eq!(report["steps"], 6, "{report}");
    let again = workplace.relens(&[&TUNE[..], &PLACES, &["--output", "told"]].concat()).assert().success();
    assert!(errors(&again).contains("6 of 12 training captions have rewrites"), "{}", errors(&again));
    let model = report["model"].as_str().unwrap();
    let eval = ["eval", "--annotations", "captions.json", "--images", "images", "--split", "val"];
    let evaluated =
        workplace.json(&[&eval[..], &["--model", model, "--enhancer", "identity", "--json", "-"]].concat());
    for key in ["image_retrieval_recall@1", "text_retrieval_recall@1"] {
        assert_eq!(evaluated[key], report["metrics"][key], "{key}: eval measures what the run measured");
    }
    let baseline = run(&["--rewriting-probability", "0", "--output", "baseline"]);
    assert_eq!(baseline["steps"], 6);
    let losses = |run: &str| {
        let text = fs_err::read_to_string(workplace.path(run).join("metrics.jsonl")).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter().filter_map(|line| line["loss"].as_f64()).collect::<Vec<_>>()
    };
    assert_ne!(losses("run"), losses("baseline"), "the rewrites are learned from");
    workplace.output(&["report", "run", "baseline", "--compare", "--out", "report.html"]);
}

#[test]
fn the_plan_needs_neither_weights_nor_data() {
    let workplace = prepared();
    fs_err::create_dir(workplace.path("sizes")).unwrap();
    for file in ["open_clip_config.json", "config.json"] {
        fs_err::copy(workplace.path("start").join(file), workplace.path("sizes").join(file)).unwrap();
    }
    let plan = workplace.json(&[&TUNE[..], &PLACES, &["--plan", "--json"]].concat());
    assert_eq!((plan["examples"].as_u64(), plan["steps"].as_u64()), (Some(12), Some(6)), "{plan}");
    assert!(plan["trained"].as_u64() < plan["parameters"].as_u64(), "{plan}");
    let assert = workplace.relens(&[&TUNE[..], &["--plan", "--model", "sizes"]].concat()).assert().code(1);
    // A convolutional tower cannot be counted without its file, and says so.
    assert!(errors(&assert).contains("model.start_from"), "{}", errors(&assert));
    assert!(!workplace.path("run").exists());
}

#[test]
fn what_is_wrong_is_named() {
    let workplace = prepared();
    for (options, expected) in [
        (&[][..], "nowhere"),
        (&["--model", "start"], "nowhere.json"),
        (&["--rewriting-probability", "1.5"], "data.rewriting_probability"),
        (&["--model", "captions.json"], "captions.json"),
    ] {
        let assert = workplace.relens(&[&TUNE[..], options].concat()).assert().code(1);
        let errors = errors(&assert);
        assert!(errors.contains(expected) && !errors.contains("panicked"), "{options:?}: {errors}");
    }
    workplace.output(&[&TUNE[..], &PLACES].concat());
    let assert = workplace.relens(&[&TUNE[..], &PLACES].concat()).assert().code(1);
    assert!(errors(&assert).contains("--resume"), "{}", errors(&assert));
}

#[test]
fn stages_of_a_rewriter_take_their_files_from_options_too() {
    let workplace = prepared();
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sft = repository.join("configs/paper/evdclip/1-sft.toml");
    let sizes = repository.join("configs/paper/models/t5-large");
    let options = ["--annotations", "captions.json", "--images", "images", "--mined", "mined.jsonl"];
    let (sft, sizes) = (sft.to_str().unwrap(), sizes.to_str().unwrap());
    let mined = json!({"id": "picture-000.png#0", "query": "picture of a dog 0", "image": "picture-000.png",
        "low_rank": 3, "low_score": 0.1, "strategy": "composer", "prompt": "", "model": "",
        "rewrites": [{"text": "a red dog", "rank": 1, "score": 0.2, "similarity_to_query": 0.9, "turn": 1,
                      "kind": "rewrite", "source": "composer"}]});
    fs_err::write(workplace.path("mined.jsonl"), mined.to_string()).unwrap();
    let command = ["train", "sft", "--config", sft, "--start-from", sizes, "--plan", "--json"];
    let plan = workplace.json(&[&command[..], &options].concat());
    assert_eq!(plan["examples"], 1, "{plan}");
    let options = ["train", "sft", "--config", sft, "--retriever", "no-such-model", "--output", "sft"];
    let assert = workplace.relens(&options).assert().code(1);
    assert!(errors(&assert).contains("no-such-model"), "{}", errors(&assert));
    let denoise = repository.join("configs/flickr8k/denoise.toml");
    let command = ["train", "denoise", "--config", denoise.to_str().unwrap(), "--plan"];
    for option in [["--start-from", sizes], ["--mined", "mined.jsonl"]] {
        let assert = workplace.relens(&[&command[..], &option].concat()).assert().code(1);
        assert!(errors(&assert).contains(option[0]), "{}", errors(&assert));
    }
}
