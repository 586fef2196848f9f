//! The finished model: an open_clip directory, f16, with the standardisation inside its weights.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use relens::embed::embeddings::Embeddings;
use relens_models::atomic_file::write_atomically;
use relens_models::dual_encoder::architecture::Projection;
use relens_models::dual_encoder::{CONFIG_FILE, DualEncoder, TEXT_CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE};
use relens_models::ops::l2_normalize;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::{ElementType, tensors_to_bytes};
use serde_json::{Map, Value};

use super::network::Network;
use super::training_data::TrainingData;
use super::validation::{RetrievalMeasurement, append};
use crate::Result;
use crate::run::finished_model::publish;

/// Rows that are embedded at once.
const ROWS: usize = 64;

/// Writes the model and measures what was written.
pub(super) fn export(run: &Path, data: &TrainingData, network: &Network) -> Result<Map<String, Value>> {
    publish(run, |directory| {
        fs_err::create_dir_all(directory)?;
        let weights = tensors_to_bytes(&exported_weights(data, network)?, ElementType::F16)?;
        write_atomically(&directory.join(WEIGHTS_FILE), &weights)?;
        write_atomically(&directory.join(CONFIG_FILE), data.pretrained.config.to_json()?.as_bytes())?;
        for (name, source) in [
            (TEXT_CONFIG_FILE, &data.pretrained.text_config_path),
            (TOKENIZER_FILE, &data.pretrained.tokenizer_path),
        ] {
            write_atomically(&directory.join(name), &fs_err::read(source)?)?;
        }
        measure(directory, data)
    })
}

/// All tensors in the checkpoint's layout: what was trained replaces what training began with.
fn exported_weights(data: &TrainingData, network: &Network) -> Result<BTreeMap<String, Tensor>> {
    let mut weights = BTreeMap::new();
    for name in data.weights.names() {
        let shape = data.weights.shape(name).unwrap_or_default();
        weights.insert(name.to_owned(), data.weights.tensor(name, shape)?);
    }
    let layouts = network.layouts();
    for (name, value) in network.variables()? {
        let stored = match layouts.get(&name) {
            Some(layout) => layout.to_stored(&value)?,
            None => value,
        };
        weights.insert(name, stored);
    }
    if let Some(layer) = data.pretrained.first_image_layer() {
        network.image_standardization().fold_into_linear(&mut weights, layer)?;
    }
    Ok(weights)
}

/// Recall of the model in `directory`, on what is cached of the trunk's frozen part, and its own text tower.
fn measure(directory: &Path, data: &TrainingData) -> Result<Map<String, Value>> {
    let encoder = DualEncoder::open(directory)?;
    let images = exported_images(&encoder, data)?;
    let texts: Vec<&str> = data
        .corpus
        .validation()
        .iter()
        .flat_map(|picture| picture.captions.iter().map(|&text| data.corpus.texts[text].as_str()))
        .collect();
    let mut captions = Embeddings::new(encoder.embed_dim());
    for chunk in texts.chunks(ROWS) {
        append(&mut captions, &encoder.encode_text(&data.tokenizer.encode_batch(chunk)?)?)?;
    }
    Ok(RetrievalMeasurement::of(&data.corpus, images, captions)?.metrics())
}

/// Embeddings of the validation pictures.
fn exported_images(encoder: &DualEncoder, data: &TrainingData) -> Result<Embeddings> {
    let rows = &data.image_views[0];
    let model = &data.pretrained.config.model_cfg;
    let parameters = encoder.parameters();
    let head = Projection::load(parameters, &model.image_projection(), rows.width(), model.embed_dim)?;
    let live = match &data.feature_maps {
        Some(maps) => {
            let config = EfficientNetConfig::from_timm_name(&model.vision_cfg.timm_model_name)?;
            Some((maps, EfficientNet::new(config, &parameters.pp("visual.trunk"))?))
        }
        None => None,
    };
    let mut images = Embeddings::new(encoder.embed_dim());
    let (mut start, end) = (data.corpus.training_pictures, rows.rows());
    while start < end {
        let stop = (start + ROWS).min(end);
        let features = match &live {
            Some((maps, trunk)) => trunk.pooled_from(&maps.full(start..stop)?, maps.block)?,
            None => Tensor::from_vec(rows.to_f32(start..stop), (stop - start, rows.width()), &Device::Cpu)?,
        };
        append(&mut images, &l2_normalize(&head.forward(&features)?)?)?;
        start = stop;
    }
    Ok(images)
}
