//! The bundled retriever against open_clip on the same weights.
//!
//! The golden numbers come from `tools/reference/make_dual_encoder_fixtures.py`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;
use relens_models::image_preprocessing::RgbImage;
use serde::Deserialize;

/// What the reference implementation and ours may differ by, in any component of a vector of length 1.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    image_size: u32,
    texts: Vec<String>,
    image_embeddings: Vec<Vec<f32>>,
    text_embeddings: Vec<Vec<f32>>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("fixtures/relens-mini.json")).unwrap()
}

/// The same integer arithmetic as `texture` in the script.
fn texture(seed: u32, side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| {
        image_pixel(std::array::from_fn(|channel| {
            let c = u32::try_from(channel).unwrap();
            let coarse = ((x / 16 + seed) * (y / 16 + 2 * seed + c) * 37) % 200;
            let fine = (x * (3 + seed) + y * (5 + c) + x * y / 32) % 56;
            u8::try_from(coarse + fine).unwrap()
        }))
    })
}

fn image_pixel(channels: [u8; 3]) -> <RgbImage as std::ops::Index<(u32, u32)>>::Output {
    channels.into()
}

fn assert_close(ours: &Embeddings, reference: &[Vec<f32>]) {
    assert_eq!(ours.rows(), reference.len());
    for (index, expected) in reference.iter().enumerate() {
        let found = ours.row(index);
        assert_eq!(found.len(), expected.len());
        let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest <= TOLERANCE, "row {index} differs by {largest}");
    }
}

#[test]
fn images_equal_the_reference() {
    let golden = golden();
    let retriever = Retriever::bundled("relens-mini").unwrap();
    let count = u32::try_from(golden.image_embeddings.len()).unwrap();
    let pictures: Vec<RgbImage> = (1..=count).map(|seed| texture(seed, golden.image_size)).collect();
    assert_close(&retriever.embed_images(&pictures).unwrap(), &golden.image_embeddings);
}

#[test]
fn texts_equal_the_reference_in_one_batch_and_alone() {
    let golden = golden();
    let retriever = Retriever::bundled("relens-mini").unwrap();
    assert_close(&retriever.embed_texts(&golden.texts).unwrap(), &golden.text_embeddings);
    for (text, expected) in golden.texts.iter().zip(golden.text_embeddings) {
        assert_close(&retriever.embed_texts(&[text]).unwrap(), &[expected]);
    }
}

#[test]
fn a_caption_is_nearer_to_itself_than_to_others() {
    let retriever = Retriever::bundled("relens-mini").unwrap();
    let texts =
        retriever.embed_texts(&["a dog in the snow", "snow with a dog in it", "a plate of food"]).unwrap();
    let scores = texts.scores(texts.row(0)).unwrap();
    assert!(scores[1] > scores[2], "{scores:?}");
}

#[test]
fn equal_models_have_equal_fingerprints() {
    let first = Retriever::bundled("relens-mini").unwrap();
    let second = Retriever::bundled("relens-mini").unwrap();
    assert_eq!(first.fingerprint(), second.fingerprint());
    assert_eq!(first.fingerprint().len(), 64);
}

#[test]
fn the_baseline_shares_the_towers_and_has_other_heads() {
    let (mini, baseline) =
        (Retriever::bundled("relens-mini").unwrap(), Retriever::bundled("relens-mini-baseline").unwrap());
    assert_ne!(mini.fingerprint(), baseline.fingerprint());
    let cosine = |retriever: &Retriever, other: &Retriever| {
        let (a, b) = (retriever.embed_texts(&["a dog"]).unwrap(), other.embed_texts(&["a dog"]).unwrap());
        a.row(0).iter().zip(b.row(0)).map(|(a, b)| a * b).sum::<f32>()
    };
    let between = cosine(&mini, &baseline);
    assert!(between > 0.5 && between < 0.999, "alike, for they began with the same heads: {between}");
}
