//! The dual encoder as fine-tuning sees it: some of its tensors variables, which part each belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};
use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::{
    Architecture, ImageEncoder, ImageSide, ProjectionConfig, TextEncoder, TextSide,
};
use relens_models::parameters::Parameters;
use relens_models::weights::TrainableParameters;

use super::{FineTunedModel, FineTunedPart};
use crate::optimizer::NamedParameter;
use crate::run::trainer::set_variable;
use crate::{Result, TrainingError};

const LOGIT_SCALE: &str = "logit_scale";

/// Architecture and parameters; encoders are built from them anew after every update.
pub(super) struct TunedNetwork {
    architecture: Architecture,
    parameters: Parameters,
    trainable: Arc<TrainableParameters>,
    logit_scale: Tensor,
}

impl TunedNetwork {
    /// Takes the weights of `encoder`; what is trained becomes variables.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape, or not finite; nothing to train in a part that was named.
    pub(super) fn new(encoder: &DualEncoder, settings: &FineTunedModel) -> Result<Self> {
        let architecture = encoder.architecture().clone();
        let (image, text) = (architecture.image.clone(), architecture.text.clone());
        let parts = settings.train.clone();
        let selects =
            move |name: &str| part_of(name, &image, &text).is_some_and(|part| parts.contains(&part));
        let weights = encoder.parameters().weights().clone();
        // SigLIP stores a vector of one element.
        let shape = weights.shape(LOGIT_SCALE).unwrap_or_default().to_vec();
        let (parameters, trainable) = Parameters::trainable(weights, selects);
        let logit_scale = parameters.tensor(LOGIT_SCALE, &shape)?;
        let network = Self { architecture, parameters, trainable, logit_scale };
        network.image_encoder()?;
        network.text_encoder()?;
        for &part in &settings.train {
            if !network.parts().any(|(_, found)| found == part) && !network.is_identity(part) {
                let found = format!("{part:?}");
                return Err(TrainingError::setting("model.train", "parts that this model has", &found));
            }
        }
        Ok(network)
    }

    /// Whether a projection is none: its tower ends in the shared space.
    fn is_identity(&self, part: FineTunedPart) -> bool {
        let projection = match part {
            FineTunedPart::ImageProjection => &self.architecture.image.projection,
            FineTunedPart::TextProjection => &self.architecture.text.projection,
            _ => return false,
        };
        *projection == ProjectionConfig::Identity
    }

    /// The variables' names and parts.
    fn parts(&self) -> impl Iterator<Item = (String, FineTunedPart)> {
        let (image, text) = (&self.architecture.image, &self.architecture.text);
        let entries = self.trainable.entries().into_iter();
        entries.filter_map(|(name, _)| part_of(&name, image, text).map(|part| (name, part)))
    }

    /// The image side with the weights as they are now. Some towers fold tensors into one another when they are built,
    /// so one that was built before an update does not know of it.
    pub(super) fn image_encoder(&self) -> Result<ImageEncoder> {
        Ok(ImageEncoder::load(&self.parameters, &self.architecture.image, self.architecture.embed_dim)?)
    }

    /// The text side with the weights as they are now.
    pub(super) fn text_encoder(&self) -> Result<TextEncoder> {
        Ok(TextEncoder::load(&self.parameters, &self.architecture.text, self.architecture.embed_dim)?)
    }

    /// Dimensions of the shared space.
    pub(super) fn embed_dim(&self) -> usize {
        self.architecture.embed_dim
    }

    /// The temperature's logarithm, `[]` or `[1]`.
    pub(super) fn logit_scale(&self) -> &Tensor {
        &self.logit_scale
    }

    /// The temperature as a variable, if it is trained.
    pub(super) fn logit_scale_variable(&self) -> Option<Var> {
        let entries = self.trainable.entries().into_iter();
        entries.filter(|(name, _)| name == LOGIT_SCALE).map(|(_, parameter)| parameter.var).next()
    }

    /// All that is trained, sorted by name. `projection_rate` is the factor on the rate of projections and temperature.
    pub(super) fn parameters(&self, projection_rate: f64) -> Vec<NamedParameter> {
        let (image, text) = (&self.architecture.image, &self.architecture.text);
        self.trainable
            .entries()
            .into_iter()
            .map(|(name, parameter)| {
                let tower = matches!(
                    part_of(&name, image, text),
                    Some(FineTunedPart::ImageTower | FineTunedPart::TextTower)
                );
                let scale = if tower { 1.0 } else { projection_rate };
                NamedParameter::new(name, parameter.var).with_learning_rate_scale(scale)
            })
            .collect()
    }

    /// Sets variables to what a checkpoint has.
    pub(super) fn set(&self, values: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, parameter) in self.trainable.entries() {
            set_variable(&name, &parameter.var, values)?;
        }
        Ok(())
    }

    /// The variables in the checkpoint's layout.
    pub(super) fn export(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.trainable.export()?)
    }
}

/// The part that a tensor belongs to; none for statistics of batch normalisation, which are no parameters.
pub(super) fn part_of(name: &str, image: &ImageSide, text: &TextSide) -> Option<FineTunedPart> {
    let statistics = ["running_mean", "running_var", "num_batches_tracked"];
    if statistics.iter().any(|suffix| name.ends_with(suffix)) {
        return None;
    }
    // A tower's place may be the root, where everything lies that has no other place.
    let lies_in = |place: &str| place.is_empty() || is_below(name, place);
    if name == LOGIT_SCALE {
        Some(FineTunedPart::LogitScale)
    } else if is_projection(name, &image.projection) {
        Some(FineTunedPart::ImageProjection)
    } else if is_projection(name, &text.projection) {
        Some(FineTunedPart::TextProjection)
    } else if !image.place.is_empty() && lies_in(&image.place) {
        Some(FineTunedPart::ImageTower)
    } else if lies_in(&text.place) {
        Some(FineTunedPart::TextTower)
    } else {
        None
    }
}

fn is_projection(name: &str, projection: &ProjectionConfig) -> bool {
    match projection {
        ProjectionConfig::Identity => false,
        ProjectionConfig::Matrix(matrix) => name == matrix,
        ProjectionConfig::Linear { place, .. } => is_below(name, place),
        ProjectionConfig::Mlp { expand, contract, .. } => is_below(name, expand) || is_below(name, contract),
    }
}

fn is_below(name: &str, place: &str) -> bool {
    name.strip_prefix(place).is_some_and(|rest| rest.starts_with('.'))
}
