//! Pixels are explained through every kind of image tower.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use relens::embed::retriever::Retriever;
use relens::explanation::integrated_gradients::{IntegratedGradientsConfig, integrated_gradients};
use relens::explanation::{DifferentiableScore, RetrievalScore};
use relens::progress::Silent;

/// Small random models in the layouts of open_clip and Hugging Face.
const TOWERS: [&str; 6] = [
    "open_clip_vit",
    "open_clip_resnet",
    "open_clip_eva02",
    "open_clip_siglip",
    "open_clip_coca",
    "hugging_face_chinese_clip",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../relens-models/tests/fixtures/architectures").join(name)
}

/// Numbers without order, from −1 to 1.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// The gradient is the slope of the score: moved along it, the score rises by its length.
fn check_slope(name: &str, retriever: &Retriever) {
    let score = RetrievalScore::new(retriever, &noise(retriever.dim(), 1)).unwrap();
    let picture = noise(score.size().values(), 2);
    let found = score.gradients(&picture).unwrap();
    assert_eq!(found.gradients.len(), picture.len());
    let length = found.gradients.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!(length > 0.0, "{name}: no gradient reaches the pixels");
    let moved = |by: f32| -> Vec<f32> {
        picture.iter().zip(&found.gradients).map(|(x, slope)| x + by * slope / length).collect()
    };
    let step = 0.02;
    let ends = score.scores(&[moved(step), moved(-step)].concat()).unwrap();
    let slope = (ends[0] - ends[1]) / (2.0 * step);
    assert!((slope - length).abs() < 0.03 * length, "{name}: slope {slope}, gradient {length}");
    let scored = score.scores(&picture).unwrap()[0];
    assert!((scored - found.scores[0]).abs() < 1e-4, "{name}: {scored} {}", found.scores[0]);
}

#[test]
fn gradients_of_every_tower_are_slopes() {
    for name in TOWERS {
        check_slope(name, &Retriever::open(fixture(name)).unwrap());
    }
}

#[test]
fn attributions_through_every_tower_add_up() {
    for name in TOWERS {
        let retriever = Retriever::open(fixture(name)).unwrap();
        let score = RetrievalScore::new(&retriever, &noise(retriever.dim(), 3)).unwrap();
        let (picture, baseline) = (noise(score.size().values(), 4), vec![0.0; score.size().values()]);
        let config = IntegratedGradientsConfig::default();
        let found = integrated_gradients(&score, &picture, &baseline, config, &mut Silent).unwrap();
        let missed = (found.map.sum() - f64::from(found.score - found.baseline_score)).abs();
        assert!(missed < 0.02, "{name}: missed by {missed}: {} {}", found.score, found.baseline_score);
    }
}

#[test]
fn the_bundled_retriever_is_explained() {
    check_slope("relens-mini", &Retriever::bundled("relens-mini").unwrap());
}

#[test]
fn a_query_of_another_space_is_refused() {
    let retriever = Retriever::open(fixture("open_clip_vit")).unwrap();
    assert!(RetrievalScore::new(&retriever, &[1.0]).is_err());
    let score = RetrievalScore::new(&retriever, &noise(retriever.dim(), 1)).unwrap();
    assert!(score.gradients(&[0.0; 5]).is_err());
}
