//! What a run will need, before it begins. Nothing is trained; where the weights are not there, sizes are enough:
//! how large towers are, and roughly what one picture or text costs in them.

use std::path::Path;

use relens::dataset::Dataset;
use relens_models::dual_encoder::architecture::{
    Architecture, ImageTowerConfig, TextTowerConfig, open_weights, weight_files,
};
use relens_models::weights::Weights;

use super::network::part_of;
use super::{FineTuneConfig, FineTunedPart};
use crate::stages::rewriter::Plan;
use crate::stages::rewriter::plan::{available_memory, operations_per_second};
use crate::{Result, TrainingError};

/// Tokens of a caption's word, roughly, and those around a text.
const TOKENS_PER_WORD: f64 = 1.3;
const TOKENS_AROUND: f64 = 2.0;
/// Words of a caption where the annotations are not there.
const WORDS: f64 = 12.0;
/// Captions whose length is looked at.
const CAPTIONS: usize = 500;
/// Share of a large product's speed that a whole training step reaches.
const EFFICIENCY: f64 = 0.5;

/// Captions of the training split, and their mean length in words.
struct Captions {
    count: Option<usize>,
    words: f64,
}

/// Makes the plan for the model in `directory`.
///
/// # Errors
/// A setting outside its range; a configuration that is missing or malformed; weights that are neither there nor
/// countable from the configuration.
pub fn plan(config: &FineTuneConfig, directory: &Path) -> Result<Plan> {
    config.check()?;
    let architecture = Architecture::describe(directory)?;
    let files = weight_files(directory).map_or(0, |files| files.len());
    let weights = if files == 0 { None } else { Some(open_weights(directory)?) };
    let counted = |part| weights.as_ref().map(|weights| count(weights, &architecture, part));
    let captions = captions(config);
    let image = image_tower(&architecture, counted(FineTunedPart::ImageTower));
    let text = text_tower(&architecture, captions.words * TOKENS_PER_WORD + TOKENS_AROUND);
    let of = |tower: &TowerSizes, part: FineTunedPart| -> Result<u64> {
        counted(part).or(tower.parameters).ok_or_else(|| {
            let expected = "weights, or a transformer's configuration, to count parameters by";
            TrainingError::setting("model.start_from", expected, &config.model.start_from)
        })
    };
    let towers = [
        (of(&image, FineTunedPart::ImageTower)?, FineTunedPart::ImageTower),
        (of(&text, FineTunedPart::TextTower)?, FineTunedPart::TextTower),
    ];
    // Projections are small beside their towers; where they cannot be counted they are left out.
    let projections = [FineTunedPart::ImageProjection, FineTunedPart::TextProjection]
        .map(|part| (counted(part).unwrap_or(0), part));
    let all = towers.iter().chain(&projections);
    let parameters: u64 = all.clone().map(|(count, _)| count).sum();
    let trained: u64 = all.filter(|(_, part)| config.model.trains(*part)).map(|(count, _)| count).sum();
    let settings = &config.optimization;
    let chunk =
        |size: usize| if size == 0 { settings.batch_size } else { size.min(settings.batch_size) } as f64;
    let kept =
        |trained: bool, tower: &TowerSizes, size| if trained { chunk(size) * tower.activations } else { 0.0 };
    let activations = kept(config.model.trains_images(), &image, settings.image_chunk).max(kept(
        config.model.trains_texts(),
        &text,
        settings.text_chunk,
    ));
    let pictures = settings.batch_size * architecture.image.tower.image_size().pow(2) * 3 * 4;
    let steps = captions.count.map(|count| {
        let all = (count / settings.batch_size.clamp(1, count.max(1))) as u64 * settings.epochs;
        if settings.max_steps == 0 { all } else { all.min(settings.max_steps) }
    });
    // Forward 2 operations a multiplication, backward 4, the gradient cache's first pass another 2.
    let cost = |trained: bool, tower: &TowerSizes| if trained { 8.0 * tower.multiplications } else { 0.0 };
    let per_pair = cost(config.model.trains_images(), &image) + cost(config.model.trains_texts(), &text);
    let speed = operations_per_second()? * EFFICIENCY;
    let batch = settings.batch_size as f64;
    Ok(Plan {
        stage: "fine-tune".to_owned(),
        model: directory.display().to_string(),
        weight_files: files,
        parameters,
        trained,
        // f32: the file as it is mapped; of what is trained the variables, Adam's two moments, the gradients' sum and
        // those of one chunk, and a copy of variables and moments while a checkpoint is written.
        memory: parameters * 4 + trained * (4 + 8 + 8 + 12) + activations as u64 + pictures as u64,
        available_memory: available_memory(),
        examples: captions.count,
        steps,
        updates: steps,
        tokens_per_update: (batch * (image.tokens + text.tokens)) as u64,
        seconds: steps.map(|steps| steps as f64 * batch * per_pair / speed),
    })
}

fn count(weights: &Weights, architecture: &Architecture, part: FineTunedPart) -> u64 {
    let belongs = |name: &&str| part_of(name, &architecture.image, &architecture.text) == Some(part);
    let size = |name: &str| weights.shape(name).unwrap_or_default().iter().product::<usize>() as u64;
    weights.names().filter(belongs).map(size).sum()
}

fn captions(config: &FineTuneConfig) -> Captions {
    let read = || {
        let dataset = Dataset::open(&config.data.annotations, &config.data.images).ok()?;
        let split = dataset.split(&config.data.train_split).ok()?;
        let lengths: Vec<usize> =
            split.captions().take(CAPTIONS).map(|(_, caption)| caption.split_whitespace().count()).collect();
        let words = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
        Some(Captions { count: Some(split.caption_count()), words })
    };
    read().unwrap_or(Captions { count: None, words: WORDS })
}

/// Bytes kept for the backward pass, for each token, layer and unit of width, in f32: twice the 34 of Korthikanti et al.
/// 2022 (arXiv 2205.05198), table 2, which are for 16 bits.
const ACTIVATION_BYTES: f64 = 68.0;
/// Positions that a convolution's weight is used at, as a multiple of those of the last feature map: RN50's 4.1 G
/// multiplications of 23.5 M weights at 49 positions, EfficientNet's somewhat less.
const POSITIONS: f64 = 3.6;
/// Values that a convolutional tower keeps for the backward pass, for each pixel of the picture: RN50's stages keep about
/// ten million for 224 × 224, each before and after its activation.
const VALUES_PER_PIXEL: f64 = 400.0;

/// A tower's size and what one input costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct TowerSizes {
    /// Weights; known without the file for transformers only.
    pub(super) parameters: Option<u64>,
    /// Weights that each token is multiplied by, by tokens.
    pub(super) multiplications: f64,
    /// Bytes that the backward pass needs.
    pub(super) activations: f64,
    /// Tokens, or positions of the last feature map.
    pub(super) tokens: f64,
}

struct Transformer {
    layers: usize,
    width: usize,
    feed_forward: usize,
    /// Matrices of the feed-forward part.
    feed_forward_maps: usize,
    /// Weights outside the blocks.
    tables: usize,
}

impl Transformer {
    fn block(&self) -> usize {
        let Self { width, feed_forward, feed_forward_maps, .. } = self;
        // Four maps with bias of the attention, the feed-forward part, two norms.
        4 * (width * width + width)
            + feed_forward_maps * width * feed_forward
            + feed_forward
            + width
            + 4 * width
    }

    fn sizes(&self, tokens: f64) -> TowerSizes {
        let in_blocks = self.layers * self.block();
        TowerSizes {
            parameters: Some((in_blocks + self.tables) as u64),
            multiplications: in_blocks as f64 * tokens,
            activations: tokens * (self.layers * self.width) as f64 * ACTIVATION_BYTES,
            tokens,
        }
    }
}

/// Of the image tower; `parameters` are those of its file, if it is there.
pub(super) fn image_tower(architecture: &Architecture, parameters: Option<u64>) -> TowerSizes {
    let tower = &architecture.image.tower;
    match tower {
        ImageTowerConfig::VisionTransformer(config) => Transformer {
            layers: config.layers,
            width: config.width,
            feed_forward: config.feed_forward_width,
            feed_forward_maps: 2,
            tables: (3 * config.patch_size * config.patch_size + config.tokens() + 5) * config.width,
        }
        .sizes(config.tokens() as f64),
        ImageTowerConfig::Eva02(config) => {
            let side = config.image_size / config.patch_size.max(1);
            Transformer {
                layers: config.layers,
                width: config.width,
                feed_forward: config.feed_forward_width,
                feed_forward_maps: 3,
                tables: (3 * config.patch_size * config.patch_size + side * side + 5) * config.width,
            }
            .sizes((side * side + 1) as f64)
        }
        _ => {
            let side = tower.image_size() as f64;
            let positions = (side / 32.0) * (side / 32.0);
            TowerSizes {
                parameters,
                multiplications: parameters.unwrap_or(0) as f64 * positions * POSITIONS,
                activations: side * side * VALUES_PER_PIXEL * 4.0,
                tokens: positions,
            }
        }
    }
}

/// Of the text tower, for texts of so many tokens.
pub(super) fn text_tower(architecture: &Architecture, tokens: f64) -> TowerSizes {
    match &architecture.text.tower {
        TextTowerConfig::Bert(config, _) => Transformer {
            layers: config.num_hidden_layers,
            width: config.hidden_size,
            feed_forward: config.intermediate_size,
            feed_forward_maps: 2,
            tables: (config.vocab_size + config.max_position_embeddings + 4) * config.hidden_size,
        },
        TextTowerConfig::Transformer(config) => Transformer {
            layers: config.layers,
            width: config.width,
            feed_forward: config.feed_forward_width,
            feed_forward_maps: 2,
            tables: (config.vocabulary_size + config.context_length + 2) * config.width,
        },
        // Towers that are still to come are planned as if they cost nothing; their weights are counted from the file.
        _ => Transformer { layers: 0, width: 0, feed_forward: 0, feed_forward_maps: 0, tables: 0 },
    }
    .sizes(tokens)
}
