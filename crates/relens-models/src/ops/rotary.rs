//! Rotary position embedding (Su et al., 2021).

use candle_core::{CpuStorage, CustomOp3, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, expect_dims, refuse, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 3;

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotaryLayout {
    /// Element i with element i + rotary/2 (GPT-NeoX, Llama in the Hugging Face layout).
    Halves,
    /// Element 2i with element 2i + 1 (GPT-J, EVA-02).
    Interleaved,
}

struct Rotary {
    layout: RotaryLayout,
    /// How many heads of a token are rotated; those after them pass through.
    rotated_heads: usize,
    /// +1 rotates forward, −1 back, which is also the gradient.
    direction: f32,
}

impl Rotary {
    /// Rotates the first 2·pairs elements of every head in place; the rest passes through.
    fn rotate(
        &self,
        data: &mut [f32],
        heads: usize,
        head_dim: usize,
        cos: &[f32],
        sin: &[f32],
        pairs: usize,
    ) {
        let width = heads * head_dim;
        if pairs == 0 {
            return;
        }
        for_row_blocks(data, width, COST, |first, tokens| {
            // All heads of a token turn by the same angles, so the tables have one row a token.
            let angles = first * pairs..(first + tokens.len() / width) * pairs;
            let tables = (&cos[angles.clone()], &sin[angles]);
            let sizes = [width, self.rotated_heads * head_dim, head_dim, pairs];
            rotate_tokens(tokens, sizes, tables, self.layout, self.direction);
        });
    }
}

/// (a·cos − b·sin, b·cos + a·sin)
#[inline(always)]
fn turn(a: f32, b: f32, cos: f32, sin: f32) -> (f32, f32) {
    ((-b).mul_add(sin, a * cos), b.mul_add(cos, a * sin))
}

#[inline(always)]
fn rotate_head(head: &mut [f32], cos: &[f32], sin: &[f32], layout: RotaryLayout, direction: f32) {
    match layout {
        RotaryLayout::Halves => {
            let (first, second) = head.split_at_mut(head.len() / 2);
            for ((a, b), (&c, &s)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
                (*a, *b) = turn(*a, *b, c, s * direction);
            }
        }
        RotaryLayout::Interleaved => {
            for (pair, (&c, &s)) in head.chunks_exact_mut(2).zip(cos.iter().zip(sin)) {
                (pair[0], pair[1]) = turn(pair[0], pair[1], c, s * direction);
            }
        }
    }
}

vectorized! {
    fn rotate_tokens(
        tokens: &mut [f32],
        sizes: [usize; 4],
        tables: (&[f32], &[f32]),
        layout: RotaryLayout,
        direction: f32,
    ) {
        let [width, rotated, head_dim, pairs] = sizes;
        let angles = tables.0.chunks_exact(pairs).zip(tables.1.chunks_exact(pairs));
        for (token, (cos, sin)) in tokens.chunks_exact_mut(width).zip(angles) {
            for head in token[..rotated].chunks_exact_mut(head_dim) {
                rotate_head(&mut head[..2 * pairs], cos, sin, layout, direction);
            }
        }
    }
}

fn sizes(dims: &[usize]) -> (usize, usize) {
    match dims {
        [_, heads, head_dim] => (*heads, *head_dim),
        _ => (0, 0),
    }
}

impl CustomOp3 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut output = elements::<f32>(x, x_layout)?.to_vec();
        let (cos, sin) = (elements::<f32>(cos, cos_layout)?, elements::<f32>(sin, sin_layout)?);
        let (heads, head_dim) = sizes(x_layout.dims());
        let pairs = cos_layout.dims().last().copied().unwrap_or(0);
        self.rotate(&mut output, heads, head_dim, cos, sin, pairs);
        Ok((CpuStorage::F32(output), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        cos: &Tensor,
        sin: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(&grad_res), Elements::of(cos), Elements::of(sin));
        let mut gradient = guards.0.get()?.to_vec();
        let (heads, head_dim) = sizes(x.dims());
        let pairs = cos.dims().last().copied().unwrap_or(0);
        // A rotation is orthogonal: its transpose, which the gradient goes through, turns back.
        let inverse = Self { direction: -self.direction, ..*self };
        inverse.rotate(&mut gradient, heads, head_dim, guards.1.get()?, guards.2.get()?, pairs);
        Ok((Some(tensor_from(gradient, x)?), None, None))
    }
}

/// Rotates pairs of elements of every head by the angles of their token.
///
/// `cos` and `sin` are constants of the position: the gradient reaches `x` alone, and angles that track gradients
/// are refused.
///
/// # Shapes
/// - `x`, output: `[tokens, heads, head_dim]`
/// - `cos`, `sin`: `[tokens, rotary_dim / 2]` with `rotary_dim ≤ head_dim`; elements past `rotary_dim` pass through
///
/// # Errors
/// When the shapes do not fit, a tensor is not f32, or the angles track gradients.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor, layout: RotaryLayout) -> Result<Tensor> {
    rotary_leading_heads(x, cos, sin, layout, sizes(x.dims()).0)
}

/// As [`rotary`] for the first `rotated_heads` heads of every token; those after them pass through. So queries and
/// keys are rotated where they stand beside the values.
///
/// # Errors
/// As [`rotary`]; also when there are not as many heads.
pub fn rotary_leading_heads(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    layout: RotaryLayout,
    rotated_heads: usize,
) -> Result<Tensor> {
    const NAME: &str = "rotary";
    let &[tokens, heads, head_dim] = x.dims() else {
        return Err(refuse(NAME, "x of shape [tokens, heads, head_dim]", format!("{:?}", x.dims())));
    };
    if rotated_heads > heads {
        return Err(refuse(NAME, format!("at most {heads} rotated heads"), format!("{rotated_heads}")));
    }
    let pairs = match cos.dims() {
        &[rows, pairs] if rows == tokens && 2 * pairs <= head_dim => pairs,
        other => {
            let expected = format!("cos of shape [{tokens}, at most {}]", head_dim / 2);
            return Err(refuse(NAME, expected, format!("{other:?}")));
        }
    };
    expect_dims(NAME, "sin", sin, &[tokens, pairs])?;
    // No gradient is computed for them; refusing is better than a gradient that is silently missing.
    if cos.track_op() || sin.track_op() {
        return Err(refuse(NAME, "constant angles", "angles that track gradients"));
    }
    let (cos, sin) = (contiguous_f32(NAME, cos)?, contiguous_f32(NAME, sin)?);
    Ok(contiguous_f32(NAME, x)?.apply_op3(&cos, &sin, Rotary { layout, rotated_heads, direction: 1.0 })?)
}
