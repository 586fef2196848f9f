//! What is trained, as the loop sees it, and the batch that it reads.

use std::path::Path;

use candle_core::Tensor;
use relens_models::layers::DropoutGenerator;

use super::config::DescriptionConfig;
use super::materials::Materials;
use crate::Result;
use crate::optimizer::NamedParameter;

/// The descriptions of some captions, packed.
pub(super) struct Batch {
    /// The descriptions' embeddings, `[rows, dim]`.
    pub(super) rows: Tensor,
    /// Which description of the knowledge base each row is, `[rows]`.
    pub(super) descriptions: Vec<u32>,
    /// Where each caption's rows begin, and the end of the last.
    pub(super) offsets: Vec<usize>,
}

/// Turns the descriptions of a caption into one vector.
pub(super) trait DescriptionNetwork: Sized {
    /// Its own settings.
    type Settings;

    /// A network at its beginning.
    fn new(config: &DescriptionConfig<Self::Settings>, materials: &Materials) -> Result<Self>;

    /// # Shapes
    /// - result: `[captions, dim]`, L2-normalised
    fn embed(&self, batch: &Batch, generator: Option<&mut DropoutGenerator>) -> Result<Tensor>;

    /// What is trained.
    fn parameters(&self) -> Vec<NamedParameter>;

    /// Writes what was learned into the run directory, as the enhancer reads it; the file's name.
    fn write(&self, materials: &Materials, directory: &Path) -> Result<&'static str>;
}
