//! When a good query has become a bad one.

use super::judge::Judgement;

/// Whether a blurred query has lost enough: its similarity to the picture falls by `margin` at least, and its picture
/// does not rank better than before.
pub fn blurred_enough(original: Judgement, blurred: Judgement, margin: f32) -> bool {
    blurred.score <= original.score - margin && blurred.rank >= original.rank
}
