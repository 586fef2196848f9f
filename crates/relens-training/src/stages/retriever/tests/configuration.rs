//! Settings and data that cannot be used are refused by name.

use std::path::Path;

use super::super::config::{DataConfig, RetrieverConfig};
use super::super::corpus::Corpus;
use super::tiny;
use relens::progress::Silent;

const MINIMAL: &str = r#"
output = "runs/mini"
[data]
annotations = "dataset.json"
images = "images"
[model]
image_weights = "lite0.safetensors"
text_tower = "minilm"
[[phase]]
epochs = 3
"#;

fn read(text: &str) -> Result<RetrieverConfig, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("retriever.toml");
    std::fs::write(&path, text).unwrap();
    RetrieverConfig::read(&path).map_err(|error| error.to_string())
}

#[test]
fn a_minimal_file_has_defaults_for_the_rest() {
    let config = read(MINIMAL).unwrap();
    assert_eq!(config.phases[0].epochs, 3);
    assert_eq!(config.phases[0].batch_size, 512);
    assert_eq!(config.data.validation_split, "val");
    let written = toml::to_string_pretty(&config).unwrap();
    assert_eq!(read(&written).unwrap(), config, "the resolved configuration reads back");
}

#[test]
fn mistakes_are_named() {
    let cases = [
        (MINIMAL.replace("epochs = 3", "epoch = 3"), "epoch"),
        (MINIMAL.replace("[data]", "[data]\nsplit = \"train\""), "split"),
        (MINIMAL.replace("epochs = 3", "learning_rate = 2.0"), "phase[0].learning_rate"),
        (MINIMAL.replace("epochs = 3", "warmup = nan"), "phase[0].warmup"),
        (MINIMAL.replace("epochs = 3", "batch_size = 1"), "phase[0].batch_size"),
        (MINIMAL.replace("text_tower = \"minilm\"", ""), "`model`"),
        (MINIMAL.replace("[[phase]]", "[objective.teacher]\nweight = 0.5\n[[phase]]"), "teacher.models"),
        (
            MINIMAL.replace("[[phase]]\nepochs = 3", "phase = []").replace("output", "phase = []\noutput"),
            "phase",
        ),
    ];
    for (text, expected) in cases {
        let error = read(&text).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_run_directory_keeps_its_settings() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = tiny::config(directory.path());
    config.phases.truncate(1);
    super::train(&config, &mut Silent).unwrap();
    config.optimizer.weight_decay = 0.3;
    let error = super::train(&config, &mut Silent).unwrap_err().to_string();
    assert!(error.contains("optimizer.weight_decay: 0.1 → 0.3"), "{error}");
}

/// Karpathy's format with the given (file name, split) pairs.
fn dataset(directory: &Path, images: &[(&str, &str)]) -> DataConfig {
    let images: Vec<serde_json::Value> = images
        .iter()
        .enumerate()
        .map(|(index, (name, split))| {
            std::fs::write(directory.join(name), b"picture").unwrap();
            let sentence = serde_json::json!({"raw": format!("caption of {name}"), "sentid": index,
                "imgid": index, "tokens": ["caption"]});
            serde_json::json!({"filename": name, "split": split, "imgid": index, "sentids": [index],
                "sentences": [sentence]})
        })
        .collect();
    let annotations = directory.join("dataset.json");
    let text = serde_json::json!({"dataset": "tiny", "images": images}).to_string();
    std::fs::write(&annotations, text).unwrap();
    let minimal = read(MINIMAL).unwrap();
    DataConfig { annotations, images: directory.to_owned(), ..minimal.data }
}

const SPLITS: [(&str, &str); 5] =
    [("a.jpg", "train"), ("b.jpg", "train"), ("c.jpg", "train"), ("d.jpg", "val"), ("e.jpg", "val")];

#[test]
fn extra_captions_join_their_training_pictures() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = dataset(directory.path(), &SPLITS);
    let extra = directory.path().join("extra.jsonl");
    std::fs::write(&extra, "{\"imgid\": 1, \"text\": \"more\"}\n\n{\"imgid\": 4, \"text\": \"not used\"}\n")
        .unwrap();
    config.extra_captions = vec![extra.clone()];
    let corpus = Corpus::read(&config).unwrap();
    assert_eq!((corpus.training_pictures, corpus.training_texts), (3, 4));
    let pictures = &corpus.pictures;
    assert_eq!(corpus.texts[pictures[1].extra_captions[0]], "more");
    assert!(corpus.validation().iter().all(|picture| picture.extra_captions.is_empty()));
    std::fs::write(&extra, "{\"imgid\": 1}\n").unwrap();
    let error = Corpus::read(&config).unwrap_err().to_string();
    assert!(error.contains("extra.jsonl") && error.contains("line 1") && error.contains("text"), "{error}");
}

#[test]
fn splits_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = dataset(directory.path(), &SPLITS);
    let of = |config: &DataConfig| Corpus::read(config).unwrap_err().to_string();
    assert!(of(&DataConfig { train_split: "test".into(), ..config.clone() }).contains("test"));
    let overlap = DataConfig { train_split: "train+val".into(), ..config.clone() };
    assert!(of(&overlap).contains("d.jpg"), "{}", of(&overlap));
    std::fs::remove_file(directory.path().join("b.jpg")).unwrap();
    assert!(of(&config).contains("b.jpg"), "{}", of(&config));
}
