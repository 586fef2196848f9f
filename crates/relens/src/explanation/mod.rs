//! Why a picture scores as it does: which pixels, and which words.
//!
//! - [`integrated_gradients`]: how much of the score each pixel carries, compared with a picture that shows nothing;
//! - [`mask`]: the smallest part of the picture that the score cannot do without (I-GOS);
//! - [`words`]: how much each word of the query adds to the score (Shapley values);
//! - [`heat`]: maps as colours over their pictures;
//! - [`faithfulness`]: whether a map is right, by deleting and inserting what it calls important.
//!
//! The pixel methods ask a [`DifferentiableScore`] only; [`RetrievalScore`] is the one of a retriever, whatever its
//! image tower.

pub mod faithfulness;
pub mod heat;
pub mod integrated_gradients;
pub mod mask;
mod saliency;
mod score;
pub mod words;

pub use saliency::{Cells, SaliencyMap};
pub use score::Baseline;
pub use score::{DifferentiableScore, PixelGrid, RetrievalScore, ScoredGradients};
