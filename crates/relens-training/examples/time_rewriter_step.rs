//! Times a training step of a T5-small-shaped model; `tools/reference/time_rewriter_step.py` does the same in PyTorch.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::{Device, Tensor};
use rand::RngExt;
use relens_models::language_model::{LanguageModel, PromptTargetBatch};
use relens_models::t5::{T5Config, T5Model};
use relens_models::weights::{ElementType, Parameters, Weights, tensors_to_bytes};
use relens_training::objectives::masked_cross_entropy;
use relens_training::optimizer::{AdamWConfig, Gradients, NamedParameter};
use relens_training::random::{fill_normal, stream};
use relens_training::schedule::{Decay, Schedule};
use relens_training::trainer::{Trainer, TrainerConfig};

const PAIRS: usize = 32;
const PROMPT: usize = 16;
const TARGET: usize = 12;
const STEPS: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = r#"{"d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8, "vocab_size": 32128,
                   "dropout_rate": 0.0, "decoder_start_token_id": 0}"#;
    let config = T5Config::from_json(json, "T5-small's sizes".as_ref())?;
    let bytes = tensors_to_bytes(&random_weights(&config)?, ElementType::F32)?;
    let weights = Weights::from_bytes("random", bytes)?;
    let (parameters, trainable) = Parameters::trainable(weights, |_| true);
    let model = T5Model::load(&parameters, &config)?;
    let named = trainable.entries().into_iter();
    let named = named.map(|(name, parameter)| NamedParameter::new(name, parameter.var)).collect();
    let schedule =
        Schedule { peak: 1e-4, floor: 1.0, warmup_steps: 0, total_steps: 1000, decay: Decay::Constant };
    let settings =
        TrainerConfig { adamw: AdamWConfig::default(), clip_norm: 1.0, average_decay: None, schedule };
    let mut trainer = Trainer::new(settings, named)?;
    let batch = random_batch();
    let mut seconds = Vec::new();
    for step in 0..=STEPS {
        let start = Instant::now();
        let logits = model.logits(&model.target_hidden(&batch, None)?)?;
        let targets = &batch.targets.ids;
        let loss = masked_cross_entropy(&logits, targets, &vec![true; targets.len()], 0.0)?;
        let gradients = Gradients::take(&mut loss.backward()?, trainer.parameters(), step as u64)?;
        trainer.update(&gradients, step as u64)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    // The first step warms up.
    let mut seconds = seconds.split_off(1);
    seconds.sort_by(f64::total_cmp);
    let median = seconds.get(STEPS / 2).copied().unwrap_or(f64::NAN);
    let tokens = (PAIRS * (PROMPT + TARGET)) as f64;
    #[allow(clippy::print_stdout)] // The result is what the program is for.
    {
        println!("relens: {:.0} ms a step, {:.0} tokens a second", 1000.0 * median, tokens / median);
    }
    Ok(())
}

fn random_batch() -> PromptTargetBatch {
    let mut rng = stream(0, "batch", 0);
    let mut ids = |count: usize| -> Vec<u32> { (0..count).map(|_| rng.random_range(5..32_000)).collect() };
    let pairs: Vec<(Vec<u32>, Vec<u32>)> = (0..PAIRS).map(|_| (ids(PROMPT), ids(TARGET))).collect();
    PromptTargetBatch::from_pairs(pairs)
}

fn random_weights(config: &T5Config) -> Result<BTreeMap<String, Tensor>, candle_core::Error> {
    let (width, inner, wide) = (config.d_model, config.num_heads * config.d_kv, config.d_ff);
    let mut shapes: Vec<(String, Vec<usize>)> =
        vec![("shared.weight".into(), vec![config.vocab_size, width])];
    for (stack, layers) in [("encoder", config.num_layers), ("decoder", config.decoder_layers())] {
        for layer in 0..layers {
            let block = format!("{stack}.block.{layer}.layer");
            let attentions: &[(usize, &str)] = if stack == "decoder" {
                &[(0, "SelfAttention"), (1, "EncDecAttention")]
            } else {
                &[(0, "SelfAttention")]
            };
            for (place, kind) in attentions {
                for name in ["q", "k", "v"] {
                    shapes.push((format!("{block}.{place}.{kind}.{name}.weight"), vec![inner, width]));
                }
                shapes.push((format!("{block}.{place}.{kind}.o.weight"), vec![width, inner]));
                shapes.push((format!("{block}.{place}.layer_norm.weight"), vec![width]));
            }
            if layer == 0 {
                let name = format!("{block}.0.SelfAttention.relative_attention_bias.weight");
                shapes.push((name, vec![config.relative_attention_num_buckets, config.num_heads]));
            }
            let place = attentions.len();
            shapes.push((format!("{block}.{place}.DenseReluDense.wi.weight"), vec![wide, width]));
            shapes.push((format!("{block}.{place}.DenseReluDense.wo.weight"), vec![width, wide]));
            shapes.push((format!("{block}.{place}.layer_norm.weight"), vec![width]));
        }
        shapes.push((format!("{stack}.final_layer_norm.weight"), vec![width]));
    }
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let mut values = vec![0f32; shape.iter().product()];
            fill_normal(&mut values, &mut stream(0, &name, 0));
            values.iter_mut().for_each(|value| *value *= 0.04);
            Ok((name, Tensor::from_vec(values, shape, &Device::Cpu)?))
        })
        .collect()
}
