//! Weights: `cargo fuzz run safetensors`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relens_models::weights::Weights;

fuzz_target!(|data: &[u8]| {
    let Ok(weights) = Weights::from_bytes("fuzzed.safetensors", data.to_vec()) else { return };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names {
        let shape = weights.shape(&name).unwrap_or_default().to_vec();
        let _ = weights.tensor(&name, &shape);
    }
    let _ = weights.element_count();
});
