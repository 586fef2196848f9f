//! The stages of a rewriter from files to files, on a tiny T5, the bundled retriever and a few pictures.

#![allow(clippy::unwrap_used)]

mod adapters;
mod enhancing;
mod faults;
mod on_a_trunk;
mod world;

use relens::progress::Silent;
use relens_training::TrainingError;
use relens_training::stages::denoise::DenoiseMethod;
use relens_training::stages::grpo::GrpoMethod;
use relens_training::stages::ppo::PpoMethod;
use relens_training::stages::pro::ProMethod;
use relens_training::stages::rewriter::{RewriterConfig, RewritingMethod};
use relens_training::stages::sft::{SftConfig, SftMethod};

use world::{FRESH, Listener, StopAfter, bytes, finish, weights, world};

const SIBLINGS: &str = "[candidates]\nsibling_captions = 2\n";

/// Every tensor of a checkpoint after some steps differs from the first checkpoint's.
fn assert_everything_moves(stage: &RewriterConfig<impl RewritingMethod>, step: u64) {
    finish(stage).unwrap();
    let run = stage.run.output.clone();
    let (before, after) = (weights(&run, 0), weights(&run, step));
    assert!(before.len() > 20 && before.len() == after.len());
    for (name, before) in &before {
        let after = &after[name];
        assert!(after.iter().all(|value| value.is_finite()), "{name}");
        assert_ne!(before, after, "{name} did not move");
    }
}

#[test]
fn every_parameter_moves_in_every_stage() {
    let world = world();
    let keep = "keep_checkpoints = 9\n";
    let tables = world.starting_tables(&format!("{keep}{SIBLINGS}"));
    let free = world.starting_tables(keep);
    let denoise = FRESH.replace("every_steps = 2", &format!("every_steps = 2\n{keep}"));
    assert_everything_moves(&world.config::<DenoiseMethod>("moves/denoise", "max_steps = 2", &denoise), 2);
    let top = "max_steps = 2\nmin_gain = -100.0";
    assert_everything_moves(&world.config::<SftMethod>("moves/sft", top, &tables), 2);
    assert_everything_moves(
        &world.config::<ProMethod>("moves/pro", "max_steps = 2\ninclude_query = true", &tables),
        2,
    );
    let top = "max_steps = 2\nminibatches = 2";
    assert_everything_moves(&world.config::<PpoMethod>("moves/ppo", top, &free), 2);
    assert_everything_moves(&world.config::<GrpoMethod>("moves/grpo", "max_steps = 2\ngroup = 4", &free), 2);
}

/// Runs `whole` to its end; runs `parted` in two pieces, the first of them ended between two checkpoints; and compares
/// all bytes.
fn assert_resumes<M: RewritingMethod>(name: &str, top: &str, tables: &str, steps: u64) {
    let world = world();
    let whole = world.config::<M>(&format!("resume/{name}-whole"), top, tables);
    let parted = world.config::<M>(&format!("resume/{name}-parted"), top, tables);
    finish(&whole).unwrap();
    let stopped = parted.run(&mut StopAfter(3)).unwrap_err();
    assert!(matches!(stopped, TrainingError::Interrupted { step: 3 }), "{stopped}");
    finish(&parted).unwrap();
    let (whole, parted) = (bytes(&whole.run.output, steps), bytes(&parted.run.output, steps));
    for (file, whole) in &whole {
        assert!(whole == &parted[file], "{name}: {file} differs");
    }
}

#[test]
fn a_resumed_run_has_the_bytes_of_an_uninterrupted_one() {
    let world = world();
    assert_resumes::<DenoiseMethod>("denoise", "max_steps = 5\noptimization.average_decay = 0.9", FRESH, 5);
    let tables = world.starting_tables(SIBLINGS).replace("dropout = false", "dropout = true");
    assert_resumes::<SftMethod>("sft", "max_steps = 5\nmin_gain = -100.0", &tables, 5);
    assert_resumes::<ProMethod>("pro", "epochs = 9\nmax_steps = 5\ninclude_query = true", &tables, 5);
    let free = world.starting_tables("");
    assert_resumes::<PpoMethod>("ppo", "epochs = 9\nmax_steps = 5", &free, 5);
    assert_resumes::<GrpoMethod>("grpo", "epochs = 9\nmax_steps = 5\ngroup = 2", &free, 5);
}

#[test]
fn accumulated_micro_batches_and_checkpointed_layers_equal_the_large_batch() {
    let world = world();
    let tables = world.starting_tables(SIBLINGS);
    let compare = |whole: &mut dyn FnMut(&str, &str) -> std::path::PathBuf| {
        let large = weights(&whole("large", ""), 1);
        let others = [("small", "accumulate = 4"), ("checkpointed", "gradient_checkpointing = true")];
        for (kind, setting) in others {
            let other = weights(&whole(kind, &format!("optimization.{setting}")), 1);
            for (name, large) in &large {
                for (large, other) in large.iter().zip(&other[name]) {
                    assert!(
                        (large - other).abs() < 2e-5 * (1.0 + large.abs()),
                        "{kind} {name}: {large}, {other}"
                    );
                }
            }
        }
    };
    // Adam's first update has the size of the learning rate whatever the gradient's: ε well above rounding keeps what
    // is almost 0 from becoming ±1.
    let adam = "max_steps = 1\noptimization.adamw.epsilon = 1e-3";
    compare(&mut |name, more| {
        let top = format!("{adam}\nmin_gain = -100.0\n{more}");
        let stage = world.config::<SftMethod>(&format!("accumulate/sft-{name}"), &top, &tables);
        finish(&stage).unwrap();
        stage.run.output.clone()
    });
    compare(&mut |name, more| {
        let top = format!("{adam}\ninclude_query = true\n{more}");
        let stage = world.config::<ProMethod>(&format!("accumulate/pro-{name}"), &top, &tables);
        finish(&stage).unwrap();
        stage.run.output.clone()
    });
    let free = world.starting_tables("");
    compare(&mut |name, more| {
        let top = format!("{adam}\nupdates = 1\n{more}");
        let stage = world.config::<PpoMethod>(&format!("accumulate/ppo-{name}"), &top, &free);
        finish(&stage).unwrap();
        stage.run.output.clone()
    });
    compare(&mut |name, more| {
        let top = format!("{adam}\ngroup = 2\n{more}");
        let stage = world.config::<GrpoMethod>(&format!("accumulate/grpo-{name}"), &top, &free);
        finish(&stage).unwrap();
        stage.run.output.clone()
    });
}

#[test]
fn denoising_learns_and_its_model_can_be_opened() {
    let world = world();
    let top = "epochs = 60\nmax_steps = 90";
    let tables =
        FRESH.replace("every_steps = 2", "every_steps = 30").replace("max_tokens = 12", "max_tokens = 40");
    let stage = world.config::<DenoiseMethod>("learns", top, &tables);
    let mut listener = Listener::default();
    let summary = stage.run(&mut listener).unwrap();
    let losses: Vec<f64> =
        listener.records.iter().filter_map(|record| record.get("loss")?.as_f64()).collect();
    assert!(
        losses.iter().rev().take(5).sum::<f64>() < 0.7 * losses.iter().take(5).sum::<f64>(),
        "{losses:?}"
    );
    assert!(summary.model.join("model.safetensors").is_file());
    for file in ["config.json", "tokenizer.json", "generation_config.json", "relens_rewriter.json"] {
        assert!(summary.model.join(file).is_file(), "{file}");
    }
    // A finished run is left as it is.
    assert_eq!(stage.run(&mut Silent).unwrap().metrics, summary.metrics);
}

#[test]
fn rewards_of_all_kinds_are_logged_under_the_names_of_trl() {
    let world = world();
    let stage = world.config::<PpoMethod>("logs/ppo", "max_steps = 2", &world.starting_tables(""));
    let mut listener = Listener::default();
    stage.run(&mut listener).unwrap();
    let record = listener.records.iter().find(|record| record.contains_key("objective/kl")).unwrap();
    for name in [
        "objective/entropy",
        "objective/scores",
        "policy/approxkl_avg",
        "policy/clipfrac_avg",
        "loss/policy_avg",
        "loss/value_avg",
        "val/ratio",
        "val/num_eos_tokens",
        "completions/mean_length",
        "rewards/similarity/mean",
        "rewards/margin/mean",
        "rewards/rank/mean",
        "reward_p10",
        "val/explained_variance",
        "grad_norm",
    ] {
        assert!(record.get(name).is_some_and(serde_json::Value::is_number), "{name}: {record:?}");
    }
    // Before the first update the policy is the reference, and the ratio of its probabilities is 1.
    assert!(record["objective/kl"].as_f64().unwrap().abs() < 1e-4, "{record:?}");
    let measured = listener.records.iter().find(|record| record.contains_key("split")).unwrap();
    for name in ["rewrite_image_retrieval_recall@1", "identity_image_retrieval_recall@1", "share_better"] {
        assert!(measured.contains_key(name), "{name}");
    }
}

#[test]
fn a_kl_beyond_the_limit_and_broken_weights_stop_the_run() {
    let world = world();
    let top =
        "max_steps = 9\nepochs = 9\nkl_limit = 0.0001\nlearning_rate = 0.05".replace("learning_rate", "# ");
    let stage = world.config::<PpoMethod>("stops/kl", &top, &world.starting_tables(""));
    let mut listener = Listener::default();
    let summary = stage.run(&mut listener).unwrap();
    assert!(summary.steps < 9 && summary.model.is_dir());
    let message = listener.messages.iter().find(|text| text.starts_with("stopping at step")).unwrap();
    assert!(message.contains("nats a rewrite") && message.contains("limit is 0.0001"), "{message}");

    let top = "max_steps = 9\nepochs = 99\nmin_gain = -100.0\noptimization.clip_norm = 0.0";
    let tables = world.starting_tables(SIBLINGS);
    let mut stage = world.config::<SftMethod>("stops/nan", top, &tables);
    stage.run.learning_rate = 1e30;
    let error = finish(&stage).unwrap_err();
    assert!(error.to_string().contains("step "), "{error}");
    assert!(
        stage.run.output.join("checkpoints/step-0/weights.safetensors").is_file(),
        "the last good one stays"
    );
}

#[test]
fn the_start_wins_only_where_it_may() {
    let world = world();
    let top = format!("max_steps = 4\nstart_from = {:?}", world.rewriter());
    let best = |name: &str, may: bool| {
        let tables = format!("[evaluation]\nmetric = 'loss'\nevery_steps = 2\nstart_may_win = {may}\n");
        let mut stage = world.config::<DenoiseMethod>(&format!("start/{name}"), &top, &tables);
        // Steps this large ruin every rewriter.
        stage.run.learning_rate = 3.0;
        finish(&stage).unwrap().best_step
    };
    assert_eq!(best("may", true), 0);
    assert_ne!(best("may-not", false), 0);
}

#[test]
fn settings_are_checked_and_unknown_ones_refused() {
    let world = world();
    let path = world.path("bad.toml");
    let read = |text: &str| {
        let tables = world.starting_tables(SIBLINGS);
        let head = "output = 'x'\ndata = { annotations = 'a', images = 'b' }";
        std::fs::write(&path, format!("{head}\n{text}\n{tables}")).unwrap();
        SftConfig::read(&path).map(|_| ()).unwrap_err().to_string()
    };
    assert!(read("learning_rates = 1.0").contains("learning_rates"));
    assert!(read("batch_size = 0").contains("`batch_size` is 0"));
    assert!(read("optimization.accumulate = 99").contains("optimization.accumulate"));
    assert!(read("reward.similarity = 0.0").contains("`reward`"));
    assert!(read("keep_share = 1.5").contains("`keep_share` is 1.5"));
}
