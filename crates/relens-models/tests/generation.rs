//! Generation: against transformers on tiny T5s, fast paths against plain ones, and what can go wrong.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Device, Tensor};
use relens_models::language_model::generation::{
    BeamConfig, CopySpeculation, GeneratedSequence, GenerationConfig, SamplingConfig, Strategy, generate,
};
use relens_models::language_model::t5::{T5Config, T5Model};
use relens_models::language_model::{self, CheckpointedPass, Decoder, LanguageModel, PromptTargetBatch};
use relens_models::layers::DropoutGenerator;
use relens_models::parameters::Parameters;
use relens_models::tokenizer::TokenBatch;
use relens_models::weights::Weights;
use serde_json::Value;
use support::{fixture_path, values};

const VERSIONS: [&str; 3] = ["t5_v1_0", "t5_v1_1", "t5_silu"];

fn golden(version: &str) -> Value {
    let text = std::fs::read_to_string(fixture_path(&format!("{version}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn t5(version: &str) -> T5Model {
    let config = golden(version)["config"].to_string();
    let config = T5Config::from_json(&config, Path::new("config.json")).unwrap();
    let weights = Weights::open(fixture_path(&format!("{version}.safetensors"))).unwrap();
    T5Model::load(&Parameters::frozen(weights), &config).unwrap()
}

fn sequences(value: &Value) -> Vec<Vec<u32>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn prompts(version: &str) -> TokenBatch {
    TokenBatch::from_sequences(sequences(&golden(version)["prompts"]))
}

fn greedy(max_new_tokens: usize) -> GenerationConfig {
    GenerationConfig { max_new_tokens, ..GenerationConfig::default() }
}

fn assert_same(what: &str, found: &[GeneratedSequence], expected: &[GeneratedSequence]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.tokens, expected.tokens, "{what}");
        assert_eq!(found.finished, expected.finished, "{what}");
        for (a, b) in found.log_probs.iter().zip(&expected.log_probs) {
            assert!((a - b).abs() < 1e-4, "{what}: log-probabilities {a} and {b}");
        }
    }
}

#[test]
fn greedy_and_beam_search_equal_transformers() {
    for version in VERSIONS {
        let model = t5(version);
        for search in golden(version)["searches"].as_array().unwrap() {
            let prompt: Vec<u32> = serde_json::from_value(search["prompt"].clone()).unwrap();
            let expected = sequences(&search["sequences"]);
            let beams = search["num_beams"].as_u64().unwrap() as usize;
            let length_penalty = search["length_penalty"].as_f64().unwrap_or(1.0) as f32;
            let strategy = match beams {
                1 => Strategy::Greedy,
                beams => Strategy::Beam(BeamConfig { beams, length_penalty, ..BeamConfig::default() }),
            };
            let config = GenerationConfig { strategy, sequences: beams, ..greedy(12) };
            let found = generate(&model, &TokenBatch::from_sequences([&prompt]), &config).unwrap();
            let tokens: Vec<_> = found[0].iter().map(|sequence| sequence.tokens.clone()).collect();
            assert_eq!(tokens, expected, "{version} {search}");
            let scores =
                search["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap() as f32);
            for (found, score) in found[0].iter().zip(scores) {
                assert!((found.score - score).abs() < 1e-4, "{version} {search}: score {}", found.score);
            }
        }
    }
}

#[test]
fn cached_steps_equal_whole_passes() {
    for version in VERSIONS {
        let (model, prompts) = (t5(version), prompts(version));
        let found = generate(&model, &prompts, &greedy(12)).unwrap();
        for (i, sequences) in found.iter().enumerate() {
            let (prompt, found) = (prompts.sequence(i).unwrap(), &sequences[0]);
            let batch = PromptTargetBatch::from_pairs([(prompt, &found.tokens)]);
            let hidden = model.target_hidden(&batch, None).unwrap();
            let scores = values(&model.logits(&hidden).unwrap());
            let argmax = scores.chunks(48).map(|row| {
                let best = row.iter().copied().fold(f32::MIN, f32::max);
                row.iter().position(|&score| score == best).unwrap() as u32
            });
            assert_eq!(argmax.collect::<Vec<_>>(), found.tokens, "{version}");
            let whole = values(&model.target_log_probs(&batch, None).unwrap());
            for (a, b) in found.log_probs.iter().zip(whole) {
                assert!((a - b).abs() < 1e-4, "{version}: {a} and {b}");
            }
            assert_eq!(found.finished, model.end_of_sequence().contains(found.tokens.last().unwrap()));
        }
    }
}

#[test]
fn a_batch_equals_its_prompts_one_by_one() {
    let sampled = Strategy::Sample(SamplingConfig { top_k: 20, top_p: 0.95, temperature: 1.3 });
    let diverse = BeamConfig { beams: 4, groups: 2, diversity_penalty: 0.5, ..BeamConfig::default() };
    let copying = GenerationConfig { copy_speculation: Some(CopySpeculation::default()), ..greedy(12) };
    for version in VERSIONS {
        let (model, prompts) = (t5(version), prompts(version));
        for config in [
            greedy(12),
            copying.clone(),
            GenerationConfig { strategy: Strategy::Beam(BeamConfig::default()), sequences: 3, ..greedy(12) },
            GenerationConfig { strategy: Strategy::Beam(diverse.clone()), sequences: 4, ..greedy(12) },
        ] {
            let together = generate(&model, &prompts, &config).unwrap();
            for (i, together) in together.iter().enumerate() {
                let alone = TokenBatch::from_sequences([prompts.sequence(i).unwrap()]);
                let alone = generate(&model, &alone, &config).unwrap();
                assert_same(&format!("{version}, prompt {i}, {config:?}"), together, &alone[0]);
            }
        }
        // What is drawn depends on the place, so only the first prompt draws the same alone.
        let config = GenerationConfig { strategy: sampled.clone(), sequences: 5, seed: 3, ..greedy(12) };
        let together = generate(&model, &prompts, &config).unwrap();
        let first = TokenBatch::from_sequences([prompts.sequence(0).unwrap()]);
        assert_same(version, &together[0], &generate(&model, &first, &config).unwrap()[0]);
    }
}

#[test]
fn copy_speculation_equals_greedy_search() {
    for version in VERSIONS {
        let (model, prompts) = (t5(version), prompts(version));
        let expected = generate(&model, &prompts, &greedy(30)).unwrap();
        for (draft_tokens, longest_match, first) in [(1, 1, 0), (4, 2, 3), (8, 3, 99)] {
            let copy = CopySpeculation { draft_tokens, longest_match, first };
            let config = GenerationConfig { copy_speculation: Some(copy), ..greedy(30) };
            for (found, expected) in generate(&model, &prompts, &config).unwrap().iter().zip(&expected) {
                assert_same(&format!("{version} {copy:?}"), found, expected);
            }
        }
    }
}

#[test]
fn samples_follow_the_seed() {
    let (model, prompts) = (t5("t5_v1_0"), prompts("t5_v1_0"));
    let strategy = Strategy::Sample(SamplingConfig::default());
    let config = GenerationConfig { strategy, sequences: 4, seed: 9, ..greedy(12) };
    let once = generate(&model, &prompts, &config).unwrap();
    assert_eq!(once, generate(&model, &prompts, &config).unwrap());
    assert_ne!(once, generate(&model, &prompts, &GenerationConfig { seed: 10, ..config.clone() }).unwrap());
    assert!(once.iter().all(|sequences| sequences.len() == 4));
    assert_ne!(once[0][0].tokens, once[0][1].tokens);
    for (i, sequences) in once.iter().enumerate() {
        for sequence in sequences {
            let batch = PromptTargetBatch::from_pairs([(prompts.sequence(i).unwrap(), &sequence.tokens)]);
            let whole = values(&model.target_log_probs(&batch, None).unwrap());
            assert!(whole.iter().zip(&sequence.log_probs).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }
    let cold = Strategy::Sample(SamplingConfig { temperature: 1e-3, ..SamplingConfig::default() });
    let cold = generate(&model, &prompts, &GenerationConfig { strategy: cold, ..greedy(12) }).unwrap();
    for (cold, greedy) in cold.iter().zip(generate(&model, &prompts, &greedy(12)).unwrap()) {
        assert_same("cold", cold, &greedy);
    }
}

/// A model of eight tokens whose scores a function of the prompt and of what was written decides. Token 0 starts it,
/// token 1 ends it.
struct Scripted {
    scores: fn(&[u32], &[u32]) -> [f32; 8],
    steps: AtomicUsize,
}

struct ScriptedDecoder<'a> {
    model: &'a Scripted,
    rows: Vec<(Vec<u32>, Vec<u32>)>,
}

impl LanguageModel for Scripted {
    fn width(&self) -> usize {
        8
    }
    fn vocabulary_size(&self) -> usize {
        8
    }
    fn context_length(&self) -> usize {
        100
    }
    fn most_target_tokens(&self, prompt_length: usize) -> usize {
        100 - prompt_length
    }
    fn end_of_sequence(&self) -> &[u32] {
        &[1]
    }
    fn target_hidden(
        &self,
        _: &PromptTargetBatch,
        _: Option<&mut DropoutGenerator>,
    ) -> relens_models::Result<Tensor> {
        panic!("a scripted model is not trained")
    }
    fn checkpointed_target_hidden<'a>(
        &'a self,
        _: &PromptTargetBatch,
        _: Option<DropoutGenerator>,
    ) -> relens_models::Result<Box<dyn CheckpointedPass + 'a>> {
        panic!("a scripted model is not trained")
    }
    fn logits(&self, hidden: &Tensor) -> relens_models::Result<Tensor> {
        Ok(hidden.clone())
    }
    fn decoder<'a>(&'a self, prompts: &TokenBatch) -> relens_models::Result<Box<dyn Decoder + 'a>> {
        let row = |i| (prompts.sequence(i).unwrap().to_vec(), Vec::new());
        Ok(Box::new(ScriptedDecoder { model: self, rows: (0..prompts.len()).map(row).collect() }))
    }
}

impl Decoder for ScriptedDecoder<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }
    fn first_token(&self, _: usize) -> relens_models::Result<u32> {
        Ok(0)
    }
    fn fed(&self, row: usize) -> usize {
        self.rows[row].1.len()
    }
    fn step(&mut self, tokens: &[&[u32]]) -> relens_models::Result<Tensor> {
        self.model.steps.fetch_add(1, Ordering::Relaxed);
        let mut scores = Vec::new();
        for ((prompt, fed), tokens) in self.rows.iter_mut().zip(tokens) {
            for &token in *tokens {
                fed.push(token);
                scores.extend((self.model.scores)(prompt, &fed[1..]));
            }
        }
        Ok(Tensor::from_vec(scores.clone(), (scores.len() / 8, 8), &Device::Cpu).unwrap())
    }
    fn reorder(&mut self, rows: &[usize]) -> relens_models::Result<()> {
        self.rows = rows.iter().map(|&row| self.rows[row].clone()).collect();
        Ok(())
    }
    fn truncate(&mut self, row: usize, length: usize) -> relens_models::Result<()> {
        self.rows[row].1.truncate(length);
        Ok(())
    }
}

fn scripted(scores: fn(&[u32], &[u32]) -> [f32; 8]) -> Scripted {
    Scripted { scores, steps: AtomicUsize::new(0) }
}

fn one_hot(token: u32) -> [f32; 8] {
    std::array::from_fn(|i| if i == token as usize { 9.0 } else { 0.0 })
}

/// Repeats the prompt, but writes a 7 after its third token; then ends.
fn rewrite(prompt: &[u32], written: &[u32]) -> [f32; 8] {
    match written.len() {
        3 => one_hot(7),
        n if n < 3 => one_hot(prompt[n]),
        n => one_hot(prompt.get(n - 1).copied().unwrap_or(1)),
    }
}

#[test]
fn copying_takes_few_steps() {
    let prompt = [2, 3, 4, 5, 6, 2, 4, 6, 5, 3, 3, 2, 5, 4, 2, 6];
    let batch = TokenBatch::from_sequences([prompt]);
    let plain = scripted(rewrite);
    let expected = generate(&plain, &batch, &greedy(64)).unwrap();
    assert_eq!(expected[0][0].tokens[..6], [2, 3, 4, 7, 5, 6]);
    assert_eq!(plain.steps.into_inner(), 18);
    let copying = scripted(rewrite);
    let config = GenerationConfig { copy_speculation: Some(CopySpeculation::default()), ..greedy(64) };
    assert_eq!(generate(&copying, &batch, &config).unwrap(), expected);
    assert!(copying.steps.into_inner() <= 5);
}

#[test]
fn beam_search_finds_what_an_exhaustive_search_finds() {
    // A score for every token after every other, so that the best start is not the best whole.
    let model = scripted(|_, written| {
        let last = written.last().copied().unwrap_or(0);
        std::array::from_fn(|i| ((last as usize * 31 + i * 17 + written.len() * 7) % 13) as f32 * 0.4)
    });
    let batch = TokenBatch::from_sequences([[5u32]]);
    let mut best: Option<(f32, Vec<u32>)> = None;
    let mut open = vec![(0.0f32, Vec::new())];
    while let Some((log_prob, written)) = open.pop() {
        let scores = (model.scores)(&[5], &written);
        let normalizer = scores.iter().map(|score| score.exp()).sum::<f32>().ln();
        for token in 0..8u32 {
            let mut written = written.clone();
            written.push(token);
            let log_prob = log_prob + scores[token as usize] - normalizer;
            if token == 1 || written.len() == 4 {
                let score = log_prob / written.len() as f32;
                if best.as_ref().is_none_or(|(best, _)| score > *best) {
                    best = Some((score, written));
                }
            } else {
                open.push((log_prob, written));
            }
        }
    }
    let (score, tokens) = best.unwrap();
    let strategy = Strategy::Beam(BeamConfig { beams: 600, ..BeamConfig::default() });
    let found = generate(&model, &batch, &GenerationConfig { strategy, ..greedy(4) }).unwrap();
    assert_eq!(found[0][0].tokens, tokens);
    assert!((found[0][0].score - score).abs() < 1e-5);
}

#[test]
fn groups_of_beams_avoid_each_other() {
    let (model, prompts) = (t5("t5_v1_0"), prompts("t5_v1_0"));
    let run = |diversity_penalty| {
        let beam = BeamConfig { beams: 4, groups: 4, diversity_penalty, ..BeamConfig::default() };
        let config = GenerationConfig { strategy: Strategy::Beam(beam), sequences: 4, ..greedy(8) };
        generate(&model, &prompts, &config).unwrap()
    };
    let firsts = |sequences: &[GeneratedSequence]| {
        let mut firsts: Vec<u32> = sequences.iter().map(|sequence| sequence.tokens[0]).collect();
        firsts.sort_unstable();
        firsts.dedup();
        firsts.len()
    };
    // Without a penalty all groups find the same, which is returned once.
    assert!(run(0.0).iter().all(|sequences| sequences.len() == 1));
    for sequences in run(100.0) {
        assert_eq!(firsts(&sequences), 4);
        assert!(sequences.windows(2).all(|pair| pair[0].score >= pair[1].score));
        let mean = sequences[0].log_probs.iter().sum::<f32>() / sequences[0].tokens.len() as f32;
        assert!((sequences[0].score - mean).abs() < 1e-5, "the penalty is no part of the score");
    }
}

#[test]
fn empty_and_cut_sequences_say_so() {
    let silent = scripted(|_, _| one_hot(1));
    let batch = TokenBatch::from_sequences([vec![5u32], vec![6, 7]]);
    let copying = GenerationConfig { copy_speculation: Some(CopySpeculation::default()), ..greedy(9) };
    let beams = GenerationConfig { strategy: Strategy::Beam(BeamConfig::default()), ..greedy(9) };
    for config in [greedy(9), copying.clone(), beams] {
        for sequences in generate(&silent, &batch, &config).unwrap() {
            assert_eq!(sequences[0].tokens, [1]);
            assert!(sequences[0].finished && sequences[0].is_empty());
        }
    }
    let endless = scripted(|_, _| one_hot(4));
    for config in [greedy(5), GenerationConfig { max_new_tokens: 5, ..copying }] {
        for sequences in generate(&endless, &batch, &config).unwrap() {
            assert_eq!(sequences[0].content(), [4; 5]);
            assert!(!sequences[0].finished);
        }
    }
    let stopped = GenerationConfig { stop_ids: vec![4], ..greedy(5) };
    assert!(generate(&endless, &batch, &stopped).unwrap()[0][0].is_empty());
    // The context leaves room for three tokens after a prompt of 97.
    let long = TokenBatch::from_sequences([[5u32; 97]]);
    assert_eq!(generate(&endless, &long, &greedy(5)).unwrap()[0][0].tokens, [4; 3]);
    assert_eq!(generate(&endless, &TokenBatch::empty(), &greedy(5)).unwrap(), Vec::<Vec<_>>::new());
}

#[test]
fn broken_scores_name_the_prompt_and_the_place() {
    let broken = scripted(
        |prompt, written| {
            if prompt == [6] && written.len() == 2 { [f32::NAN; 8] } else { one_hot(4) }
        },
    );
    let batch = TokenBatch::from_sequences([[5u32], [6]]);
    for strategy in [
        Strategy::Greedy,
        Strategy::Sample(SamplingConfig::default()),
        Strategy::Beam(BeamConfig { beams: 1, ..BeamConfig::default() }),
    ] {
        let config = GenerationConfig { strategy, ..greedy(6) };
        let error = generate(&broken, &batch, &config).unwrap_err().to_string();
        assert!(error.starts_with("sample 1: expected a finite score for every token, found NaN"), "{error}");
    }
    let error = generate(&broken, &batch, &greedy(6)).unwrap_err().to_string();
    assert!(error.ends_with("after 2 tokens"), "{error}");
    let error = generate(&t5("t5_v1_0"), &TokenBatch::from_sequences([vec![5u32], vec![]]), &greedy(6));
    assert!(error.unwrap_err().to_string().starts_with("sample 1: expected a prompt of 1 to 64 tokens"));
}

#[test]
fn settings_out_of_range_are_refused() {
    let model = scripted(|_, _| one_hot(1));
    let batch = TokenBatch::from_sequences([[5u32]]);
    let refused = |json: &str| {
        let config: GenerationConfig = serde_json::from_str(json).unwrap();
        generate(&model, &batch, &config).unwrap_err().to_string()
    };
    assert_eq!(
        refused(r#"{"max_new_tokens": 0}"#),
        "generate: expected `max_new_tokens`: 1 to 65536, found 0"
    );
    assert!(refused(r#"{"sequences": 2}"#).contains("`sequences`: 1 with greedy search, found 2"));
    assert!(refused(r#"{"strategy": {"sample": {"temperature": 0}}}"#).contains("`temperature`: above 0"));
    assert!(refused(r#"{"strategy": {"sample": {"top_p": 1.5}}}"#).contains("`top_p`: above 0, at most 1"));
    assert!(refused(r#"{"strategy": {"beam": {"beams": 0}}}"#).contains("`beams`: 1 to 65536"));
    assert!(
        refused(r#"{"strategy": {"beam": {"groups": 3}}}"#).contains("a divisor of the 4 beams, found 3")
    );
    assert!(refused(r#"{"sequences": 5, "strategy": {"beam": {}}}"#).contains("at most the 4 beams"));
    assert!(
        refused(r#"{"copy_speculation": {"draft_tokens": 0}}"#).contains("`copy_speculation.draft_tokens`")
    );
    assert!(serde_json::from_str::<GenerationConfig>(r#"{"temperatur": 1}"#).is_err());
}

#[test]
fn a_directory_opens_by_its_model_type() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes).unwrap();
    let mut config = golden("t5_v1_0")["config"].clone();
    config["vocab_size"] = 48.into();
    write("config.json", config.to_string().as_bytes());
    write("model.safetensors", &std::fs::read(fixture_path("t5_v1_0.safetensors")).unwrap());
    let error = language_model::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("config.json: missing field `model_type`"), "{error}");
    config["model_type"] = "gpt9".into();
    write("config.json", config.to_string().as_bytes());
    let error = language_model::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("`model_type` is `gpt9`, expected"), "{error}");
    config["model_type"] = "t5".into();
    write("config.json", config.to_string().as_bytes());
    write("tokenizer.json", &std::fs::read(fixture_path("tokenizer.json")).unwrap());
    let (model, tokenizer) = language_model::open(directory.path()).unwrap();
    assert_eq!((model.width(), model.vocabulary_size(), tokenizer.context_length()), (16, 48, 64));
    let weights = std::fs::read(fixture_path("t5_v1_0.safetensors")).unwrap();
    write("model.safetensors", &weights[..weights.len() - 1]);
    let error = language_model::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("model.safetensors: not a valid safetensors file"), "{error}");
}
