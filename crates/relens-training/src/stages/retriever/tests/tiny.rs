//! A model and a data set so small that a whole run takes a second: a two-layer BERT over two dozen words, pictures
//! that are nothing but features.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens_models::dual_encoder::{DualEncoderConfig, HeadKind};
use relens_models::parameters::Parameters;
use relens_models::tokenizer::Tokenizer;
use relens_models::towers::bert::{BertConfig, BertModel};
use relens_models::weights::{ElementType, Weights, tensors_to_bytes};
use serde_json::json;

use super::super::assembly::Pretrained;
use super::super::config::{
    AugmentationConfig, CacheConfig, DataConfig, EvaluationConfig, FeaturePrecision, ObjectiveConfig,
    PhaseConfig, RetrieverConfig, RetrieverModelConfig, TrainedPart, ViewConfig,
};
use super::super::corpus::{Corpus, ImageTexts};
use super::super::feature_cache::{FeatureCache, FeatureRows};
use super::super::features::TextFeatures;
use super::super::standardization::Standardization;
use super::super::training_data::TrainingData;
use crate::optimizer::AdamWConfig;
use crate::random;
use relens::progress::Silent;

const TRAINING: usize = 24;
const VALIDATION: usize = 8;
const CAPTIONS: usize = 3;
const WORDS: usize = 12;
const FEATURES: usize = 10;
const WIDTH: usize = 16;

/// A run of two phases, heads and then the last layer of the tower.
pub(super) fn config(output: &Path) -> RetrieverConfig {
    let heads = PhaseConfig {
        name: "heads".into(),
        epochs: 3,
        batch_size: 8,
        learning_rate: 0.01,
        weight_average: 0.5,
        ..PhaseConfig::default()
    };
    let tower = PhaseConfig {
        name: "tower".into(),
        train: vec![
            TrainedPart::ImageHead,
            TrainedPart::TextHead,
            TrainedPart::LogitScale,
            TrainedPart::TextTower,
        ],
        text_tower_layers: 1,
        text_chunk: 5,
        epochs: 2,
        accumulate: 2,
        batch_size: 6,
        ..heads.clone()
    };
    RetrieverConfig {
        output: output.to_owned(),
        seed: 3,
        data: DataConfig {
            annotations: "unused".into(),
            images: "unused".into(),
            train_split: "train".into(),
            validation_split: "val".into(),
            extra_captions: Vec::new(),
            extra_caption_probability: 0.0,
            rewrites: Vec::new(),
            rewriting_probability: 0.0,
        },
        model: RetrieverModelConfig {
            start_from: None,
            image_trunk: "tf_efficientnet_lite0".into(),
            image_weights: Some("unused".into()),
            preprocess: Default::default(),
            text_tower: Some("unused".into()),
            text_tower_name: None,
            context_length: 12,
            embed_dim: 8,
            image_head: HeadKind::Linear,
            text_head: HeadKind::Mlp,
            standardize: true,
            initial_logit_scale: 2.0,
        },
        views: ViewConfig::default(),
        cache: CacheConfig { directory: output.join("cache"), precision: FeaturePrecision::F32 },
        augmentation: AugmentationConfig {
            captions_per_image: 2,
            image_noise: 0.1,
            caption_mixing: 0.2,
            view_mixing: true,
            ..AugmentationConfig::default()
        },
        objective: ObjectiveConfig {
            label_smoothing: 0.05,
            caption_similarity_weight: 0.1,
            ..ObjectiveConfig::default()
        },
        optimizer: AdamWConfig::default(),
        evaluation: EvaluationConfig { every_steps: 2, samples: 2, ..EvaluationConfig::default() },
        phases: vec![heads, tower],
    }
}

/// TrainingData for a configuration, made in `directory`.
pub(super) fn data(config: &RetrieverConfig, directory: &Path) -> TrainingData {
    let pretrained = pretrained(config, directory);
    let tokenizer = Tokenizer::open(&pretrained.tokenizer_path, 12).unwrap();
    let corpus = corpus();
    let parameters = Parameters::frozen(pretrained.weights.clone()).pp("text.transformer");
    let cache = FeatureCache::open(&config.cache).unwrap();
    let text = TextFeatures {
        tower: &BertModel::load(&parameters, &pretrained.text_config).unwrap(),
        tower_fingerprint: "tiny",
        tokenizer: &tokenizer,
        width: WIDTH,
    };
    let text_versions = vec![text.rows(&cache, &corpus.texts, 0, &config.views, &mut Silent).unwrap()];
    let image_views = vec![image_features(0), image_features(1)];
    let image_standardization = Standardization::measure(&image_views[0], TRAINING);
    let text_standardization = Standardization::measure(&text_versions[0], corpus.training_texts);
    let weights = pretrained
        .initial_weights(&image_standardization, &text_standardization, &config.model, config.seed)
        .unwrap();
    let means = super::super::features::caption_means(&corpus, &text_versions[0]).unwrap();
    let caption_means = Some(Tensor::from_vec(means, (TRAINING, WIDTH), &Device::Cpu).unwrap());
    TrainingData {
        corpus,
        pretrained,
        tokenizer,
        image_views,
        feature_maps: None,
        text_versions,
        image_standardization,
        text_standardization,
        weights,
        caption_means,
        teachers: None,
    }
}

/// The two words that a picture is about.
fn words(picture: usize) -> (usize, usize) {
    (picture % WORDS, (picture * 5 + 1 + picture / WORDS) % WORDS)
}

fn corpus() -> Corpus {
    let mut texts = Vec::new();
    let pictures = (0..TRAINING + VALIDATION)
        .map(|picture| {
            let (first, second) = words(picture);
            let start = texts.len();
            for caption in 0..CAPTIONS {
                texts.push(format!("filler{caption} word{first} word{second}"));
            }
            ImageTexts {
                path: PathBuf::from(format!("{picture}.jpg")),
                captions: (start..texts.len()).collect(),
                extra_captions: Vec::new(),
                rewrites: Vec::new(),
            }
        })
        .collect();
    Corpus { pictures, texts, training_pictures: TRAINING, training_texts: TRAINING * CAPTIONS }
}

/// Features that a linear map of the picture's words explains, with some noise.
fn image_features(view: u64) -> FeatureRows {
    let mut directions = vec![0f32; WORDS * FEATURES];
    random::fill_normal(&mut directions, &mut random::stream(7, "directions", 0));
    let mut values = vec![0f32; (TRAINING + VALIDATION) * FEATURES];
    random::fill_normal(&mut values, &mut random::stream(7, "noise", view));
    for (picture, row) in values.chunks_mut(FEATURES).enumerate() {
        let (first, second) = words(picture);
        for (feature, value) in row.iter_mut().enumerate() {
            let signal = directions[first * FEATURES + feature] + directions[second * FEATURES + feature];
            *value = 0.1 * *value + signal + 2.0;
        }
    }
    FeatureRows::from_f32(values, FEATURES)
}

fn pretrained(config: &RetrieverConfig, directory: &Path) -> Pretrained {
    let (text_config_path, tokenizer_path) =
        (directory.join("config.json"), directory.join("tokenizer.json"));
    let text_config = json!({
        "vocab_size": 2 * WORDS + 1, "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 16, "model_type": "bert", "hidden_act": "gelu",
    });
    std::fs::write(&text_config_path, text_config.to_string()).unwrap();
    std::fs::write(&tokenizer_path, tokenizer_json()).unwrap();
    let text_config = BertConfig::open(&text_config_path).unwrap();
    let bytes = tensors_to_bytes(&bert_weights(), ElementType::F32).unwrap();
    let weights = Weights::from_bytes(directory.join("tower.safetensors"), bytes).unwrap();
    let open_clip = json!({
        "model_cfg": {
            "embed_dim": config.model.embed_dim,
            "vision_cfg": {
                "timm_model_name": "tf_efficientnet_lite0", "timm_proj": "linear", "timm_proj_bias": true,
                "image_size": 224,
            },
            "text_cfg": { "hf_model_name": "tiny", "hf_proj_type": "mlp", "context_length": 12 },
        },
    });
    Pretrained {
        weights,
        config: DualEncoderConfig::parse(Path::new("tiny"), &open_clip.to_string()).unwrap(),
        text_config,
        text_config_path,
        tokenizer_path,
        fresh_heads: true,
    }
}

fn tokenizer_json() -> String {
    let mut vocabulary = serde_json::Map::from_iter([("[UNK]".to_owned(), json!(0))]);
    for word in 0..WORDS {
        vocabulary.insert(format!("word{word}"), json!(vocabulary.len()));
        vocabulary.insert(format!("filler{word}"), json!(vocabulary.len()));
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
    .to_string()
}

fn bert_weights() -> BTreeMap<String, Tensor> {
    let mut weights = BTreeMap::new();
    let mut add = |name: String, shape: &[usize], scale: f32, offset: f32| {
        let mut rng = random::stream(11, &name, 0);
        let values: Vec<f32> =
            (0..shape.iter().product()).map(|_| offset + scale * (2.0 * rng.random::<f32>() - 1.0)).collect();
        weights.insert(
            format!("text.transformer.{name}"),
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap(),
        );
    };
    for (table, rows) in [("word", 2 * WORDS + 1), ("position", 16), ("token_type", 2)] {
        add(format!("embeddings.{table}_embeddings.weight"), &[rows, WIDTH], 0.5, 0.0);
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..2 {
        let place = format!("encoder.layer.{layer}");
        let linears = [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", 32, WIDTH),
            ("output.dense", WIDTH, 32),
        ];
        for (name, outputs, inputs) in linears {
            add(format!("{place}.{name}.weight"), &[outputs, inputs], 0.3, 0.0);
            add(format!("{place}.{name}.bias"), &[outputs], 0.1, 0.0);
        }
        norms.push(format!("{place}.attention.output.LayerNorm"));
        norms.push(format!("{place}.output.LayerNorm"));
    }
    for norm in norms {
        add(format!("{norm}.weight"), &[WIDTH], 0.1, 1.0);
        add(format!("{norm}.bias"), &[WIDTH], 0.1, 0.0);
    }
    weights
}
