//! From ids to rows of a table, and from the rows of a sequence to their mean.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::arguments::{Elements, check_offsets, contiguous_f32, elements, refuse, tensor_from};
use super::instruction_set::vectorized;
use super::vector_math::{add_assign, add_row, scale};
use crate::Result;

struct EmbeddingOp {
    ids: Arc<[u32]>,
}

impl CustomOp1 for EmbeddingOp {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let table = elements::<f32>(storage, layout)?;
        let mut output = Vec::with_capacity(self.ids.len() * width);
        for &id in self.ids.iter() {
            let start = id as usize * width;
            output.extend_from_slice(&table[start..start + width]);
        }
        Ok((CpuStorage::F32(output), Shape::from((self.ids.len(), width))))
    }

    /// Adds the rows in the order of the ids, so equal ids always sum the same way.
    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (rows, width) = arg.dims2()?;
        let grad_res = grad_res.contiguous()?;
        let upstream = Elements::of(&grad_res);
        // On one thread: two ids may be equal, so threads would have to lock rows or sum in an order that varies.
        let mut gradient = vec![0.0f32; rows * width];
        for (&id, g) in self.ids.iter().zip(upstream.get()?.chunks_exact(width.max(1))) {
            let start = id as usize * width;
            add_row(&mut gradient[start..start + width], g);
        }
        Ok(Some(Tensor::from_vec(gradient, (rows, width), arg.device())?))
    }
}

/// The table's rows at `ids`.
///
/// # Shapes
/// - `table`: `[vocabulary, width]`
/// - `ids`: `tokens` many
/// - output: `[tokens, width]`
///
/// # Errors
/// When an id is outside of the table, or the table is not two-dimensional f32.
pub fn embedding(table: &Tensor, ids: &[u32]) -> Result<Tensor> {
    const NAME: &str = "embedding";
    let &[rows, _] = table.dims() else {
        return Err(refuse(NAME, "a table of shape [vocabulary, width]", format!("{:?}", table.dims())));
    };
    if let Some(id) = ids.iter().find(|&&id| id as usize >= rows) {
        return Err(refuse(NAME, format!("ids below {rows}"), format!("id {id}")));
    }
    Ok(contiguous_f32(NAME, table)?.apply_op1(EmbeddingOp { ids: ids.into() })?)
}

vectorized! {
    fn mean_of_rows(rows: &[f32], mean: &mut [f32]) {
        let width = mean.len();
        for row in rows.chunks_exact(width) {
            add_assign(mean, row);
        }
        // width / numbers is 1 / rows.
        scale(mean, width as f32 / rows.len() as f32);
    }
}

struct MeanPool {
    offsets: Arc<[usize]>,
}

impl MeanPool {
    /// (first token, length) of every sequence.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.offsets.windows(2).map(|pair| (pair[0], pair[1] - pair[0]))
    }
}

impl CustomOp1 for MeanPool {
    fn name(&self) -> &'static str {
        "mean-pool"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let hidden = elements::<f32>(storage, layout)?;
        let batch = self.offsets.len() - 1;
        let mut output = vec![0.0f32; batch * width];
        for (pooled, (first, length)) in output.chunks_exact_mut(width.max(1)).zip(self.spans()) {
            mean_of_rows(&hidden[first * width..(first + length) * width], pooled);
        }
        Ok((CpuStorage::F32(output), Shape::from((batch, width))))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let (tokens, width) = arg.dims2()?;
        let grad_res = grad_res.contiguous()?;
        let upstream = Elements::of(&grad_res);
        let mut gradient = vec![0.0f32; tokens * width];
        for (g, (first, length)) in upstream.get()?.chunks_exact(width.max(1)).zip(self.spans()) {
            let share = 1.0 / length as f32;
            for token in gradient[first * width..(first + length) * width].chunks_exact_mut(width) {
                for (d, &g) in token.iter_mut().zip(g) {
                    *d = g * share;
                }
            }
        }
        Ok(Some(tensor_from(gradient, arg)?))
    }
}

/// The mean over the tokens of every sequence.
///
/// # Shapes
/// - `hidden`: `[total_tokens, width]`
/// - `offsets`: `batch + 1` many, ascending from 0 to `total_tokens`
/// - output: `[batch, width]`
///
/// # Errors
/// When the offsets do not cover the tokens, or a sequence is empty (it has no mean).
pub fn mean_pool(hidden: &Tensor, offsets: &[usize]) -> Result<Tensor> {
    const NAME: &str = "mean_pool";
    let &[tokens, _] = hidden.dims() else {
        return Err(refuse(NAME, "hidden of shape [total_tokens, width]", format!("{:?}", hidden.dims())));
    };
    check_offsets(NAME, offsets, tokens)?;
    if let Some(empty) = offsets.windows(2).position(|pair| pair[0] == pair[1]) {
        return Err(refuse(
            NAME,
            "at least one token per sequence",
            format!("sequence {empty} without tokens"),
        ));
    }
    Ok(contiguous_f32(NAME, hidden)?.apply_op1(MeanPool { offsets: offsets.into() })?)
}
