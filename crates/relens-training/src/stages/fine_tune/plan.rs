//! What a run will need, before it begins. Nothing is trained; where the weights are not there, sizes are enough.

use std::path::Path;

use relens::dataset::Dataset;
use relens_models::dual_encoder::architecture::{Architecture, open_weights, weight_files};
use relens_models::weights::Weights;

use super::config::{FineTuneConfig, FineTunedPart};
use super::network::part_of;
use super::tower_sizes::{TowerSizes, image_tower, text_tower};
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
