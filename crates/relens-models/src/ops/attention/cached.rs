//! Attention of a few new tokens to keys and values that were kept: the step of incremental decoding.
//!
//! At one query a row, a product has nothing to reuse and its set-up costs more than it does. So the scores are dot
//! products, and every key and value is read once.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::super::arguments::{Elements, check_offsets, contiguous_f32, refuse};
use super::super::instruction_set::vectorized;
use super::super::parallel::task_count;
use super::super::softmax::softmax_in_place;
use super::super::vector_math::dot;
use super::operands::first_distance;
use super::{AttentionConfig, AttentionMask};
use crate::Result;

/// The kept keys and values of one row, each `[tokens, key_value_heads·head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct CachedSequence<'a> {
    /// The keys of all tokens.
    pub keys: &'a [f32],
    /// Their values.
    pub values: &'a [f32],
}

/// The sizes of one row's work.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    key_value_heads: usize,
    head_dim: usize,
    scale: f32,
    causal: bool,
}

vectorized! {
    fn attend_row(
        query: &[f32],
        cached: CachedSequence<'_>,
        bias: Option<&[f32]>,
        sizes: Sizes,
        scores: &mut Vec<f32>,
        output: &mut [f32],
    ) {
        let Sizes { heads, key_value_heads, head_dim, scale, causal } = sizes;
        let (width, key_width) = (heads * head_dim, key_value_heads * head_dim);
        let (queries, keys) = (query.len() / width, cached.keys.len() / key_width);
        for i in 0..queries {
            // The new tokens are the last keys of their row: a query does not see those that were fed after it.
            let visible = if causal { keys + i + 1 - queries } else { keys };
            scores.resize(visible, 0.0);
            for head in 0..heads {
                let columns = head * head_dim..(head + 1) * head_dim;
                // Query heads in a group read the same key-value head, which the cache holds once.
                let first = head / (heads / key_value_heads) * head_dim;
                let query = &query[i * width..(i + 1) * width][columns.clone()];
                for (score, key) in scores.iter_mut().zip(cached.keys.chunks_exact(key_width)) {
                    *score = dot(query, &key[first..first + head_dim]) * scale;
                }
                if let Some(bias) = bias {
                    let span = bias.len() / heads;
                    let distances = &bias[head * span + first_distance(span, i, queries, keys)..];
                    for (score, &bias) in scores.iter_mut().zip(distances) {
                        *score += bias;
                    }
                }
                softmax_in_place(scores);
                let output = &mut output[i * width..(i + 1) * width][columns];
                // Values lie token by token as they were appended, so their weighted sum walks through the cache
                // once.
                for (&p, value) in scores.iter().zip(cached.values.chunks_exact(key_width)) {
                    for (o, &v) in output.iter_mut().zip(&value[first..first + head_dim]) {
                        *o = v.mul_add(p, *o);
                    }
                }
            }
        }
    }
}

/// Attention of new tokens to the kept keys and values of their rows, without a backward pass. With
/// [`AttentionMask::Causal`] the new tokens' own keys are the last of their row.
///
/// # Shapes
/// - `query`: `[new_tokens, heads·head_dim]`
/// - `offsets`: `rows + 1` many, ascending from 0 to `new_tokens`
/// - `cached`: `rows` many
/// - `bias`: as of [`super::attention_with_bias`], `[heads, 2·reach − 1]`
/// - output: as `query`
///
/// # Errors
/// When the shapes do not fit each other, a row has queries but no keys (or, if causal, fewer keys than queries), or
/// a row is longer than the bias reaches.
pub fn cached_attention(
    query: &Tensor,
    offsets: &[usize],
    cached: &[CachedSequence<'_>],
    bias: Option<&Tensor>,
    config: &AttentionConfig,
) -> Result<Tensor> {
    const NAME: &str = "cached_attention";
    let query = contiguous_f32(NAME, query)?;
    let &[tokens, width] = query.dims() else {
        return Err(refuse(NAME, "a query of shape [new_tokens, width]", format!("{:?}", query.dims())));
    };
    let &AttentionConfig { heads, key_value_heads, mask, scale, .. } = config;
    let fits =
        heads > 0 && key_value_heads > 0 && heads % key_value_heads == 0 && width % heads == 0 && width > 0;
    if !fits {
        let expected = format!("a width divisible by {heads} heads, in groups for {key_value_heads}");
        return Err(refuse(NAME, expected, format!("width {width}")));
    }
    check_offsets(NAME, offsets, tokens)?;
    if offsets.len() != cached.len() + 1 {
        return Err(refuse(NAME, format!("{} rows", offsets.len() - 1), format!("{}", cached.len())));
    }
    let head_dim = width / heads;
    let scale = scale.unwrap_or(1.0 / (head_dim as f32).sqrt());
    let sizes = Sizes { heads, key_value_heads, head_dim, scale, causal: mask == AttentionMask::Causal };
    let bias = bias.map(|bias| contiguous_f32(NAME, bias)).transpose()?;
    check_rows(NAME, sizes, offsets, cached, bias.as_ref())?;
    let guards = (Elements::of(&query), bias.as_ref().map(Elements::of));
    let (query_values, bias) = (guards.0.get()?, guards.1.as_ref().map(Elements::get).transpose()?);
    let mut output = vec![0.0f32; query_values.len()];
    let cost: usize = cached.iter().map(|row| row.keys.len()).sum();
    let work = |row: usize, scores: &mut Vec<f32>, output: &mut [f32]| {
        let range = offsets[row] * width..offsets[row + 1] * width;
        attend_row(&query_values[range], cached[row], bias, sizes, scores, output);
    };
    // Rows have different numbers of new tokens, so the output is cut by hand.
    let mut rest = output.as_mut_slice();
    let mut outputs = Vec::with_capacity(cached.len());
    for pair in offsets.windows(2) {
        let (row, others) = rest.split_at_mut((pair[1] - pair[0]) * width);
        outputs.push(row);
        rest = others;
    }
    if task_count(cost.saturating_mul(2)) == 1 {
        let mut scores = Vec::new();
        outputs.into_iter().enumerate().for_each(|(row, output)| work(row, &mut scores, output));
    } else {
        outputs
            .into_par_iter()
            .enumerate()
            .for_each_init(Vec::new, |scores, (row, output)| work(row, scores, output));
    }
    Ok(Tensor::from_vec(output, (tokens, width), &Device::Cpu)?)
}

fn check_rows(
    operation: &'static str,
    sizes: Sizes,
    offsets: &[usize],
    cached: &[CachedSequence<'_>],
    bias: Option<&Tensor>,
) -> Result<()> {
    let key_width = sizes.key_value_heads * sizes.head_dim;
    let mut longest = 0;
    for (row, (pair, cached)) in offsets.windows(2).zip(cached).enumerate() {
        let (queries, keys) = (pair[1] - pair[0], cached.keys.len() / key_width);
        let whole = cached.keys.len() == keys * key_width && cached.values.len() == cached.keys.len();
        let enough = queries == 0 || (keys > 0 && (!sizes.causal || keys >= queries));
        if !whole || !enough {
            let found =
                format!("{queries} queries, {} keys and {} values", cached.keys.len(), cached.values.len());
            let expected = format!("keys and values of width {key_width} for every query of row {row}");
            return Err(refuse(operation, expected, found));
        }
        longest = longest.max(keys).max(queries);
    }
    match bias.map(Tensor::dims) {
        None => Ok(()),
        Some(&[heads, span]) if heads == sizes.heads && span % 2 == 1 && span.div_ceil(2) >= longest => {
            Ok(())
        }
        Some(other) => {
            let expected = format!("a bias for {} heads that reaches {longest} tokens", sizes.heads);
            Err(refuse(operation, expected, format!("shape {other:?}")))
        }
    }
}
