//! The values of descriptions as they are learned; [`relens::enhancer::baselines::selection`] says what they are for.
//!
//! A weight is exp(θ), so that it stays above 0; all begin at 1. The information of a description is the mutual
//! information, over the pictures of the training split, of "a caption names the entity" and "the picture is among the
//! most similar to the description", as many of these as the entity has.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::{Device, Tensor, Var};
use relens::enhancer::baselines::selection::{DescriptionValue, DescriptionValues};
use relens_models::atomic_file::write_atomically;
use relens_models::layers::{Dropout, DropoutGenerator};
use relens_models::ops::{l2_normalize, mean_pool};

use super::VALUES_FILE;
use super::config::{SelectionNetworkConfig, SelectionTrainingConfig};
use super::described_data::DescribedData;
use super::run::{DescriptionBatch, DescriptionNetwork};
use crate::Result;
use crate::optimizer::{NamedParameter, ParameterOptions};

/// A weight for every description.
pub(super) struct SelectionNetwork {
    logarithms: Var,
    dropout: Dropout,
}

impl DescriptionNetwork for SelectionNetwork {
    type Network = SelectionNetworkConfig;

    fn new(config: &SelectionTrainingConfig, data: &DescribedData) -> Result<Self> {
        let count = data.descriptions.len();
        let logarithms = Var::from_tensor(&Tensor::full(0f32, count, &Device::Cpu)?)?;
        Ok(Self { logarithms, dropout: Dropout::new(config.training.dropout) })
    }

    fn embed(&self, batch: &DescriptionBatch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor> {
        let rows = self.dropout.forward(&batch.rows, generator)?;
        let places = Tensor::from_slice(&batch.descriptions, batch.descriptions.len(), &Device::Cpu)?;
        let weights = self.logarithms.index_select(&places, 0)?.exp()?.unsqueeze(1)?;
        Ok(l2_normalize(&mean_pool(&rows.broadcast_mul(&weights)?, &batch.offsets)?)?)
    }

    fn parameters(&self) -> Vec<NamedParameter> {
        let parameter = NamedParameter::new("description.log_weight", self.logarithms.clone());
        // Decay pulls weights to 1: a description that is hardly met counts as all others do.
        vec![NamedParameter { options: ParameterOptions { decay: true, ..parameter.options }, ..parameter }]
    }

    fn write(&self, data: &DescribedData, directory: &Path) -> Result<&'static str> {
        let weights = self.logarithms.as_detached_tensor().exp()?.to_vec1::<f32>()?;
        let information = information(data)?;
        let mut values = DescriptionValues::default();
        for (((entity, description), weight), information) in
            data.descriptions.iter().zip(weights).zip(information)
        {
            let [information, weight] = [information, weight].map(rounded);
            values.insert(entity, description, DescriptionValue { information, weight });
        }
        let mut text = serde_json::to_string_pretty(&values).map_err(std::io::Error::from)?;
        text.push('\n');
        write_atomically(&directory.join(VALUES_FILE), text.as_bytes())?;
        Ok(VALUES_FILE)
    }
}

/// Four digits are more than such values are good for.
fn rounded(value: f32) -> f32 {
    (value * 1e4).round() / 1e4
}

/// The mutual information of every description, in nats.
fn information(data: &DescribedData) -> Result<Vec<f32>> {
    let pictures_of = pictures_of_entities(data);
    let images = &data.training.images;
    let pictures = images.rows();
    let image_table = Tensor::from_slice(images.as_slice(), (pictures, images.dim()), &Device::Cpu)?;
    let scores = data.description_embeddings()?.matmul(&image_table.t()?)?;
    let mut information = Vec::with_capacity(data.descriptions.len());
    for (place, (entity, _)) in data.descriptions.iter().enumerate() {
        let own = pictures_of.get(entity.as_str());
        let scores = scores.get(place)?.to_vec1::<f32>()?;
        information.push(own.map_or(0.0, |own| mutual_information(&scores, own)));
    }
    Ok(information)
}

/// The training pictures whose captions name each entity.
fn pictures_of_entities(data: &DescribedData) -> HashMap<&str, HashSet<usize>> {
    let mut pictures: HashMap<&str, HashSet<usize>> = HashMap::new();
    for (picture, captions) in data.training.captions.iter().enumerate() {
        for &place in captions.iter().flat_map(|caption| &caption.descriptions) {
            if let Some((entity, _)) = data.descriptions.get(place as usize) {
                pictures.entry(entity).or_default().insert(picture);
            }
        }
    }
    pictures
}

/// I(X; Y) of X = the picture is of the entity, Y = it is among the |X| best scored.
pub(super) fn mutual_information(scores: &[f32], own: &HashSet<usize>) -> f32 {
    let (total, count) = (scores.len(), own.len().min(scores.len()));
    if count == 0 || count == total {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]).then(left.cmp(&right)));
    let both = order.iter().take(count).filter(|picture| own.contains(picture)).count();
    let (total, count, both) = (total as f64, count as f64, both as f64);
    let share = count / total;
    // Cells of the table: both, one of them (twice), neither.
    let cells = [
        (both / total, share * share),
        ((count - both) / total, share * (1.0 - share)),
        ((count - both) / total, share * (1.0 - share)),
        ((total - 2.0 * count + both) / total, (1.0 - share) * (1.0 - share)),
    ];
    let terms = cells.iter().filter(|(joint, _)| *joint > 0.0);
    terms.map(|(joint, independent)| joint * (joint / independent).ln()).sum::<f64>().max(0.0) as f32
}
