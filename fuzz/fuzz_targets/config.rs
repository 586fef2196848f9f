//! Configurations of models: `cargo fuzz run config`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use relens_models::dual_encoder::architecture::Architecture;

fuzz_target!(|data: &[u8]| {
    // The first byte chooses the layout, so that one corpus serves both.
    let Some((layout, config)) = data.split_first() else { return };
    let Ok(directory) = tempfile::tempdir() else { return };
    let name = if layout % 2 == 0 { "open_clip_config.json" } else { "config.json" };
    let empty = b"\x02\0\0\0\0\0\0\0{}";
    for (file, content) in [(name, config), ("open_clip_model.safetensors", empty), ("model.safetensors", empty)] {
        if std::fs::write(directory.path().join(file), content).is_err() {
            return;
        }
    }
    let _ = Architecture::open(directory.path());
});
