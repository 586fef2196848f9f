//! The dual encoder as training sees it: its parts one by one, some of their tensors variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};
use rand_chacha::ChaCha8Rng;
use relens_models::dual_encoder::architecture::Projection;
use relens_models::ops::{l2_normalize, mean_pool};
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use relens_models::towers::bert::BertModel;
use relens_models::towers::efficientnet::{EfficientNet, EfficientNetConfig};
use relens_models::weights::{StoredLayout, TrainableParameters, Weights};

use super::assembly::Pretrained;
use super::config::{PhaseConfig, TrainedPart};
use super::standardization::Standardization;
use crate::optimizer::NamedParameter;
use crate::run::trainer::set_variable;
use crate::{Result, TrainingError};

/// The parts that training computes with.
pub(super) struct Network {
    /// The trunk, if any phase trains its last blocks.
    image_trunk: Option<EfficientNet>,
    image_head: Projection,
    text_tower: BertModel,
    text_projection: Projection,
    logit_scale: Var,
    trainable: Arc<TrainableParameters>,
    image_standardization: Standardization,
    text_layers: usize,
}

impl Network {
    /// Builds the parts on `weights`; whatever any phase trains becomes a variable.
    pub(super) fn new(
        pretrained: &Pretrained,
        weights: Weights,
        image_standardization: Standardization,
        phases: &[PhaseConfig],
    ) -> Result<Self> {
        let text_layers = pretrained.text_config.num_hidden_layers;
        let all = phases.to_vec();
        let selects = move |name: &str| {
            name == "logit_scale" || all.iter().any(|phase| rate(phase, name, text_layers).is_some())
        };
        let (parameters, trainable) = Parameters::trainable(weights, selects);
        let model = &pretrained.config.model_cfg;
        let features = image_standardization.mean.len();
        let text = parameters.pp("text");
        let width = pretrained.text_config.hidden_size;
        let projection = |config, features| Projection::load(&parameters, config, features, model.embed_dim);
        let trains_trunk = phases.iter().any(|phase| phase.trains(TrainedPart::ImageTrunk));
        let trunk = EfficientNetConfig::from_timm_name(&model.vision_cfg.timm_model_name)?;
        let network = Self {
            image_trunk: trains_trunk
                .then(|| EfficientNet::new(trunk, &parameters.pp("visual.trunk")))
                .transpose()?,
            image_head: projection(&model.image_projection(), features)?,
            text_tower: BertModel::load(&text.pp("transformer"), &pretrained.text_config)?,
            text_projection: projection(&model.text_projection(width), width)?,
            logit_scale: variable(&parameters, &trainable, "logit_scale")?,
            trainable,
            image_standardization,
            text_layers,
        };
        Ok(network)
    }

    /// The parameters that a phase trains, with their learning rates, sorted by name.
    pub(super) fn parameters(&self, phase: &PhaseConfig) -> Vec<NamedParameter> {
        self.trainable
            .entries()
            .into_iter()
            .filter_map(|(name, parameter)| {
                let rate = rate(phase, &name, self.text_layers)?;
                Some(NamedParameter::new(name, parameter.var).with_learning_rate_scale(rate))
            })
            .collect()
    }

    /// The present value of everything that any phase trains, as the optimizer sees it.
    pub(super) fn variables(&self) -> Result<BTreeMap<String, Tensor>> {
        self.trainable
            .entries()
            .into_iter()
            .map(|(name, parameter)| Ok((name, parameter.var.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Sets what [`Network::variables`] gave.
    pub(super) fn set_variables(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, parameter) in self.trainable.entries() {
            set_variable(&name, &parameter.var, values)?;
        }
        Ok(())
    }

    /// How the checkpoint lays out each variable.
    pub(super) fn layouts(&self) -> BTreeMap<String, StoredLayout> {
        self.trainable.entries().into_iter().map(|(name, parameter)| (name, parameter.layout)).collect()
    }

    /// The temperature's logarithm.
    pub(super) fn logit_scale(&self) -> &Var {
        &self.logit_scale
    }

    /// Mean and deviation of the image features that the head expects to be taken out.
    pub(super) fn image_standardization(&self) -> &Standardization {
        &self.image_standardization
    }

    /// Feature maps through the live end of the trunk to standardised features: `[pictures, rows, columns, channels]`
    /// to `[pictures, features]`.
    pub(super) fn image_features(&self, maps: &Tensor, block: usize) -> Result<Tensor> {
        let trunk = self.image_trunk.as_ref().ok_or_else(|| {
            TrainingError::argument("Network::image_features", "a phase that trains the trunk", "none")
        })?;
        self.image_standardization.apply_to_tensor(&trunk.pooled_from(maps, block)?)
    }

    /// Standardised image features to embeddings: `[rows, features]` to `[rows, embed_dim]`.
    pub(super) fn embed_image_features(&self, features: &Tensor) -> Result<Tensor> {
        Ok(l2_normalize(&self.image_head.forward(features)?)?)
    }

    /// Pooled text features to embeddings: `[rows, width]` to `[rows, embed_dim]`.
    pub(super) fn embed_text_features(&self, features: &Tensor) -> Result<Tensor> {
        Ok(l2_normalize(&self.text_projection.forward(features)?)?)
    }

    /// Tokens through the live tower to pooled features, with the tower's dropout if a generator is given.
    pub(super) fn text_features(
        &self,
        tokens: &TokenBatch,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Result<Tensor> {
        let hidden = match dropout {
            Some(generator) => self.text_tower.forward_training(tokens, generator)?,
            None => self.text_tower.forward(tokens)?,
        };
        Ok(mean_pool(&hidden, &tokens.offsets)?)
    }
}

fn variable(parameters: &Parameters, trainable: &TrainableParameters, name: &str) -> Result<Var> {
    parameters.tensor(name, &[])?;
    let found = trainable.entries().into_iter().find(|(entry, _)| entry == name);
    found.map(|(_, parameter)| parameter.var).ok_or_else(|| {
        TrainingError::argument("Network::new", format!("`{name}` among the variables"), "no such variable")
    })
}

/// The learning rate of a tensor in a phase, as a share of the heads'; `None` if the phase does not train it.
fn rate(phase: &PhaseConfig, name: &str, text_layers: usize) -> Option<f64> {
    let part = |part: TrainedPart, rate: f64| phase.trains(part).then_some(rate);
    if name == "logit_scale" {
        return part(TrainedPart::LogitScale, 1.0);
    }
    if name.starts_with("visual.head.") {
        return part(TrainedPart::ImageHead, 1.0);
    }
    if name.starts_with("text.proj.") {
        return part(TrainedPart::TextHead, 1.0);
    }
    if let Some(trunk) = name.strip_prefix("visual.trunk.") {
        let rate = part(TrainedPart::ImageTrunk, phase.image_trunk_rate)?;
        return trains_trunk_tensor(phase, trunk).then_some(rate);
    }
    let tower = name.strip_prefix("text.transformer.")?;
    let depth = text_tower_depth(phase, tower, text_layers)?;
    part(TrainedPart::TextTower, phase.text_tower_rate * phase.layer_decay.powi(depth))
}

/// Whether a tensor of the trunk lies behind the first trained block. Normalisation statistics stay what they were.
fn trains_trunk_tensor(phase: &PhaseConfig, name: &str) -> bool {
    if !(name.ends_with(".weight") || name.ends_with(".bias")) {
        return false;
    }
    match name.strip_prefix("blocks.") {
        Some(rest) => {
            let mut numbers = rest.split('.').map(|part| part.parse::<usize>().ok());
            let place = (numbers.next().flatten(), numbers.next().flatten());
            let (Some(stage), Some(block)) = place else { return false };
            phase.first_image_block().is_some_and(|first| (stage, block) >= first)
        }
        None => name.starts_with("conv_head.") || name.starts_with("bn2."),
    }
}

/// How many layers lie above a tensor of the text tower, if the phase trains its layer.
fn text_tower_depth(phase: &PhaseConfig, name: &str, layers: usize) -> Option<i32> {
    let depth = match name.strip_prefix("encoder.layer.") {
        Some(rest) => {
            let layer: usize = rest.split('.').next()?.parse().ok()?;
            let first = match phase.text_tower_layers {
                0 => 0,
                trained => layers.saturating_sub(trained),
            };
            if layer < first {
                return None;
            }
            layers.saturating_sub(layer + 1)
        }
        None if name.starts_with("embeddings.") && phase.text_tower_embeddings => layers,
        None => return None,
    };
    i32::try_from(depth).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_selects_its_parts_with_layer_wise_rates() {
        let phase = PhaseConfig {
            train: vec![TrainedPart::TextTower, TrainedPart::TextHead],
            text_tower_rate: 0.1,
            text_tower_layers: 2,
            layer_decay: 0.5,
            ..PhaseConfig::default()
        };
        let rate = |name: &str| rate(&phase, name, 6);
        assert_eq!(rate("text.proj.0.weight"), Some(1.0));
        assert_eq!(rate("text.transformer.encoder.layer.5.output.dense.bias"), Some(0.1));
        assert_eq!(rate("text.transformer.encoder.layer.4.output.dense.bias"), Some(0.05));
        assert_eq!(rate("text.transformer.encoder.layer.3.output.dense.bias"), None);
        assert_eq!(rate("text.transformer.embeddings.word_embeddings.weight"), None);
        assert_eq!(rate("visual.head.proj.weight"), None);
        assert_eq!(rate("logit_scale"), None);
    }

    #[test]
    fn a_phase_selects_the_end_of_the_trunk_without_statistics() {
        let phase = PhaseConfig {
            train: vec![TrainedPart::ImageTrunk],
            image_trunk_from: "5.2".into(),
            image_trunk_rate: 0.5,
            ..PhaseConfig::default()
        };
        let rate = |name: &str| rate(&phase, &format!("visual.trunk.{name}"), 6);
        for name in ["blocks.5.2.conv_pw.weight", "blocks.6.0.bn3.bias", "conv_head.weight", "bn2.weight"] {
            assert_eq!(rate(name), Some(0.5), "{name}");
        }
        for name in
            ["blocks.5.1.conv_pw.weight", "blocks.5.2.bn1.running_var", "bn1.weight", "conv_stem.weight"]
        {
            assert_eq!(rate(name), None, "{name}");
        }
    }
}
