//! The objectives against PyTorch's values and gradients, and against finite differences.
//! The fixture is made by `tools/reference/make_objectives_fixtures.py`.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use relens_training::objectives::{
    ContrastiveObjective, ContrastiveTargets, PositiveReduction, contrastive, cross_entropy_with_targets,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    image_of_text: Vec<u32>,
    images: Vec<Vec<f32>>,
    texts: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    label_smoothing: f64,
    positive_reduction: PositiveReduction,
    hard_negative_beta: f64,
    triplet_weight: f64,
    triplet_margin: f64,
    teacher_weight: f64,
    teacher_scale: f64,
    logit_scale: f32,
    loss: f32,
    image_to_text: f32,
    text_to_image: f32,
    gradient_images: Vec<Vec<f32>>,
    gradient_texts: Vec<Vec<f32>>,
    gradient_logit_scale: f32,
}

fn fixture() -> Fixture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/objectives.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn var(rows: &[Vec<f32>]) -> Var {
    let columns = rows[0].len();
    Var::from_vec(rows.concat(), (rows.len(), columns), &Device::Cpu).unwrap()
}

fn targets(fixture: &Fixture, case: &Case) -> ContrastiveTargets {
    let hard = ContrastiveTargets::joint(fixture.images.len(), &fixture.image_of_text, &Device::Cpu).unwrap();
    hard.mixed_with(var(&fixture.teacher).as_tensor(), case.teacher_scale, case.teacher_weight).unwrap()
}

fn objective(case: &Case) -> ContrastiveObjective {
    ContrastiveObjective {
        label_smoothing: case.label_smoothing,
        positive_reduction: case.positive_reduction,
        hard_negative_beta: case.hard_negative_beta,
        triplet_weight: case.triplet_weight,
        triplet_margin: case.triplet_margin,
    }
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let tolerance = 2e-5 * (1.0 + expected.abs());
        assert!((found - expected).abs() <= tolerance, "{name}[{index}]: {found}, PyTorch {expected}");
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn contrastive_losses_and_gradients_equal_pytorch() {
    let fixture = fixture();
    assert!(fixture.cases.len() >= 8);
    for case in &fixture.cases {
        let (images, texts) = (var(&fixture.images), var(&fixture.texts));
        let logit_scale = Var::new(case.logit_scale, &Device::Cpu).unwrap();
        let targets = targets(&fixture, case);
        let result = contrastive(&images, &texts, &logit_scale, &targets, &objective(case)).unwrap();
        assert_close(&case.name, &flat(&result.loss), &[case.loss]);
        assert_close(&case.name, &flat(&result.image_to_text), &[case.image_to_text]);
        assert_close(&case.name, &flat(&result.text_to_image), &[case.text_to_image]);
        let gradients = result.loss.backward().unwrap();
        assert_close(&case.name, &flat(gradients.get(&images).unwrap()), &case.gradient_images.concat());
        assert_close(&case.name, &flat(gradients.get(&texts).unwrap()), &case.gradient_texts.concat());
        assert_close(&case.name, &flat(gradients.get(&logit_scale).unwrap()), &[case.gradient_logit_scale]);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let fixture = fixture();
    // Hard-negative weights are constants to the gradient, which finite differences cannot know.
    for case in fixture.cases.iter().filter(|case| case.hard_negative_beta == 0.0 && case.logit_scale < 3.0) {
        let texts = var(&fixture.texts);
        let logit_scale = Var::new(case.logit_scale, &Device::Cpu).unwrap();
        let loss = |images: &Tensor| {
            contrastive(images, &texts, &logit_scale, &targets(&fixture, case), &objective(case))
                .unwrap()
                .loss
        };
        let images = var(&fixture.images);
        let gradients = loss(&images).backward().unwrap();
        let analytic = flat(gradients.get(&images).unwrap());
        for element in 0..analytic.len() {
            let shifted = |delta: f32| {
                let mut values = fixture.images.concat();
                values[element] += delta;
                let images = Tensor::from_vec(values, images.shape(), &Device::Cpu).unwrap();
                loss(&images).to_scalar::<f32>().unwrap()
            };
            let numeric = (shifted(1e-3) - shifted(-1e-3)) / 2e-3;
            assert!(
                (numeric - analytic[element]).abs() < 5e-3 * (1.0 + numeric.abs()),
                "{}: element {element}: finite difference {numeric}, gradient {}",
                case.name,
                analytic[element]
            );
        }
    }
}

#[test]
fn extreme_logits_stay_finite() {
    let logits = Var::new(&[[300f32, -300.0, 0.0], [f32::NEG_INFINITY, 1.0, 2.0]], &Device::Cpu).unwrap();
    let targets = Tensor::new(&[[0f32, 1.0, 0.0], [0.0, 0.5, 0.5]], &Device::Cpu).unwrap();
    let loss = cross_entropy_with_targets(&logits, &targets).unwrap();
    assert!(loss.to_scalar::<f32>().unwrap().is_finite());
    let gradients = loss.backward().unwrap();
    assert!(flat(gradients.get(&logits).unwrap()).iter().all(|value| value.is_finite()));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let error = cross_entropy_with_targets(&logits, &logits.t().unwrap()).unwrap_err().to_string();
    assert!(error.contains("[2, 3]") && error.contains("[3, 2]"), "{error}");
}
