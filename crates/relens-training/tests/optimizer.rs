//! AdamW, clipping, accumulation and averaging against PyTorch and against each other.
//! The fixture is made by `tools/reference/make_objectives_fixtures.py`.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use relens_training::TrainingError;
use relens_training::optimizer::{
    AdamW, AdamWConfig, GradientAccumulator, Gradients, NamedParameter, WeightAverage, check_and_clip,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    weight: Vec<Vec<f32>>,
    bias: Vec<f32>,
    x: Vec<Vec<f32>>,
    y: Vec<Vec<f32>>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    loss: f32,
    gradient_norm: f64,
    weight: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

fn fixture() -> Fixture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/adamw.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn matrix(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

fn parameters(fixture: &Fixture) -> Vec<NamedParameter> {
    vec![
        NamedParameter::new("weight", Var::from_tensor(&matrix(&fixture.weight)).unwrap())
            .with_learning_rate_scale(0.5),
        NamedParameter::new("bias", Var::new(fixture.bias.as_slice(), &Device::Cpu).unwrap()),
    ]
}

fn loss(parameters: &[NamedParameter], x: &Tensor, y: &Tensor) -> Tensor {
    let output = x.matmul(&parameters[0].var).unwrap().broadcast_add(&parameters[1].var).unwrap();
    (output.tanh().unwrap() - y).unwrap().sqr().unwrap().sum_all().unwrap()
}

fn optimizer(parameters: &[NamedParameter]) -> AdamW {
    let config = AdamWConfig { weight_decay: 0.2, ..AdamWConfig::default() };
    AdamW::new(config, parameters.to_vec()).unwrap()
}

fn train_step(optimizer: &mut AdamW, x: &Tensor, y: &Tensor) -> (f32, f64) {
    let loss = loss(optimizer.parameters(), x, y);
    let mut store = loss.backward().unwrap();
    let step = optimizer.steps() + 1;
    let gradients = Gradients::take(&mut store, optimizer.parameters(), step).unwrap();
    let (gradients, norm) = check_and_clip(&gradients, optimizer.parameters(), 1.5, step).unwrap();
    optimizer.step(&gradients, 0.01).unwrap();
    (loss.to_scalar().unwrap(), norm)
}

fn values(parameter: &NamedParameter) -> Vec<f32> {
    parameter.var.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{name}: {found}, expected {expected}");
    }
}

#[test]
fn ten_steps_equal_torch_adamw() {
    let fixture = fixture();
    let mut optimizer = optimizer(&parameters(&fixture));
    let (x, y) = (matrix(&fixture.x), matrix(&fixture.y));
    assert_eq!(fixture.steps.len(), 10);
    for (index, step) in fixture.steps.iter().enumerate() {
        let (loss, norm) = train_step(&mut optimizer, &x, &y);
        assert_close(&format!("loss {index}"), &[loss], &[step.loss], 1e-4);
        assert!((norm - step.gradient_norm).abs() < 1e-4, "norm {norm}, PyTorch {}", step.gradient_norm);
        assert_close(
            &format!("weight {index}"),
            &values(&optimizer.parameters()[0]),
            &step.weight.concat(),
            2e-6,
        );
        assert_close(&format!("bias {index}"), &values(&optimizer.parameters()[1]), &step.bias, 2e-6);
    }
}

#[test]
fn saved_state_continues_with_the_same_bytes() {
    let fixture = fixture();
    let (x, y) = (matrix(&fixture.x), matrix(&fixture.y));
    let mut whole = optimizer(&parameters(&fixture));
    (0..6).for_each(|_| assert!(train_step(&mut whole, &x, &y).0.is_finite()));

    let mut first = optimizer(&parameters(&fixture));
    (0..3).for_each(|_| assert!(train_step(&mut first, &x, &y).0.is_finite()));
    let copies = first
        .parameters()
        .iter()
        .map(|parameter| NamedParameter {
            var: Var::from_tensor(&parameter.var.copy().unwrap()).unwrap(),
            ..parameter.clone()
        })
        .collect::<Vec<_>>();
    let mut second = optimizer(&copies);
    second.load_state(&first.state().unwrap().into_iter().collect(), first.steps()).unwrap();
    (0..3).for_each(|_| assert!(train_step(&mut second, &x, &y).0.is_finite()));
    for (left, right) in whole.parameters().iter().zip(second.parameters()) {
        assert_eq!(values(left), values(right), "{}", left.name);
    }
}

#[test]
fn a_state_of_another_shape_is_refused_by_name() {
    let fixture = fixture();
    let mut optimizer = optimizer(&parameters(&fixture));
    let mut state: std::collections::HashMap<_, _> = optimizer.state().unwrap().into_iter().collect();
    state.insert("square.bias".into(), Tensor::zeros(3, candle_core::DType::F32, &Device::Cpu).unwrap());
    let error = optimizer.load_state(&state, 1).unwrap_err().to_string();
    assert!(error.contains("square.bias") && error.contains("[4]") && error.contains("[3]"), "{error}");
}

#[test]
fn accumulated_micro_batches_equal_the_large_batch() {
    let fixture = fixture();
    let parameters = parameters(&fixture);
    let mean_loss = |start: usize, count: usize| {
        let (x, y) = (matrix(&fixture.x), matrix(&fixture.y));
        let part =
            loss(&parameters, &x.narrow(0, start, count).unwrap(), &y.narrow(0, start, count).unwrap());
        let mut store = (part / count as f64).unwrap().backward().unwrap();
        Gradients::take(&mut store, &parameters, 1).unwrap()
    };
    let whole = mean_loss(0, 6);
    let mut accumulator = GradientAccumulator::default();
    for (start, count) in [(0, 1), (1, 3), (4, 2)] {
        accumulator.add(&mean_loss(start, count), count).unwrap();
    }
    let accumulated = accumulator.take().unwrap().unwrap();
    for (left, right) in whole.tensors().iter().zip(accumulated.tensors()) {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close("accumulated", &flat(right), &flat(left), 1e-5);
    }
    assert!(accumulator.take().unwrap().is_none(), "taking empties the accumulator");
}

#[test]
fn a_parameter_outside_the_loss_is_named() {
    let fixture = fixture();
    let mut parameters = parameters(&fixture);
    let mut store = loss(&parameters, &matrix(&fixture.x), &matrix(&fixture.y)).backward().unwrap();
    parameters.push(NamedParameter::new("forgotten", Var::new(1f32, &Device::Cpu).unwrap()));
    let error = Gradients::take(&mut store, &parameters, 4).unwrap_err();
    assert!(
        matches!(&error, TrainingError::MissingGradient { step: 4, parameter } if parameter == "forgotten")
    );
}

#[test]
fn the_average_follows_the_formula_and_swaps_back() {
    let var = Var::new(&[0f32], &Device::Cpu).unwrap();
    let parameters = [NamedParameter::new("p", var.clone())];
    let mut average = WeightAverage::new(0.5, &parameters).unwrap();
    let mut expected = 0f32;
    for step in 1..=12u64 {
        var.set(&Tensor::new(&[step as f32], &Device::Cpu).unwrap()).unwrap();
        average.update(&parameters, step).unwrap();
        let decay = 0.5f32.min((1.0 + step as f32) / (10.0 + step as f32));
        expected = decay * expected + (1.0 - decay) * step as f32;
    }
    average.swap(&parameters).unwrap();
    assert_close("average", &values(&parameters[0]), &[expected], 1e-5);
    average.swap(&parameters).unwrap();
    assert_eq!(values(&parameters[0]), [12.0]);
}
