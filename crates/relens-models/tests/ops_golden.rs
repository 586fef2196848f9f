//! Values and gradients of every kernel against PyTorch (tools/reference/make_ops_fixtures.py).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;

use candle_core::{Tensor, Var};
use relens_models::Result;
use relens_models::ops::{self, Activation, AttentionConfig, AttentionMask, RotaryLayout};
use support::{assert_close, fixture, gradients, values};

const OFFSETS: [usize; 5] = [0, 5, 6, 17, 20];

struct Golden(HashMap<String, Tensor>);

impl Golden {
    fn get(&self, case: &str, name: &str) -> &Tensor {
        self.0.get(&format!("{case}.{name}")).unwrap_or_else(|| panic!("the fixture lacks {case}.{name}"))
    }

    /// Compares output and all gradients, for inputs as they are and for inputs with strides.
    fn check(&self, case: &str, inputs: &[&str], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let vars: Vec<Var> =
            inputs.iter().map(|input| Var::from_tensor(self.get(case, input)).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let expected = self.get(case, "output");
        let output = f(&tensors).unwrap();
        assert_close(case, &output, expected, 1e-5, 1e-5);

        let upstream = self.get(case, "upstream");
        let found = gradients(&vars, Some(upstream), &f);
        for (input, gradient) in inputs.iter().zip(&found) {
            let what = format!("{case}: gradient of {input}");
            assert_close(&what, gradient, self.get(case, &format!("d_{input}")), 2e-5, 2e-5);
        }

        let strided: Vec<Tensor> = tensors.iter().map(with_strides).collect();
        assert_eq!(values(&f(&strided).unwrap()), values(&output), "{case}: strides change the result");
        let through_strides = gradients(&vars, Some(upstream), |tensors| {
            f(&tensors.iter().map(with_strides).collect::<Vec<_>>())
        });
        for (direct, through) in found.iter().zip(&through_strides) {
            assert_eq!(values(direct), values(through), "{case}: strides change a gradient");
        }
    }
}

/// The same values behind a layout that is not contiguous (for more than one dimension), and with an offset.
fn with_strides(tensor: &Tensor) -> Tensor {
    let doubled = Tensor::cat(&[tensor, tensor], 0).unwrap();
    let tail = doubled.narrow(0, tensor.dims()[0], tensor.dims()[0]).unwrap();
    match tensor.rank() {
        1 => tail,
        rank => {
            let turned = tail.transpose(0, rank - 1).unwrap().contiguous().unwrap();
            turned.transpose(0, rank - 1).unwrap()
        }
    }
}

#[test]
fn rows_and_elements() {
    let golden = Golden(fixture("ops.safetensors"));
    golden.check("softmax", &["x"], |t| ops::softmax_last_dim(&t[0]));
    golden.check("log_softmax", &["x"], |t| ops::log_softmax_last_dim(&t[0]));
    golden.check("gelu", &["x"], |t| ops::gelu(&t[0]));
    golden.check("gelu_tanh", &["x"], |t| ops::gelu_tanh(&t[0]));
    golden.check("quick_gelu", &["x"], |t| ops::quick_gelu(&t[0]));
    golden.check("relu", &["x"], |t| ops::activation(&t[0], Activation::Relu));
    golden.check("relu6", &["x"], |t| ops::relu6(&t[0]));
    golden.check("silu", &["x"], |t| ops::silu(&t[0]));
    golden.check("tanh", &["x"], |t| ops::activation(&t[0], Activation::Tanh));
    golden.check("layer_norm", &["x", "weight", "bias"], |t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5));
    golden.check("rms_norm", &["x", "weight"], |t| ops::rms_norm(&t[0], &t[1], 1e-6));
    golden.check("l2_normalize", &["x"], |t| ops::l2_normalize(&t[0]));
}

#[test]
fn products_and_tables() {
    let golden = Golden(fixture("ops.safetensors"));
    golden.check("linear", &["x", "weight", "bias"], |t| ops::linear(&t[0], &t[1], Some(&t[2])));
    golden.check("linear_without_bias", &["x", "weight"], |t| ops::linear(&t[0], &t[1], None));
    let ids: Vec<u32> = values(golden.get("embedding", "ids")).into_iter().map(|id| id as u32).collect();
    golden.check("embedding", &["table"], |t| ops::embedding(&t[0], &ids));
    let offsets = OFFSETS;
    golden.check("mean_pool", &["x"], |t| ops::mean_pool(&t[0], &offsets));
}

#[test]
fn rotary_in_both_layouts() {
    let golden = Golden(fixture("ops.safetensors"));
    for (case, layout) in
        [("rotary", RotaryLayout::Halves), ("rotary_interleaved", RotaryLayout::Interleaved)]
    {
        let (cos, sin) = (golden.get(case, "cos"), golden.get(case, "sin"));
        golden.check(case, &["x"], |t| ops::rotary(&t[0], cos, sin, layout));
    }
}

#[test]
fn attention_packed_and_grouped() {
    let golden = Golden(fixture("ops.safetensors"));
    let offsets = OFFSETS;
    for (case, mask) in [("attention", AttentionMask::None), ("attention_causal", AttentionMask::Causal)] {
        golden.check(case, &["qkv"], |t| ops::attention(&t[0], &offsets, &AttentionConfig::new(3, mask)));
        golden.check(case, &["qkv"], |t| {
            let part = |i: usize| t[0].narrow(1, i * 24, 24);
            let config = AttentionConfig::new(3, mask);
            ops::attention_separate(&part(0)?, &part(1)?, &part(2)?, &offsets, &offsets, &config)
        });
    }
    let keys = [0, 5, 9, 20, 27];
    let config = AttentionConfig {
        heads: 4,
        key_value_heads: 2,
        mask: AttentionMask::Causal,
        scale: Some(0.7),
        dropout: None,
    };
    golden.check("attention_grouped", &["q", "k", "v"], |t| {
        ops::attention_separate(&t[0], &t[1], &t[2], &offsets, &keys, &config)
    });
}
