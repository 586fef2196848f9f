//! A batch in chunks gives the gradients of the batch in one piece.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use rand::RngExt;
use relens_training::objectives::{ContrastiveObjective, ContrastiveTargets, contrastive};
use relens_training::optimizer::{Gradients, NamedParameter};
use relens_training::run::gradient_cache::{ChunkedEncoder, cached_gradients};
use relens_training::{TrainingError, random};

const IMAGES: usize = 8;
const TEXTS: usize = 16;

fn normal(rows: usize, columns: usize, purpose: &str) -> Tensor {
    let mut values = vec![0f32; rows * columns];
    random::fill_normal(&mut values, &mut random::stream(3, purpose, 0));
    Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
}

struct Setup {
    parameters: Vec<NamedParameter>,
    pictures: Tensor,
    texts: Tensor,
}

impl Setup {
    fn new() -> Self {
        let parameter =
            |name: &str, tensor: Tensor| NamedParameter::new(name, Var::from_tensor(&tensor).unwrap());
        Self {
            parameters: vec![
                parameter("image.weight", normal(5, 4, "image")),
                parameter("text.weight", normal(6, 4, "text")),
                parameter("logit_scale", Tensor::new(2f32, &Device::Cpu).unwrap()),
            ],
            pictures: normal(IMAGES, 5, "pictures"),
            texts: normal(TEXTS, 6, "texts"),
        }
    }

    /// A two-layer encoder with dropout from a stream of the row's own.
    fn embed(&self, side: usize, start: usize, rows: usize) -> Tensor {
        let inputs = [&self.pictures, &self.texts][side].narrow(0, start, rows).unwrap();
        let mut keep = Vec::new();
        for row in start..start + rows {
            let mut rng = random::stream(9, ["image dropout", "text dropout"][side], row as u64);
            keep.extend((0..4).map(|_| if rng.random::<f32>() < 0.3 { 0f32 } else { 1.0 }));
        }
        let keep = Tensor::from_vec(keep, (rows, 4), &Device::Cpu).unwrap();
        let hidden = inputs.matmul(&self.parameters[side].var).unwrap().tanh().unwrap();
        let dropped = (hidden * keep).unwrap();
        let norm = (dropped.sqr().unwrap().sum_keepdim(1).unwrap() + 1e-6).unwrap().sqrt().unwrap();
        dropped.broadcast_div(&norm).unwrap()
    }

    fn loss(&self, embeddings: &[Tensor]) -> Tensor {
        let image_of_text: Vec<u32> = (0..TEXTS as u32).map(|text| text / 2).collect();
        let targets = ContrastiveTargets::joint(IMAGES, &image_of_text, &Device::Cpu).unwrap();
        let objective = ContrastiveObjective { label_smoothing: 0.1, ..Default::default() };
        contrastive(&embeddings[0], &embeddings[1], &self.parameters[2].var, &targets, &objective)
            .unwrap()
            .loss
    }

    fn chunked(&self, image_chunk: usize, text_chunk: usize) -> (f32, Gradients) {
        let encoder = |side: usize, total: usize, chunk: usize| ChunkedEncoder {
            chunks: total.div_ceil(chunk),
            embed: Box::new(move |index| {
                let start = index * chunk;
                Ok(self.embed(side, start, chunk.min(total - start)))
            }),
        };
        let mut encoders = [encoder(0, IMAGES, image_chunk), encoder(1, TEXTS, text_chunk)];
        cached_gradients(&mut encoders, |embeddings| Ok(self.loss(embeddings)), &self.parameters, 1).unwrap()
    }
}

#[test]
fn chunks_equal_the_whole_batch() {
    let setup = Setup::new();
    let loss = setup.loss(&[setup.embed(0, 0, IMAGES), setup.embed(1, 0, TEXTS)]);
    let whole = Gradients::take(&mut loss.backward().unwrap(), &setup.parameters, 1).unwrap();
    for (image_chunk, text_chunk) in [(8, 16), (8, 4), (3, 5), (1, 1)] {
        let (value, chunked) = setup.chunked(image_chunk, text_chunk);
        assert!((value - loss.to_scalar::<f32>().unwrap()).abs() < 1e-6);
        for ((left, right), parameter) in whole.tensors().iter().zip(chunked.tensors()).zip(&setup.parameters)
        {
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (left, right) = (flat(left), flat(right));
            assert!(left.iter().any(|value| value.abs() > 1e-3), "{} has a gradient", parameter.name);
            for (left, right) in left.iter().zip(&right) {
                assert!((left - right).abs() < 2e-6, "{}: {left} whole, {right} in chunks", parameter.name);
            }
        }
    }
}

#[test]
fn a_loss_that_is_not_a_number_stops_with_the_step() {
    let setup = Setup::new();
    let mut encoders = [ChunkedEncoder { chunks: 1, embed: Box::new(|_| Ok(setup.embed(0, 0, IMAGES))) }];
    let nan = |embeddings: &[Tensor]| Ok((embeddings[0].sum_all()? * f64::NAN)?);
    let error = cached_gradients(&mut encoders, nan, &setup.parameters, 12).unwrap_err();
    assert!(matches!(error, TrainingError::NonFiniteLoss { step: 12, .. }), "{error}");
}
