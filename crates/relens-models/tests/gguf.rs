//! GGUF files against transformers with the same rounded weights (tools/reference/make_gguf_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;

use candle_core::{DType, Tensor};
use relens_models::language_model::LanguageModel;
use relens_models::language_model::gguf::Gguf;
use relens_models::language_model::llama::LlamaModel;
use relens_models::ops::QuantizedFormat;
use relens_models::parameters::LinearStorage;
use relens_models::tokenizer::TokenBatch;
use relens_models::weights::ElementType;
use support::{assert_close, fixture, fixture_path, values};

fn path() -> PathBuf {
    fixture_path("gguf/tiny.gguf")
}

fn integers(tensor: &Tensor) -> Vec<u32> {
    tensor.to_dtype(DType::U32).unwrap().to_vec1().unwrap()
}

fn golden() -> (TokenBatch, Tensor) {
    let golden = fixture("gguf/golden.safetensors");
    let offsets: Vec<usize> = integers(&golden["offsets"]).iter().map(|&x| x as usize).collect();
    let truncated = vec![false; offsets.len() - 1];
    (TokenBatch { ids: integers(&golden["ids"]), offsets, truncated }, golden["logits"].clone())
}

fn logits(model: &LlamaModel, batch: &TokenBatch) -> Tensor {
    model.logits(&model.hidden(batch).unwrap()).unwrap()
}

#[test]
fn logits_equal_those_of_the_widened_weights() {
    let (batch, expected) = golden();
    for storage in [LinearStorage::AsStored, LinearStorage::Float] {
        let (model, _) = LlamaModel::open(path(), storage).unwrap();
        assert_close("logits", &logits(&model, &batch), &expected, 1e-4, 1e-4);
        assert_eq!(model.end_of_sequence(), [2]);
    }
}

#[test]
fn tokens_one_by_one_score_as_all_at_once() {
    let (batch, expected) = golden();
    let (model, _) = LlamaModel::open(path(), LinearStorage::AsStored).unwrap();
    for row in 0..batch.len() {
        let ids = batch.sequence(row).unwrap();
        let mut decoder = model.decoder(&TokenBatch::from_sequences([&ids[..1]])).unwrap();
        for (i, id) in ids.iter().enumerate() {
            let scores = decoder.step(&[&[*id]]).unwrap();
            let wanted = expected.narrow(0, batch.offsets[row] + i, 1).unwrap();
            assert_close("scores", &scores, &wanted, 1e-4, 1e-4);
        }
    }
}

#[test]
fn fewer_bits_lose_a_little_and_no_more() {
    let (batch, expected) = golden();
    let error = |format| {
        let (model, _) = LlamaModel::open(path(), LinearStorage::Quantized(format)).unwrap();
        let difference = (logits(&model, &batch) - &expected).unwrap().sqr().unwrap().mean_all().unwrap();
        let size = expected.sqr().unwrap().mean_all().unwrap();
        (difference.to_scalar::<f32>().unwrap() / size.to_scalar::<f32>().unwrap()).sqrt()
    };
    let (eight, four) = (error(QuantizedFormat::Q8), error(QuantizedFormat::Q4));
    assert!(eight > 0.0 && eight < 0.02, "relative error with eight bits {eight}");
    assert!(four > eight && four < 0.25, "relative error with four bits {four}");
}

#[test]
fn the_tokenizer_inside_splits_as_the_one_it_was_made_of() {
    let (_, tokenizer) = LlamaModel::open(path(), LinearStorage::AsStored).unwrap();
    let texts: Vec<String> =
        serde_json::from_str(&std::fs::read_to_string(fixture_path("gguf/texts.json")).unwrap()).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let found = tokenizer.encode_batch(&texts).unwrap();
    let golden = fixture("gguf/golden.safetensors");
    assert_eq!(found.ids, integers(&golden["text_ids"]));
    let offsets: Vec<usize> = integers(&golden["text_offsets"]).iter().map(|&x| x as usize).collect();
    assert_eq!(found.offsets, offsets);
    assert_eq!(tokenizer.decode(found.sequence(0).unwrap()).unwrap(), texts[0]);
}

#[test]
fn a_hugging_face_directory_made_of_it_computes_the_same() {
    let directory = tempfile::tempdir().unwrap();
    Gguf::open(path()).unwrap().save_hugging_face(directory.path(), ElementType::F32).unwrap();
    let (batch, expected) = golden();
    let (model, tokenizer) = LlamaModel::open(directory.path(), LinearStorage::AsStored).unwrap();
    assert_close("logits", &logits(&model, &batch), &expected, 1e-4, 1e-4);
    assert_eq!(model.end_of_sequence(), [2]);
    let (original, inside) = LlamaModel::open(path(), LinearStorage::Float).unwrap();
    assert_eq!(values(&logits(&model, &batch)), values(&logits(&original, &batch)));
    let text = "The dog <|im_end|> 12";
    assert_eq!(tokenizer.encode_batch(&[text]).unwrap(), inside.encode_batch(&[text]).unwrap());
    let mut config = original.config().clone();
    config.norm_eps = model.config().norm_eps;
    assert_eq!(&config, model.config());
    assert!((original.config().norm_eps - model.config().norm_eps).abs() < 1e-9);
}

#[test]
fn truncated_and_corrupt_files_are_refused_without_a_panic() {
    let directory = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(path()).unwrap();
    let cut = directory.path().join("cut.gguf");
    let open = |bytes: &[u8]| {
        std::fs::write(&cut, bytes).unwrap();
        LlamaModel::open(&cut, LinearStorage::AsStored).map(|_| ()).map_err(|error| error.to_string())
    };
    for length in (0..bytes.len() - 1).step_by(97) {
        let error = open(&bytes[..length]).unwrap_err();
        assert!(error.contains("cut.gguf: GGUF: "), "{length} of {} bytes: {error}", bytes.len());
    }
    let error = open(&bytes[..bytes.len() - 64]).unwrap_err();
    assert!(error.contains("tensor `") && error.contains("it is truncated"), "{error}");
    for position in (0..2000).step_by(7) {
        let mut corrupt = bytes.clone();
        corrupt[position] ^= 0xff;
        let _ = open(&corrupt);
    }
    let replaced = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to);
        open(&changed).unwrap_err()
    };
    let error = replaced(b"llama", b"mamba");
    assert!(
        error.contains("`general.architecture` is `mamba`, expected one of llama, qwen2, qwen3"),
        "{error}"
    );
    let error = replaced(b"llama.block_count", b"llama.block_xount");
    assert!(error.contains("missing field `llama.block_count`"), "{error}");
    let error = replaced(b"smollm", b"strang");
    assert!(error.contains("`tokenizer.ggml.pre` is `strang`"), "{error}");
    let error = replaced(b"blk.1.ffn_up.weight", b"blk.1.ffn_xp.weight");
    assert!(error.contains("tensor `model.layers.1.mlp.up_proj.weight` is missing"), "{error}");

    let gguf = Gguf::open(path()).unwrap();
    let norm = gguf.weights().tensor("model.norm.weight", &[32]).unwrap().to_vec1::<f32>().unwrap();
    let needle: Vec<u8> = norm[..2].iter().flat_map(|value| value.to_le_bytes()).collect();
    let error = replaced(&needle, &f32::NAN.to_le_bytes());
    assert!(error.contains("tensor `model.norm.weight` holds NaN at element 0"), "{error}");
}
