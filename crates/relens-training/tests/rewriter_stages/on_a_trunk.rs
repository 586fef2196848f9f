//! A fresh decoder on a trunk that knows words, from a mixture that is drawn anew in every epoch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candle_core::Tensor;
use relens::enhancer::rewriter::{Rewriter, RewriterOptions};
use relens::enhancer::{Query, QueryEnhancer};
use relens::knowledge::words::{ENGLISH, Meaning, MeaningKind, Word};
use relens::knowledge::{Knowledge, Source, Words};
use relens_models::weights::{ElementType, Weights, save_tensors};
use relens_training::TrainingError;
use relens_training::stages::sft::SftMethod;
use serde_json::json;

use super::world::{Listener, StopAfter, bytes, finish, weights, world};

/// What the tiny trunk reads, beside single letters and digits.
const WORDS: &str = "stone aqueduct over river valley old roman bridge smiling astronaut orange suit woman before flag \
                     bison on the grass large brown animal castle hill building cat looks at camera small pet cup of \
                     coffee table spoon beside koala in tree grey moose forest an and pooch";

/// A BERT's directory: the tiny weights that its own tests have, and a vocabulary of captions' words.
fn trunk() -> PathBuf {
    let directory = world().path("trunk");
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../relens-models/tests/fixtures");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::copy(fixtures.join("bert_config.json"), directory.join("config.json")).unwrap();
    // The fixture holds what the tests of the encoder compare with, too.
    let fixture = Weights::open(fixtures.join("bert.safetensors")).unwrap();
    let own = fixture.names().filter(|name| name.starts_with("embeddings.") || name.starts_with("encoder."));
    let tensors: BTreeMap<String, Tensor> = own
        .map(|name| (name.to_owned(), fixture.tensor(name, fixture.shape(name).unwrap()).unwrap()))
        .collect();
    save_tensors(&directory.join("model.safetensors"), &tensors, ElementType::F32).unwrap();
    let mut tokens: Vec<String> =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "(", ")", "|"].map(str::to_owned).into();
    tokens.extend(('a'..='z').chain('0'..='9').map(|letter| letter.to_string()));
    tokens.extend(WORDS.split_whitespace().map(str::to_owned));
    tokens.truncate(120);
    tokens.extend((tokens.len()..120).map(|place| format!("unused{place}")));
    let vocabulary: serde_json::Map<String, serde_json::Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let special = |id: usize| {
        json!({"id": id, "content": tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": (0..5).map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                               "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    std::fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    directory
}

/// The stage's tables: captions as they are, their words, and captions made hard; two captions to choose by.
fn tables() -> String {
    static TABLES: OnceLock<String> = OnceLock::new();
    TABLES.get_or_init(written_tables).clone()
}

fn written_tables() -> String {
    let lexicon = world().path("lexicon.jsonl");
    std::fs::write(&lexicon, "{\"word\": \"cat\", \"alternatives\": [\"pooch\"]}\n").unwrap();
    let asked = world().path("asked.jsonl");
    let line = |id: usize| {
        json!({"imgid": id, "sentid": id, "caption": "a cat", "rare": "pooch", "concept": "a small cat"})
            .to_string()
    };
    std::fs::write(&asked, (0..3).map(line).collect::<Vec<_>>().join("\n")).unwrap();
    format!(
        r#"
        [fresh]
        d_kv = 8
        d_ff = 24
        decoder_layers = 2
        heads = 2
        dropout = 0.1
        positions = 40
        trunk = {{ model = {trunk:?} }}
        [policy.rewriter]
        familiar_share = 0.6
        prompt = {{ max_tokens = 40, glosses = {{ most = 2 }} }}
        decoding = {{ max_tokens = 12 }}
        [mixture]
        examples_per_epoch = 8
        better_captions = [{asked:?}]
        development = {{ records = {asked:?}, last = 1 }}
        [[mixture.sources]]
        kind = "captions"
        share = 1
        [[mixture.sources]]
        kind = "hard_queries"
        share = 1
        lexicon = {lexicon:?}
        [[mixture.sources]]
        kind = "content_words"
        share = 1
        [evaluation]
        metric = "loss"
        every_steps = 2
        keep_checkpoints = 9
        "#,
        trunk = trunk(),
    )
}

#[test]
fn the_decoder_moves_and_the_trunk_stays() {
    let stage = world().config::<SftMethod>("trunk/moves", "max_steps = 2", &tables());
    let summary = finish(&stage).unwrap();
    let (before, after) = (weights(&stage.run.output, 0), weights(&stage.run.output, 2));
    assert!(before.len() > 20 && before.keys().all(|name| !name.starts_with("encoder.")));
    for (name, before) in &before {
        assert_ne!(before, &after[name], "{name} did not move");
    }
    let whole = Weights::open(summary.model.join("model.safetensors")).unwrap();
    assert!(whole.names().any(|name| name.starts_with("encoder.embeddings.")), "the trunk is exported, too");
}

#[test]
fn a_resumed_run_draws_what_the_uninterrupted_one_would_have_drawn() {
    let stage = |name: &str| world().config::<SftMethod>(name, "max_steps = 5\nepochs = 9", &tables());
    let (whole, parted) = (stage("trunk/whole"), stage("trunk/parted"));
    finish(&whole).unwrap();
    let stopped = parted.run(&mut StopAfter(3)).unwrap_err();
    assert!(matches!(stopped, TrainingError::Interrupted { step: 3 }), "{stopped}");
    finish(&parted).unwrap();
    let (whole, parted) = (bytes(&whole.run.output, 5), bytes(&parted.run.output, 5));
    for (file, whole) in &whole {
        assert!(whole == &parted[file], "{file} differs");
    }
}

#[test]
fn it_learns_and_its_directory_opens_as_an_enhancer_that_reads_glosses() {
    let stage = world().config::<SftMethod>("trunk/learns", "max_steps = 60\nepochs = 99", &tables());
    let mut listener = Listener::default();
    let summary = stage.run(&mut listener).unwrap();
    let losses: Vec<f64> =
        listener.records.iter().filter_map(|record| record.get("loss")?.as_f64()).collect();
    let mean = |losses: &mut dyn Iterator<Item = &f64>| losses.take(8).sum::<f64>() / 8.0;
    assert!(mean(&mut losses.iter().rev()) < 0.8 * mean(&mut losses.iter()), "{losses:?}");

    let meaning = Meaning { text: "cat".into(), kind: MeaningKind::Name, source: Source::Person };
    let pooch = Word { word: "pooch".into(), language: ENGLISH.into(), meanings: vec![meaning] };
    let knowledge = Knowledge::new(Vec::new(), "a test").unwrap().with_words(Words::default().with([pooch]));
    let rewriter =
        Rewriter::open(&summary.model, RewriterOptions::default(), || Ok(knowledge.into())).unwrap();
    let enhance =
        |text: &str| rewriter.enhance_batch(&[Query::new(text).unwrap()], None).unwrap().swap_remove(0);
    // All of the query is unfamiliar, so that nothing of it is left beside the rewrite.
    let unfamiliar = enhance("pooch");
    assert!(unfamiliar.texts.iter().all(|text| text.text != "pooch"), "{unfamiliar:?}");
    let familiar = enhance("a small cat on the grass");
    let own = familiar.texts.iter().find(|text| text.text == "a small cat on the grass").unwrap();
    assert!((own.weight - 0.6).abs() < 1e-6 || familiar.texts.len() == 1, "{familiar:?}");
    // What the vocabulary lacks is no word that can be rewritten.
    let strange = enhance("a cat 犬");
    assert_eq!(strange.texts.len(), 1);
    assert!(format!("{:?}", strange.trace).contains("characters that it does not know"), "{strange:?}");
}

#[test]
fn settings_that_do_not_fit_each_other_are_refused() {
    let path = world().path("trunk-bad.toml");
    let read = |change: &dyn Fn(String) -> String| {
        let text = format!("output = 'x'\ndata = {{ annotations = 'a', images = 'b' }}\n{}", tables());
        std::fs::write(&path, change(text)).unwrap();
        relens_training::stages::sft::SftConfig::read(&path).map(|_| ()).unwrap_err().to_string()
    };
    let replaced = |from: &'static str, to: &'static str| {
        read(&move |text: String| {
            assert!(text.contains(from));
            text.replace(from, to)
        })
    };
    assert!(
        replaced("[policy.rewriter]", "[policy]\nstart_from = 'x'\n[policy.rewriter]").contains("start_from")
    );
    assert!(replaced("share = 1\n", "share = 0\n").contains("mixture.sources"));
    assert!(replaced("examples_per_epoch = 8", "examples_per_epoch = 0").contains("examples_per_epoch"));
    assert!(replaced("examples_per_epoch = 8", "gloss_missing = 2.0").contains("gloss_missing"));
    assert!(replaced("kind = \"captions\"", "kind = \"novels\"").contains("novels"));
}
