//! Weights in other files than one safetensors: PyTorch's pickles, and what conversion writes.
#![allow(clippy::unwrap_used)]

mod support;

use relens_models::dual_encoder::DualEncoder;
use relens_models::dual_encoder::architecture::convert;
use relens_models::weights::{ElementType, Weights};
use support::{assert_close, fixture_path};

#[test]
fn a_pickle_holds_the_same_tensors_as_the_safetensors_beside_it() {
    let safetensors = Weights::open(fixture_path("checkpoints/model.safetensors")).unwrap();
    for (file, what) in [("model.bin", "a dictionary of tensors"), ("training.pt", "one under `state_dict`")]
    {
        let pickle = Weights::open_pickle(fixture_path("checkpoints").join(file)).unwrap();
        assert_eq!(pickle.names().collect::<Vec<_>>(), safetensors.names().collect::<Vec<_>>(), "{what}");
        for name in safetensors.names() {
            let shape = safetensors.shape(name).unwrap();
            let [found, expected] =
                [&pickle, &safetensors].map(|weights| weights.tensor(name, shape).unwrap());
            assert_close(&format!("{file}: {name}"), &found, &expected, 0.0, 0.0);
        }
    }
}

#[test]
fn damaged_pickles_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture_path("checkpoints/model.bin")).unwrap();
    for (what, bytes) in
        [("empty", &[][..]), ("no archive", b"hello"), ("truncated", &whole[..whole.len() / 2])]
    {
        let path = directory.path().join("model.bin");
        std::fs::write(&path, bytes).unwrap();
        let error = Weights::open_pickle(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{what}: {error}");
    }
    let error = Weights::open_pickle(directory.path().join("none.bin")).unwrap_err().to_string();
    assert!(error.contains("none.bin"), "{error}");
}

#[test]
fn a_converted_model_embeds_as_the_original() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["open_clip_vit", "hugging_face_clip", "original_chinese_clip"] {
        let source = fixture_path("architectures").join(name);
        let target = directory.path().join(name);
        convert(&source, &target, ElementType::F32).unwrap();
        let [original, converted] = [&source, &target].map(|path| DualEncoder::open(path).unwrap());
        let tokens = original.open_tokenizer().unwrap().encode_batch(&["a dog runs", ""]).unwrap();
        let again = converted.open_tokenizer().unwrap().encode_batch(&["a dog runs", ""]).unwrap();
        assert_eq!(tokens, again);
        let [expected, found] = [&original, &converted].map(|model| model.encode_text(&tokens).unwrap());
        assert_close(name, &found, &expected, 0.0, 0.0);
        let refused = convert(&source, &target, ElementType::F32).unwrap_err().to_string();
        assert!(refused.contains(target.to_str().unwrap()), "{refused}");
    }
}
