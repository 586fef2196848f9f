//! What happens between a gradient and the next weights: accumulation, clipping, AdamW, moving averages.
//!
//! candle's own AdamW keeps no state across restarts and walks its parameters one by one; this one updates in place
//! on all cores, saves its moments, and knows groups.

pub mod adamw;
pub mod average;
pub mod gradients;
pub mod parameters;

pub use adamw::{AdamW, AdamWConfig};
pub use average::WeightAverage;
pub use gradients::{GradientAccumulator, check_and_clip, global_norm};
pub use parameters::{Gradients, NamedParameter, ParameterOptions};
