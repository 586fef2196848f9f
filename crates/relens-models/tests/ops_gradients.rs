//! Every kernel's gradients against finite differences, its edge cases, and its refusals.
#![allow(clippy::unwrap_used)]

mod support;

use candle_core::{DType, Device, Tensor, Var};
use relens_models::ops::{
    self, Activation, AttentionConfig, AttentionMask, CachedSequence, DropoutMask, RotaryLayout,
};
use support::{assert_close, check_gradients, gradients, random, values};

#[test]
fn finite_differences_of_rows_and_elements() {
    let x = random(&[3, 19], 1, 1.5);
    let (weight, bias) = (random(&[19], 2, 1.0), random(&[19], 3, 1.0));
    check_gradients("softmax", std::slice::from_ref(&x), |t| ops::softmax_last_dim(&t[0]));
    check_gradients("target_log_probs", std::slice::from_ref(&x), |t| {
        ops::target_log_probs(&t[0], &[18, 0, 7])
    });
    check_gradients("log_softmax", std::slice::from_ref(&x), |t| ops::log_softmax_last_dim(&t[0]));
    check_gradients("l2_normalize", std::slice::from_ref(&x), |t| ops::l2_normalize(&t[0]));
    check_gradients("layer_norm", &[x.clone(), weight.clone(), bias.clone()], |t| {
        ops::layer_norm(&t[0], &t[1], &t[2], 1e-5)
    });
    check_gradients(
        "residual_layer_norm",
        &[x.clone(), random(&[3, 19], 4, 1.0), weight.clone(), bias],
        |t| ops::residual_layer_norm(&t[0], &t[1], &t[2], &t[3], 1e-5),
    );
    check_gradients("rms_norm", &[x.clone(), weight], |t| ops::rms_norm(&t[0], &t[1], 1e-5));
    for activation in
        [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu, Activation::Tanh]
    {
        let what = format!("{activation:?}");
        check_gradients(&what, std::slice::from_ref(&x), |t| ops::activation(&t[0], activation));
    }
    // Away from the corners at 0 and 6, where the derivative jumps.
    let smooth = Tensor::new(&[-3.0f32, -0.5, 0.5, 3.0, 5.9, 6.1, 9.0], &Device::Cpu).unwrap();
    check_gradients("relu", std::slice::from_ref(&smooth), |t| ops::activation(&t[0], Activation::Relu));
    check_gradients("relu6", std::slice::from_ref(&smooth), |t| ops::relu6(&t[0]));
}

#[test]
fn finite_differences_of_products_and_tables() {
    let (x, weight, bias) = (random(&[2, 3, 5], 1, 1.0), random(&[5, 7], 2, 1.0), random(&[7], 3, 1.0));
    check_gradients("linear", &[x.clone(), weight.clone(), bias.clone()], |t| {
        ops::linear(&t[0], &t[1], Some(&t[2]))
    });
    check_gradients("linear_activation", &[x, weight, bias], |t| {
        ops::linear_activation(&t[0], &t[1], Some(&t[2]), Activation::Gelu)
    });
    let inputs = [random(&[2, 3, 5], 6, 1.0), random(&[7, 5], 7, 1.0)];
    check_gradients("linear_transposed", &inputs, |t| ops::linear_transposed(&t[0], &t[1]));
    let inputs = [random(&[3, 19], 8, 1.5), random(&[3, 19], 9, 1.5)];
    for activation in [Activation::GeluTanh, Activation::Silu] {
        check_gradients("gated_activation", &inputs, |t| ops::gated_activation(&t[0], &t[1], activation));
    }
    check_gradients("embedding", &[random(&[6, 4], 4, 1.0)], |t| ops::embedding(&t[0], &[5, 0, 5, 2]));
    let offsets = [0, 3, 4, 9];
    check_gradients("mean_pool", &[random(&[9, 4], 5, 1.0)], |t| ops::mean_pool(&t[0], &offsets));
}

#[test]
fn finite_differences_of_attention_and_rotary() {
    let offsets = [0, 3, 3, 4, 9];
    for mask in [AttentionMask::None, AttentionMask::Causal] {
        let config = AttentionConfig::new(2, mask);
        check_gradients("attention", &[random(&[9, 24], 1, 1.0)], |t| {
            ops::attention(&t[0], &offsets, &config)
        });
        check_gradients("attention_with_bias", &[random(&[9, 24], 1, 1.0), random(&[2, 13], 8, 1.0)], |t| {
            ops::attention_with_bias(&t[0], &t[1], &offsets, &config)
        });
        let keys = [0, 4, 4, 5, 10];
        let grouped =
            AttentionConfig { key_value_heads: 2, scale: Some(0.5), ..AttentionConfig::new(4, mask) };
        let inputs = [random(&[9, 16], 2, 1.0), random(&[10, 8], 3, 1.0), random(&[10, 8], 4, 1.0)];
        check_gradients("attention_separate", &inputs, |t| {
            ops::attention_separate(&t[0], &t[1], &t[2], &offsets, &keys, &grouped)
        });
    }
    let angles = random(&[4, 3], 6, 3.0);
    let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
    for layout in [RotaryLayout::Halves, RotaryLayout::Interleaved] {
        check_gradients("rotary", &[random(&[4, 2, 8], 7, 1.0)], |t| ops::rotary(&t[0], &cos, &sin, layout));
        check_gradients("rotary_leading_heads", &[random(&[4, 3, 8], 7, 1.0)], |t| {
            ops::rotary_leading_heads(&t[0], &cos, &sin, layout, 2)
        });
    }
}

#[test]
fn fused_inference_equals_the_composed_steps() {
    let (x, weight, bias) = (random(&[130, 48], 1, 1.0), random(&[48, 96], 2, 1.0), random(&[96], 3, 1.0));
    for activation in [Activation::Gelu, Activation::Relu6, Activation::Silu] {
        let fused = ops::linear_activation(&x, &weight, Some(&bias), activation).unwrap();
        let composed = ops::activation(&ops::linear(&x, &weight, Some(&bias)).unwrap(), activation).unwrap();
        assert_eq!(values(&fused), values(&composed));
    }
    let (residual, scale, shift) = (random(&[130, 48], 4, 1.0), random(&[48], 5, 1.0), random(&[48], 6, 1.0));
    let fused = ops::residual_layer_norm(&x, &residual, &scale, &shift, 1e-5).unwrap();
    let composed = ops::layer_norm(&(&x + &residual).unwrap(), &scale, &shift, 1e-5).unwrap();
    assert_eq!(values(&fused), values(&composed));
}

#[test]
fn a_packed_batch_equals_its_sequences_one_by_one() {
    let offsets = [0, 7, 8, 61, 61, 90];
    let qkv = random(&[90, 3 * 64], 1, 1.0);
    for mask in [AttentionMask::None, AttentionMask::Causal] {
        let config = AttentionConfig::new(4, mask);
        let batch = ops::attention(&qkv, &offsets, &config).unwrap();
        for pair in offsets.windows(2).filter(|pair| pair[0] < pair[1]) {
            let (start, length) = (pair[0], pair[1] - pair[0]);
            let alone = qkv.narrow(0, start, length).unwrap();
            let single = ops::attention(&alone, &[0, length], &config).unwrap();
            assert_close("sequence", &batch.narrow(0, start, length).unwrap(), &single, 1e-6, 1e-6);
        }
    }
}

#[test]
fn new_tokens_attend_to_kept_keys_as_they_do_in_a_whole_sequence() {
    let (heads, key_value_heads, head_dim) = (4, 2, 8);
    let lengths = [70, 1, 9];
    let offsets = [0, 70, 71, 80];
    let bias = random(&[heads, 2 * 80 - 1], 3, 2.0);
    for mask in [AttentionMask::None, AttentionMask::Causal] {
        let config = AttentionConfig { key_value_heads, ..AttentionConfig::new(heads, mask) };
        let qkv = random(&[80, (heads + 2 * key_value_heads) * head_dim], 2, 1.0);
        let whole = ops::attention_with_bias(&qkv, &bias, &offsets, &config).unwrap();
        let columns = |first: usize, count: usize| {
            qkv.narrow(1, first * head_dim, count * head_dim).unwrap().contiguous().unwrap()
        };
        let (keys, kept_values) = (
            values(&columns(heads, key_value_heads)),
            values(&columns(heads + key_value_heads, key_value_heads)),
        );
        let width = key_value_heads * head_dim;
        for new in [1, 5] {
            // The last tokens of every sequence are new.
            let new: Vec<usize> = lengths.iter().map(|&length| new.min(length)).collect();
            let row = |i: usize| offsets[i] * width..offsets[i + 1] * width;
            let cached: Vec<CachedSequence<'_>> = (0..3)
                .map(|i| CachedSequence { keys: &keys[row(i)], values: &kept_values[row(i)] })
                .collect();
            let last = |tensor: &Tensor| {
                let rows: Vec<Tensor> =
                    (0..3).map(|i| tensor.narrow(0, offsets[i + 1] - new[i], new[i]).unwrap()).collect();
                Tensor::cat(&rows, 0).unwrap()
            };
            let query = last(&columns(0, heads));
            let mut new_offsets = vec![0];
            new_offsets.extend(new.iter().scan(0, |total, new| {
                *total += new;
                Some(*total)
            }));
            let found = ops::cached_attention(&query, &new_offsets, &cached, Some(&bias), &config).unwrap();
            assert_close("cached", &found, &last(&whole), 1e-5, 1e-5);
        }
    }
}

#[test]
fn large_inputs_split_over_threads_equal_small_ones() {
    let (x, weight, bias) =
        (random(&[700, 384], 1, 1.0), random(&[384, 500], 2, 0.1), random(&[500], 3, 1.0));
    let whole = ops::linear_activation(&x, &weight, Some(&bias), Activation::Gelu).unwrap();
    for start in [0, 13, 699] {
        let row = x.narrow(0, start, 1).unwrap();
        let alone = ops::linear_activation(&row, &weight, Some(&bias), Activation::Gelu).unwrap();
        assert_close("row", &whole.narrow(0, start, 1).unwrap(), &alone, 1e-5, 1e-5);
    }
    let (scale, shift) = (random(&[384], 4, 1.0), random(&[384], 5, 1.0));
    let vars = [x, scale, shift].map(|tensor| Var::from_tensor(&tensor).unwrap());
    let once = gradients(&vars, None, |t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5));
    let again = gradients(&vars, None, |t| ops::layer_norm(&t[0], &t[1], &t[2], 1e-5));
    for (a, b) in once.iter().zip(&again) {
        assert_eq!(values(a), values(b), "a gradient depends on the order of threads");
    }
}

#[test]
fn target_log_probs_are_the_targets_of_log_softmax() {
    let logits = random(&[5, 700], 3, 40.0);
    let all = ops::log_softmax_last_dim(&logits).unwrap();
    let targets = [699u32, 0, 255, 256, 511];
    let expected: Vec<f32> =
        targets.iter().zip(values(&all).chunks(700)).map(|(&target, row)| row[target as usize]).collect();
    let expected = Tensor::from_vec(expected, 5, &Device::Cpu).unwrap();
    assert_close("target", &ops::target_log_probs(&logits, &targets).unwrap(), &expected, 1e-4, 1e-6);
}

#[test]
fn extreme_numbers_stay_finite_and_broken_ones_stay_visible() {
    let extreme = Tensor::new(&[[1e4f32, -1e4, 0.0, 88.0]], &Device::Cpu).unwrap();
    assert_eq!(values(&ops::softmax_last_dim(&extreme).unwrap()), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(values(&ops::log_softmax_last_dim(&extreme).unwrap())[1], -2e4);
    for activation in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Silu] {
        let output = values(&ops::activation(&extreme, activation).unwrap());
        assert_eq!(output[0], 1e4, "{activation:?}");
        assert_eq!(output[1].abs(), 0.0, "{activation:?}");
    }
    let zero = Tensor::zeros((1, 4), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(values(&ops::l2_normalize(&zero).unwrap()), [0.0; 4]);
    let broken = Tensor::new(&[[1.0f32, f32::NAN, 0.0]], &Device::Cpu).unwrap();
    assert!(values(&ops::softmax_last_dim(&broken).unwrap()).iter().all(|x| x.is_nan()));
    assert!(values(&ops::gelu(&broken).unwrap())[1].is_nan());
    assert!(values(&ops::relu6(&broken).unwrap())[1].is_nan());
}

#[test]
fn empty_tensors_pass_through() {
    let empty = Tensor::zeros((0, 12), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(ops::gelu(&empty).unwrap().dims(), [0, 12]);
    assert_eq!(ops::softmax_last_dim(&empty).unwrap().dims(), [0, 12]);
    assert_eq!(ops::l2_normalize(&empty).unwrap().dims(), [0, 12]);
    let weight = random(&[12, 5], 1, 1.0);
    assert_eq!(ops::linear(&empty, &weight, None).unwrap().dims(), [0, 5]);
    let config = AttentionConfig::new(2, AttentionMask::None);
    assert_eq!(ops::attention(&empty, &[0], &config).unwrap().dims(), [0, 4]);
    assert_eq!(ops::mean_pool(&empty, &[0]).unwrap().dims(), [0, 12]);
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let x = random(&[4, 12], 1, 1.0);
    let message = |result: relens_models::Result<Tensor>| result.unwrap_err().to_string();
    let weight = random(&[11, 5], 2, 1.0);
    let text = message(ops::linear(&x, &weight, None));
    assert_eq!(text, "linear: expected x of shape [.., 11], the weight being [11, 5], found [4, 12]");
    let short = random(&[11], 2, 1.0);
    assert!(message(ops::layer_norm(&x, &short, &short, 1e-5)).contains("weight of shape [12]"));
    assert!(message(ops::embedding(&x, &[4])).contains("ids below 4"));
    assert!(message(ops::target_log_probs(&x, &[0, 1])).contains("expected 4 targets, found 2"));
    assert!(message(ops::target_log_probs(&x, &[0, 1, 12, 3])).contains("targets below 12"));
    assert!(message(ops::mean_pool(&x, &[0, 4, 4])).contains("sequence 1 without tokens"));
    assert!(message(ops::mean_pool(&x, &[0, 3])).contains("from 0 to 4"));
    assert!(message(ops::mean_pool(&x, &[])).contains("from 0 to 4"));
    let config = AttentionConfig::new(5, AttentionMask::None);
    assert!(message(ops::attention(&x, &[0, 4], &config)).contains("divisible by 15"));
    let config = AttentionConfig::new(2, AttentionMask::Causal);
    let (queries, keys) = ([0, 4], [0, 3]);
    let fewer = x.narrow(0, 0, 3).unwrap();
    let text = message(ops::attention_separate(&x, &fewer, &fewer, &queries, &keys, &config));
    assert!(text.contains("4 queries and 3 keys in sequence 0"), "{text}");
    let config = AttentionConfig::new(2, AttentionMask::None);
    let short = random(&[2, 5], 4, 1.0);
    let text = message(ops::attention_with_bias(&x, &short, &[0, 4], &config));
    assert!(text.contains("a bias of shape [2, 7 or a larger odd number], found [2, 5]"), "{text}");
    let one = CachedSequence { keys: &[0.0; 18], values: &[0.0; 18] };
    let refused = |offsets: &[usize], cached: &[CachedSequence<'_>], bias: Option<&Tensor>| {
        message(ops::cached_attention(&x, offsets, cached, bias, &config))
    };
    assert!(refused(&[0, 4], &[one], None).contains("of width 12 for every query of row 0"));
    assert!(refused(&[0, 2, 4], &[one], None).contains("expected 2 rows, found 1"));
    let two = CachedSequence { keys: &[0.0; 60], values: &[0.0; 60] };
    assert!(refused(&[0, 4], &[two], Some(&short)).contains("reaches 5 tokens"));
    assert!(message(ops::linear_transposed(&x, &weight)).contains("linear_transposed: expected x of shape"));
    assert!(message(ops::gated_activation(&x, &weight, Activation::Silu)).contains("value of shape [4, 12]"));
    let doubles = x.to_dtype(DType::F64).unwrap();
    assert!(message(ops::gelu(&doubles)).contains("F32"));
    let angles = Var::from_tensor(&random(&[4, 2], 3, 1.0)).unwrap();
    let heads = x.reshape((4, 3, 4)).unwrap();
    let angles = angles.as_tensor();
    assert!(message(ops::rotary(&heads, angles, angles, RotaryLayout::Halves)).contains("constant angles"));
}

#[test]
fn dropout_keeps_the_mean_and_its_gradient_follows_the_mask() {
    let mask = DropoutMask { probability: 0.3, seed: 11 };
    let ones = Tensor::ones((200, 50), DType::F32, &Device::Cpu).unwrap();
    let dropped = values(&ops::dropout(&ones, mask).unwrap());
    let zeros = dropped.iter().filter(|&&x| x == 0.0).count() as f32 / 1e4;
    assert!((zeros - 0.3).abs() < 0.02, "{zeros} of the elements are dropped");
    assert!(dropped.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.7).abs() < 1e-6));
    assert_ne!(dropped, values(&ops::dropout(&ones, DropoutMask { seed: 12, ..mask }).unwrap()));
    check_gradients("dropout", &[random(&[5, 7], 1, 1.0)], |t| ops::dropout(&t[0], mask));

    let config = AttentionConfig { dropout: Some(mask), ..AttentionConfig::new(2, AttentionMask::Causal) };
    check_gradients("attention with dropout", &[random(&[9, 24], 1, 1.0)], |t| {
        ops::attention(&t[0], &[0, 3, 4, 9], &config)
    });
    let refused = ops::dropout(&ones, DropoutMask { probability: 1.0, seed: 0 }).unwrap_err().to_string();
    assert!(refused.contains("0..1"), "{refused}");
}
