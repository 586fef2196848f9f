//! A directory with everything that the stage reads: pictures of two colours, captions that name them, two towers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use image::{Rgb, RgbImage};
use relens_models::towers::efficientnet::EfficientNetConfig;
use relens_models::weights::{ElementType, Weights, save_tensors};
use relens_training::random;
use relens_training::stages::retriever::RetrieverConfig;
use serde_json::json;

const SIDE: u32 = 32;
const TRAINING: usize = 16;
const VALIDATION: usize = 6;
const COLORS: [(&str, [u8; 3]); 6] = [
    ("red", [220, 30, 30]),
    ("green", [30, 200, 40]),
    ("blue", [30, 40, 220]),
    ("white", [240, 240, 240]),
    ("black", [10, 10, 10]),
    ("yellow", [230, 220, 40]),
];
const WIDTH: usize = 16;

/// The files of one test.
pub(crate) struct World {
    directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(world.path("images")).unwrap();
        std::fs::create_dir_all(world.path("bert")).unwrap();
        world.write_dataset();
        save(&world.path("trunk.safetensors"), trunk_shapes());
        save(&world.path("bert/model.safetensors"), bert_shapes());
        std::fs::write(world.path("bert/config.json"), bert_config()).unwrap();
        std::fs::write(world.path("bert/tokenizer.json"), tokenizer()).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A run of two phases: heads, then heads and the end of the trunk.
    pub(crate) fn config(&self, output: &str) -> RetrieverConfig {
        let text = format!(
            r#"
            output = {output:?}
            seed = 5
            [data]
            annotations = {annotations:?}
            images = {images:?}
            [model]
            image_weights = {trunk:?}
            text_tower = {bert:?}
            context_length = 12
            embed_dim = 8
            [model.preprocess]
            size = {SIDE}
            mean = [0.5, 0.5, 0.5]
            std = [0.5, 0.5, 0.5]
            interpolation = "bicubic"
            resize_mode = "squash"
            [views]
            crops = 1
            [cache]
            directory = {cache:?}
            [[phase]]
            name = "heads"
            epochs = 2
            batch_size = 8
            learning_rate = 0.01
            [[phase]]
            name = "trunk"
            train = ["image-head", "text-head", "logit-scale", "image-trunk"]
            start = "last"
            image_trunk_from = "6.0"
            image_chunk = 3
            epochs = 2
            batch_size = 8
            weight_average = 0.0
            learning_rate = 0.01
            image_trunk_rate = 1.0
            "#,
            output = self.path(output),
            annotations = self.path("dataset.json"),
            images = self.path("images"),
            trunk = self.path("trunk.safetensors"),
            bert = self.path("bert"),
            cache = self.path("cache"),
        );
        let path = self.path(&format!("{output}.toml"));
        std::fs::write(&path, text).unwrap();
        RetrieverConfig::read(&path).unwrap()
    }

    /// A tensor of the trunk before training.
    pub(crate) fn trunk_values(&self, name: &str) -> Vec<f32> {
        let weights = Weights::open(self.path("trunk.safetensors")).unwrap();
        weights.stored(name, weights.shape(name).unwrap()).unwrap().to_f32().unwrap()
    }

    pub(crate) fn training(&self) -> impl Iterator<Item = PathBuf> {
        (0..TRAINING).map(|index| self.path("images").join(picture_name(index)))
    }

    pub(crate) fn validation(&self) -> impl Iterator<Item = PathBuf> {
        (TRAINING..TRAINING + VALIDATION).map(|index| self.path("images").join(picture_name(index)))
    }

    pub(crate) fn validation_captions(&self) -> Vec<String> {
        (TRAINING..TRAINING + VALIDATION).flat_map(captions).collect()
    }

    fn write_dataset(&self) {
        let images: Vec<_> = (0..TRAINING + VALIDATION)
            .map(|index| {
                let [(_, left), (_, right)] = colors(index);
                let picture = RgbImage::from_fn(SIDE, SIDE, |x, y| {
                    let color = if x < SIDE / 2 { left } else { right };
                    Rgb(color.map(|channel| channel.saturating_sub(((x * y + index as u32) % 17) as u8)))
                });
                picture.save(self.path("images").join(picture_name(index))).unwrap();
                let split = if index < TRAINING { "train" } else { "val" };
                let sentences: Vec<_> = captions(index)
                    .into_iter()
                    .map(|raw| json!({"raw": raw, "imgid": index, "tokens": []}))
                    .collect();
                json!({"filename": picture_name(index), "imgid": index, "split": split, "sentences": sentences})
            })
            .collect();
        let text = json!({"dataset": "colors", "images": images}).to_string();
        std::fs::write(self.path("dataset.json"), text).unwrap();
    }
}

fn picture_name(index: usize) -> String {
    format!("picture{index}.png")
}

/// The left and the right colour of a picture.
fn colors(index: usize) -> [(&'static str, [u8; 3]); 2] {
    [COLORS[index % COLORS.len()], COLORS[(index / COLORS.len() + index + 1) % COLORS.len()]]
}

fn captions(index: usize) -> Vec<String> {
    let [(left, _), (right, _)] = colors(index);
    vec![format!("{left} beside {right}"), format!("left {left} right {right}")]
}

/// Name, shape, and the range of random values around an offset.
type Shapes = Vec<(String, Vec<usize>, f32, f32)>;

fn save(path: &Path, shapes: Shapes) {
    let tensors: BTreeMap<String, Tensor> = shapes
        .into_iter()
        .map(|(name, shape, scale, offset)| {
            let mut values = vec![0f32; shape.iter().product()];
            random::fill_normal(&mut values, &mut random::stream(1, &name, 0));
            let values: Vec<f32> =
                values.iter().map(|value| offset + scale * value.clamp(-2.0, 2.0)).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect();
    save_tensors(path, &tensors, ElementType::F32).unwrap();
}

fn normalization(shapes: &mut Shapes, place: &str, channels: usize) {
    for (name, scale, offset) in
        [("weight", 0.1, 1.0), ("bias", 0.1, 0.2), ("running_mean", 0.1, 0.0), ("running_var", 0.1, 1.0)]
    {
        shapes.push((format!("{place}.{name}"), vec![channels], scale, offset));
    }
}

fn convolution(shapes: &mut Shapes, name: &str, shape: [usize; 4]) {
    let inputs = shape[1] * shape[2] * shape[3];
    shapes.push((format!("{name}.weight"), shape.to_vec(), (2.0 / inputs as f32).sqrt(), 0.0));
}

/// All tensors of timm's `tf_efficientnet_lite0`.
fn trunk_shapes() -> Shapes {
    let config = EfficientNetConfig::from_timm_name("tf_efficientnet_lite0").unwrap();
    let mut shapes = Shapes::new();
    convolution(&mut shapes, "conv_stem", [config.stem_channels, 3, 3, 3]);
    normalization(&mut shapes, "bn1", config.stem_channels);
    for block in &config.blocks {
        let place = format!("blocks.{}.{}", block.stage, block.position);
        let (inner, kernel) = (block.expanded(), block.kernel);
        let depthwise = [inner, 1, kernel, kernel];
        if block.expansion == 1 {
            convolution(&mut shapes, &format!("{place}.conv_dw"), depthwise);
            convolution(&mut shapes, &format!("{place}.conv_pw"), [block.outputs, inner, 1, 1]);
        } else {
            convolution(&mut shapes, &format!("{place}.conv_pw"), [inner, block.inputs, 1, 1]);
            convolution(&mut shapes, &format!("{place}.conv_dw"), depthwise);
            convolution(&mut shapes, &format!("{place}.conv_pwl"), [block.outputs, inner, 1, 1]);
            normalization(&mut shapes, &format!("{place}.bn3"), block.outputs);
        }
        normalization(&mut shapes, &format!("{place}.bn1"), inner);
        let second = if block.expansion == 1 { block.outputs } else { inner };
        normalization(&mut shapes, &format!("{place}.bn2"), second);
    }
    let last = config.channels_before(config.blocks.len());
    convolution(&mut shapes, "conv_head", [config.head_channels, last, 1, 1]);
    normalization(&mut shapes, "bn2", config.head_channels);
    shapes
}

fn vocabulary() -> Vec<&'static str> {
    let mut words = vec!["[UNK]", "beside", "left", "right"];
    words.extend(COLORS.iter().map(|(name, _)| *name));
    words
}

fn tokenizer() -> String {
    let vocabulary: serde_json::Map<_, _> =
        vocabulary().into_iter().enumerate().map(|(id, word)| (word.to_owned(), json!(id))).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    })
    .to_string()
}

fn bert_config() -> String {
    json!({
        "vocab_size": vocabulary().len(), "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH, "max_position_embeddings": 16, "model_type": "bert", "hidden_act": "gelu",
    })
    .to_string()
}

fn bert_shapes() -> Shapes {
    let mut shapes = Shapes::new();
    for (table, rows) in [("word", vocabulary().len()), ("position", 16), ("token_type", 2)] {
        shapes.push((format!("embeddings.{table}_embeddings.weight"), vec![rows, WIDTH], 0.5, 0.0));
    }
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..2 {
        let place = format!("encoder.layer.{layer}");
        for (name, outputs, inputs) in [
            ("attention.self.query", WIDTH, WIDTH),
            ("attention.self.key", WIDTH, WIDTH),
            ("attention.self.value", WIDTH, WIDTH),
            ("attention.output.dense", WIDTH, WIDTH),
            ("intermediate.dense", 2 * WIDTH, WIDTH),
            ("output.dense", WIDTH, 2 * WIDTH),
        ] {
            shapes.push((format!("{place}.{name}.weight"), vec![outputs, inputs], 0.2, 0.0));
            shapes.push((format!("{place}.{name}.bias"), vec![outputs], 0.1, 0.0));
        }
        norms.push(format!("{place}.attention.output.LayerNorm"));
        norms.push(format!("{place}.output.LayerNorm"));
    }
    for norm in norms {
        shapes.push((format!("{norm}.weight"), vec![WIDTH], 0.1, 1.0));
        shapes.push((format!("{norm}.bias"), vec![WIDTH], 0.1, 0.0));
    }
    shapes
}
