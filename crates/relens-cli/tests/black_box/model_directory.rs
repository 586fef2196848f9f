//! A retriever with random weights: the real architecture and file layout, small enough to be written by a test.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

/// Components of the model's vectors.
pub(crate) const DIM: usize = 32;
/// Width of the text tower.
const WIDTH: usize = 32;
/// The words that the tokenizer knows; the rest is spelled letter by letter.
const WORDS: [&str; 12] =
    ["a", "the", "cat", "dog", "red", "blue", "green", "picture", "of", "two", "on", "square"];

/// Writes a model directory in the open_clip layout. Another `seed` gives another model.
pub(crate) fn write(directory: &Path, seed: u64) {
    fs_err::create_dir_all(directory).unwrap();
    let vocabulary = vocabulary();
    let mut tensors = Tensors::new(seed);
    tensors.image_tower();
    tensors.text_tower(vocabulary.len());
    tensors.constant("logit_scale", &[], 100f32.ln());
    fs_err::write(directory.join("open_clip_model.safetensors"), tensors.serialized()).unwrap();
    write_json(directory, "open_clip_config.json", &configuration());
    write_json(directory, "config.json", &text_configuration(vocabulary.len()));
    write_json(directory, "tokenizer.json", &tokenizer(&vocabulary));
}

fn write_json(directory: &Path, name: &str, value: &serde_json::Value) {
    fs_err::write(directory.join(name), serde_json::to_string_pretty(value).unwrap()).unwrap();
}

fn configuration() -> serde_json::Value {
    json!({
        "model_cfg": {
            "embed_dim": DIM,
            "vision_cfg": {
                "timm_model_name": "tf_efficientnet_lite0", "timm_model_pretrained": false,
                "timm_pool": "avg", "timm_proj": "linear", "image_size": 64,
            },
            "text_cfg": {
                "hf_model_name": "tiny", "hf_model_pretrained": false, "hf_tokenizer_name": "tiny",
                "hf_pooler_type": "mean_pooler", "hf_proj_type": "linear", "context_length": 24,
            },
        },
        "preprocess_cfg": {
            "size": 64, "mode": "RGB", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic", "resize_mode": "squash", "fill_color": 0,
        },
    })
}

fn text_configuration(vocabulary_size: usize) -> serde_json::Value {
    json!({
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 2, "num_hidden_layers": 1,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 32, "type_vocab_size": 2,
        "vocab_size": vocabulary_size, "pad_token_id": 0, "position_embedding_type": "absolute",
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
    })
}

fn vocabulary() -> Vec<String> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let letters =
        ('a'..='z').chain('0'..='9').filter(|letter| *letter != 'a').map(|letter| letter.to_string());
    let pieces = ('a'..='z').chain('0'..='9').map(|letter| format!("##{letter}"));
    special.into_iter().chain(WORDS.map(str::to_owned)).chain(letters).chain(pieces).collect()
}

fn tokenizer(vocabulary: &[String]) -> serde_json::Value {
    let ids: HashMap<&str, usize> =
        vocabulary.iter().enumerate().map(|(id, word)| (word.as_str(), id)).collect();
    let special = |name: &str| {
        json!({ "id": ids[name], "content": name, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false })
    };
    let added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(special);
    let token = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let sequence = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                        "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), sequence, token("[SEP]")],
            "pair": [token("[CLS]"), sequence, token("[SEP]"), { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": {
                "[CLS]": { "id": "[CLS]", "ids": [ids["[CLS]"]], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [ids["[SEP]"]], "tokens": ["[SEP]"] },
            },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 100, "vocab": ids },
    })
}

/// Tensors by name, with values from a small generator, so that equal seeds give equal files.
struct Tensors {
    state: u64,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
}

impl Tensors {
    fn new(seed: u64) -> Self {
        Self { state: seed, tensors: BTreeMap::new() }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), as a number between -1 and 1.
    fn next(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn insert(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = f32>) {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>(), "{name}");
        self.tensors.insert(name.to_owned(), (shape.to_vec(), bytes));
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) {
        self.insert(name, shape, std::iter::repeat_n(value, shape.iter().product()));
    }

    /// Uniform values whose variance keeps the size of what passes through (He et al. 2015).
    fn weight(&mut self, name: &str, shape: &[usize]) {
        let fan_in: usize = shape.iter().skip(1).product();
        let bound = (6.0 / fan_in as f32).sqrt();
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| bound * self.next()).collect();
        self.insert(name, shape, values.into_iter());
    }

    fn batch_norm(&mut self, name: &str, channels: usize) {
        for (part, value) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            self.constant(&format!("{name}.{part}"), &[channels], value);
        }
    }

    fn layer_norm(&mut self, name: &str) {
        self.constant(&format!("{name}.weight"), &[WIDTH], 1.0);
        self.constant(&format!("{name}.bias"), &[WIDTH], 0.0);
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.weight(&format!("{name}.weight"), &[outputs, inputs]);
        self.constant(&format!("{name}.bias"), &[outputs], 0.0);
    }

    /// timm's `tf_efficientnet_lite0`, and open_clip's linear head.
    fn image_tower(&mut self) {
        let trunk = "visual.trunk";
        self.weight(&format!("{trunk}.conv_stem.weight"), &[32, 3, 3, 3]);
        self.batch_norm(&format!("{trunk}.bn1"), 32);
        self.weight(&format!("{trunk}.blocks.0.0.conv_dw.weight"), &[32, 1, 3, 3]);
        self.batch_norm(&format!("{trunk}.blocks.0.0.bn1"), 32);
        self.weight(&format!("{trunk}.blocks.0.0.conv_pw.weight"), &[16, 32, 1, 1]);
        self.batch_norm(&format!("{trunk}.blocks.0.0.bn2"), 16);
        // (repeats, kernel, channels) of each stage of inverted residuals, all expanding six-fold.
        let stages = [(2, 3, 24), (2, 5, 40), (3, 3, 80), (3, 5, 112), (4, 5, 192), (1, 3, 320)];
        let mut channels = 16;
        for (stage, (repeats, kernel, outputs)) in stages.into_iter().enumerate() {
            for block in 0..repeats {
                let name = format!("{trunk}.blocks.{}.{block}", stage + 1);
                let expanded = 6 * channels;
                self.weight(&format!("{name}.conv_pw.weight"), &[expanded, channels, 1, 1]);
                self.batch_norm(&format!("{name}.bn1"), expanded);
                self.weight(&format!("{name}.conv_dw.weight"), &[expanded, 1, kernel, kernel]);
                self.batch_norm(&format!("{name}.bn2"), expanded);
                self.weight(&format!("{name}.conv_pwl.weight"), &[outputs, expanded, 1, 1]);
                self.batch_norm(&format!("{name}.bn3"), outputs);
                channels = outputs;
            }
        }
        self.weight(&format!("{trunk}.conv_head.weight"), &[1280, channels, 1, 1]);
        self.batch_norm(&format!("{trunk}.bn2"), 1280);
        self.weight("visual.head.proj.weight", &[DIM, 1280]);
    }

    /// A BERT of one layer with Hugging Face's names, and open_clip's linear projection.
    fn text_tower(&mut self, vocabulary_size: usize) {
        let tower = "text.transformer";
        for (part, rows) in [("word", vocabulary_size), ("position", 32), ("token_type", 2)] {
            self.weight(&format!("{tower}.embeddings.{part}_embeddings.weight"), &[rows, WIDTH]);
        }
        self.layer_norm(&format!("{tower}.embeddings.LayerNorm"));
        let layer = format!("{tower}.encoder.layer.0");
        for part in ["query", "key", "value"] {
            self.linear(&format!("{layer}.attention.self.{part}"), WIDTH, WIDTH);
        }
        self.linear(&format!("{layer}.attention.output.dense"), WIDTH, WIDTH);
        self.layer_norm(&format!("{layer}.attention.output.LayerNorm"));
        self.linear(&format!("{layer}.intermediate.dense"), WIDTH, 2 * WIDTH);
        self.linear(&format!("{layer}.output.dense"), 2 * WIDTH, WIDTH);
        self.layer_norm(&format!("{layer}.output.LayerNorm"));
        self.weight("text.proj.weight", &[DIM, WIDTH]);
    }

    fn serialized(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (shape, bytes))| {
            (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }
}
