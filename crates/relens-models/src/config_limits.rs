//! What numbers in a model's `config.json` may be: what cannot be is refused by its name, before memory is set aside.

/// The largest number that a size may have: far above any model, far below what could overflow.
pub(crate) const LARGEST_SIZE: usize = 1 << 24;

/// Refuses the first size that is 0 or beyond all measure; each has its name in the file.
pub(crate) fn check_sizes(sizes: &[(&str, usize)]) -> Result<(), String> {
    match sizes.iter().find(|(_, size)| !(1..=LARGEST_SIZE).contains(size)) {
        Some((name, size)) => Err(format!("`{name}` is {size}, expected 1 to {LARGEST_SIZE}")),
        None => Ok(()),
    }
}

/// Refuses a norm's epsilon that is not a small positive number.
pub(crate) fn check_epsilon(name: &str, epsilon: f64) -> Result<(), String> {
    if epsilon > 0.0 && epsilon < 1.0 {
        return Ok(());
    }
    Err(format!("`{name}` is {epsilon}, expected between 0 and 1"))
}

/// Refuses a probability of dropout that is not in [0, 1).
pub(crate) fn check_dropout(name: &str, probability: f32) -> Result<(), String> {
    if (0.0..1.0).contains(&probability) {
        return Ok(());
    }
    Err(format!("`{name}` is {probability}, expected at least 0 and below 1"))
}
