//! Rows of a table, chosen by id.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, refuse};
use super::vector_math::add_row;
use crate::Result;

struct Embedding {
    ids: Arc<[u32]>,
}

impl CustomOp1 for Embedding {
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
    Ok(contiguous_f32(NAME, table)?.apply_op1(Embedding { ids: ids.into() })?)
}
