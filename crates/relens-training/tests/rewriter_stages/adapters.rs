//! Low-rank adapters in the stages: what moves, what stays, and what is written.

use relens_models::language_model;
use relens_models::lora::LoraAdapter;
use relens_models::weights::Weights;
use relens_training::stages::grpo::GrpoMethod;
use relens_training::stages::ppo::PpoMethod;
use relens_training::stages::pro::ProMethod;
use relens_training::stages::rewriter::{RewriterConfig, RewritingMethod};
use relens_training::stages::sft::SftMethod;

use super::world::{StopAfter, bytes, finish, weights, world};

const ADAPTER: &str = "[policy.lora]\nrank = 2\nalpha = 4.0\ndropout = 0.2\ntargets = ['q', 'v', 'wo']\n";
const SIBLINGS: &str = "[candidates]\nsibling_captions = 2\n";

fn tables(candidates: &str) -> String {
    world().starting_tables(&format!("keep_checkpoints = 9\n{ADAPTER}{candidates}"))
}

fn values(weights: &Weights, name: &str) -> Vec<f32> {
    let tensor = weights.tensor(name, weights.shape(name).unwrap()).unwrap();
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A and B of every targeted map move, nothing else is among what is trained.
fn assert_only_the_adapter_moves(stage: &RewriterConfig<impl RewritingMethod>) {
    finish(stage).unwrap();
    let run = stage.run.output.clone();
    let (mut before, after) = (weights(&run, 0), weights(&run, 3));
    // PPO's value head learns beside the policy.
    before.retain(|name, _| !name.starts_with("value_head."));
    // Two encoder layers with q, v, wo; two decoder layers with those of both attentions.
    assert_eq!(before.len(), 2 * (2 * 3 + 2 * 5), "{:?}", before.keys());
    for (name, before) in &before {
        assert!(name.contains(".lora_A.") || name.contains(".lora_B."), "{name}");
        assert!(after[name].iter().all(|value| value.is_finite()), "{name}");
        assert_ne!(before, &after[name], "{name} did not move");
    }
}

#[test]
fn only_the_adapter_moves_in_every_stage() {
    let world = world();
    let (offline, free) = (tables(SIBLINGS), tables(""));
    let top = "max_steps = 3\nmin_gain = -100.0";
    assert_only_the_adapter_moves(&world.config::<SftMethod>("lora/sft", top, &offline));
    let top = "max_steps = 3\nepochs = 9\ninclude_query = true";
    assert_only_the_adapter_moves(&world.config::<ProMethod>("lora/pro", top, &offline));
    let top = "max_steps = 3\nepochs = 9";
    assert_only_the_adapter_moves(&world.config::<PpoMethod>("lora/ppo", top, &free));
    let top = "max_steps = 3\nepochs = 9\ngroup = 4";
    assert_only_the_adapter_moves(&world.config::<GrpoMethod>("lora/grpo", top, &free));
}

#[test]
fn the_export_has_the_adapter_merged_and_beside_it() {
    let world = world();
    let top = "max_steps = 4\nmin_gain = -100.0";
    let stage = world.config::<SftMethod>("lora/export", top, &tables(SIBLINGS));
    let model = finish(&stage).unwrap().model;
    language_model::open(&model).unwrap();
    let base = Weights::open(world.rewriter().join("model.safetensors")).unwrap();
    let merged = Weights::open(model.join("model.safetensors")).unwrap();
    let adapter = LoraAdapter::open(model.join("adapter")).unwrap();
    let changed = |name: &str| adapter.config().targets(name.strip_suffix(".weight").unwrap_or(name));
    for name in base.names() {
        let (before, after) = (values(&base, name), values(&merged, name));
        // The first checkpoint may be the best one, then nothing has changed; what no map targets never does.
        assert!(changed(name) || before == after, "{name}");
    }
    let (names, count) = (merged.names().collect::<Vec<_>>(), base.names().count());
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn a_resumed_adapter_has_the_bytes_of_an_uninterrupted_one() {
    let world = world();
    let tables = tables(SIBLINGS).replace("keep_checkpoints = 9\n", "");
    let top = "max_steps = 5\nmin_gain = -100.0";
    let whole =
        world.config::<SftMethod>("lora/whole", top, &tables.replace("dropout = false", "dropout = true"));
    let parted =
        world.config::<SftMethod>("lora/parted", top, &tables.replace("dropout = false", "dropout = true"));
    finish(&whole).unwrap();
    parted.run(&mut StopAfter(3)).unwrap_err();
    finish(&parted).unwrap();
    let (whole, parted) = (bytes(&whole.run.output, 5), bytes(&parted.run.output, 5));
    for (file, whole) in &whole {
        assert!(whole == &parted[file], "{file} differs");
    }
}
