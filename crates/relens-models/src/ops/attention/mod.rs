//! Scaled dot-product attention (Vaswani et al., 2017) over packed sequences, with a backward pass.
//!
//! The sequences of a batch lie one after the other without padding; [`AttentionConfig`] says how a row splits into
//! heads. Every (sequence, key-value head) is one task, which holds the scores of one head at a time. The backward
//! pass recomputes the probabilities, so nothing of quadratic size is kept between the passes.

mod cached;
mod kernel;
mod operands;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Shape, Tensor};

pub use self::cached::{CachedSequence, cached_attention};
use self::kernel::Kernel;
use self::operands::{DistanceBias, DistanceBiasMut, HeadColumns, HeadColumnsMut};
use super::arguments::{Elements, check_offsets, contiguous_f32, elements, expect_dims, refuse, tensor_from};
use super::dropout::DropoutMask;
use super::vector_math::add_row;
use crate::Result;

/// Which keys a query may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionMask {
    /// All keys of its sequence.
    None,
    /// Those up to its own position; the last query stands at the last key.
    Causal,
}

/// How packed rows split into heads, and what the heads may see.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionConfig {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads: `heads`, or a divisor of it for grouped-query attention.
    pub key_value_heads: usize,
    /// Which keys a query may look at.
    pub mask: AttentionMask,
    /// What the scores are multiplied by. Default 1/√head_dim; T5 uses 1.
    pub scale: Option<f32>,
    /// Which probabilities training sets to zero. Default none.
    pub dropout: Option<DropoutMask>,
}

impl AttentionConfig {
    /// Multi-head attention with the usual scale.
    pub fn new(heads: usize, mask: AttentionMask) -> Self {
        Self { heads, key_value_heads: heads, mask, scale: None, dropout: None }
    }
}

/// Attention over one tensor whose rows hold a token's queries, keys and values, in this order.
///
/// # Shapes
/// - `qkv`: `[total_tokens, (heads + 2·key_value_heads)·head_dim]`
/// - `offsets`: `batch + 1` many, ascending from 0 to `total_tokens`
/// - output: `[total_tokens, heads·head_dim]`
///
/// # Errors
/// When the shapes, the offsets and the heads do not fit each other, or `qkv` is not f32.
pub fn attention(qkv: &Tensor, offsets: &[usize], config: &AttentionConfig) -> Result<Tensor> {
    const NAME: &str = "attention";
    let kernel = packed_kernel(NAME, qkv, offsets, config)?;
    Ok(contiguous_f32(NAME, qkv)?.apply_op1(PackedAttention(kernel))?)
}

/// As [`attention`], with a bias added to the scores that depends on head and distance: the relative positions of T5
/// (Raffel et al., 2020), or any slope over distance.
///
/// # Shapes
/// - `qkv`, `offsets`, output: as [`attention`]
/// - `bias`: `[heads, 2·reach − 1]`; what a query at position i adds for a key at position j stands at
///   `reach − 1 + j − i`; no sequence is longer than `reach`
///
/// # Errors
/// As [`attention`]; also when the bias has another shape, or a sequence is longer than its reach.
pub fn attention_with_bias(
    qkv: &Tensor,
    bias: &Tensor,
    offsets: &[usize],
    config: &AttentionConfig,
) -> Result<Tensor> {
    const NAME: &str = "attention_with_bias";
    let kernel = packed_kernel(NAME, qkv, offsets, config)?;
    // A reach longer than the batch needs is fine: incremental decoding keeps one table while sequences grow.
    let longest = kernel.longest();
    let fits =
        |&[heads, span]: &[usize; 2]| heads == config.heads && span % 2 == 1 && span.div_ceil(2) >= longest;
    if !<&[usize; 2]>::try_from(bias.dims()).is_ok_and(fits) {
        let least = (2 * longest).saturating_sub(1).max(1);
        let expected = format!("a bias of shape [{}, {least} or a larger odd number]", config.heads);
        return Err(refuse(NAME, expected, format!("{:?}", bias.dims())));
    }
    let bias = contiguous_f32(NAME, bias)?;
    Ok(contiguous_f32(NAME, qkv)?.apply_op2(&bias, PackedAttention(kernel))?)
}

fn packed_kernel(
    operation: &'static str,
    qkv: &Tensor,
    offsets: &[usize],
    config: &AttentionConfig,
) -> Result<Kernel> {
    let &[tokens, width] = qkv.dims() else {
        return Err(refuse(operation, "qkv of shape [total_tokens, 3·width]", format!("{:?}", qkv.dims())));
    };
    let heads = config.heads + 2 * config.key_value_heads;
    if heads == 0 || width == 0 || width % heads != 0 {
        return Err(refuse(
            operation,
            format!("a width divisible by {heads} heads"),
            format!("width {width}"),
        ));
    }
    check_offsets(operation, offsets, tokens)?;
    Kernel::new(operation, config, width / heads, offsets, offsets)
}

/// Attention whose queries, keys and values are separate tensors; keys may have sequences of other lengths than
/// queries (cross-attention, cached keys).
///
/// # Shapes
/// - `query`: `[query_tokens, heads·head_dim]`
/// - `key`, `value`: `[key_tokens, key_value_heads·head_dim]`
/// - `query_offsets`, `key_offsets`: `batch + 1` many, ascending from 0 to the number of tokens
/// - output: as `query`
///
/// # Errors
/// When the shapes, the offsets and the heads do not fit each other, a sequence has queries but no keys (or, with
/// [`AttentionMask::Causal`], fewer keys than queries), or a tensor is not f32.
pub fn attention_separate(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    query_offsets: &[usize],
    key_offsets: &[usize],
    config: &AttentionConfig,
) -> Result<Tensor> {
    const NAME: &str = "attention_separate";
    let (&[query_tokens, width], &[key_tokens, _]) = (query.dims(), key.dims()) else {
        let found = format!("{:?} and {:?}", query.dims(), key.dims());
        return Err(refuse(NAME, "query and key of shape [tokens, width]", found));
    };
    if config.heads == 0 || width == 0 || width % config.heads != 0 {
        let expected = format!("a query width divisible by {} heads", config.heads);
        return Err(refuse(NAME, expected, format!("width {width}")));
    }
    let head_dim = width / config.heads;
    expect_dims(NAME, "key", key, &[key_tokens, config.key_value_heads * head_dim])?;
    expect_dims(NAME, "value", value, key.dims())?;
    check_offsets(NAME, query_offsets, query_tokens)?;
    check_offsets(NAME, key_offsets, key_tokens)?;
    let kernel = Kernel::new(NAME, config, head_dim, query_offsets, key_offsets)?;
    let (key, value) = (contiguous_f32(NAME, key)?, contiguous_f32(NAME, value)?);
    Ok(contiguous_f32(NAME, query)?.apply_op3(&key, &value, SeparateAttention(kernel))?)
}

/// Queries, keys and values side by side in one row.
struct PackedAttention(Kernel);

impl PackedAttention {
    fn split<'a>(&self, qkv: &'a [f32]) -> [HeadColumns<'a>; 3] {
        let stride = self.0.query_width() + 2 * self.0.key_width();
        let starts = [0, self.0.query_width(), self.0.query_width() + self.0.key_width()];
        starts.map(|start| HeadColumns::new(qkv, start, stride))
    }
}

impl PackedAttention {
    fn forward(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        bias: Option<DistanceBias<'_>>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (tokens, _) = layout.shape().dims2()?;
        let output = self.0.forward(self.split(elements(qkv, layout)?), bias);
        Ok((CpuStorage::F32(output), Shape::from((tokens, self.0.query_width()))))
    }

    fn gradient(
        &self,
        qkv: &Tensor,
        bias: Option<(DistanceBias<'_>, &DistanceBiasMut<'_>)>,
        grad_res: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let grad_res = grad_res.contiguous()?;
        let (values, upstream) = (Elements::of(qkv), Elements::of(&grad_res));
        let values = values.get()?;
        let mut gradient = vec![0.0f32; values.len()];
        let split = self.split(values);
        let outputs = HeadColumnsMut::side_by_side(
            &mut gradient,
            split.map(|columns| columns.start()),
            split[0].stride(),
        );
        self.0.backward(split, bias, upstream.get()?, &outputs);
        tensor_from(gradient, qkv)
    }
}

impl CustomOp1 for PackedAttention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        self.forward(qkv, layout, None)
    }

    fn bwd(&self, qkv: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(self.gradient(qkv, None, grad_res)?))
    }
}

impl CustomOp2 for PackedAttention {
    fn name(&self) -> &'static str {
        "attention-with-bias"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let bias = DistanceBias::new(elements(bias, bias_layout)?, self.0.heads());
        self.forward(qkv, layout, Some(bias))
    }

    fn bwd(
        &self,
        qkv: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let values = Elements::of(bias);
        let values = values.get()?;
        // Every sequence adds to the same bias. Shares of their own spare locks.
        let mut shares = vec![0.0f32; self.0.sequences() * values.len()];
        let outputs = DistanceBiasMut::new(&mut shares, values.len(), self.0.heads());
        let gradient =
            self.gradient(qkv, Some((DistanceBias::new(values, self.0.heads()), &outputs)), grad_res)?;
        // One share for each sequence, summed in their order, so that threads cannot change the result.
        let mut total = vec![0.0f32; values.len()];
        for share in shares.chunks_exact(values.len().max(1)) {
            add_row(&mut total, share);
        }
        Ok((Some(gradient), Some(tensor_from(total, bias)?)))
    }
}

/// Queries, keys and values in tensors of their own.
struct SeparateAttention(Kernel);

impl SeparateAttention {
    fn split<'a>(&self, query: &'a [f32], key: &'a [f32], value: &'a [f32]) -> [HeadColumns<'a>; 3] {
        [
            HeadColumns::new(query, 0, self.0.query_width()),
            HeadColumns::new(key, 0, self.0.key_width()),
            HeadColumns::new(value, 0, self.0.key_width()),
        ]
    }
}

impl CustomOp3 for SeparateAttention {
    fn name(&self) -> &'static str {
        "attention-separate"
    }

    fn cpu_fwd(
        &self,
        query: &CpuStorage,
        query_layout: &Layout,
        key: &CpuStorage,
        key_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (query, key) = (elements(query, query_layout)?, elements(key, key_layout)?);
        let output = self.0.forward(self.split(query, key, elements(value, value_layout)?), None);
        Ok((CpuStorage::F32(output), query_layout.shape().clone()))
    }

    fn bwd(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(query), Elements::of(key), Elements::of(value), Elements::of(&grad_res));
        let split = self.split(guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let mut gradients = [query, key, value].map(|tensor| vec![0.0f32; tensor.elem_count()]);
        let [dq, dk, dv] = &mut gradients;
        let outputs = [
            HeadColumnsMut::whole(dq, self.0.query_width()),
            HeadColumnsMut::whole(dk, self.0.key_width()),
            HeadColumnsMut::whole(dv, self.0.key_width()),
        ];
        self.0.backward(split, None, guards.3.get()?, &outputs);
        let [dq, dk, dv] = gradients;
        Ok((Some(tensor_from(dq, query)?), Some(tensor_from(dk, key)?), Some(tensor_from(dv, value)?)))
    }
}
