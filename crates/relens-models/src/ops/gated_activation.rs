//! The gate of gated linear units (Shazeer, 2020): one half of the features, activated, times the other.

use candle_core::{CpuStorage, CustomOp2, Layout, Shape, Tensor};

use super::activation::{Activation, activate_block, multiply_by_derivative};
use super::arguments::{Elements, contiguous_f32, elements, expect_dims, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use crate::Result;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 18;

vectorized! {
    fn multiply_elements(xs: &mut [f32], ys: &[f32]) {
        for (x, &y) in xs.iter_mut().zip(ys) {
            *x *= y;
        }
    }
}

struct GatedActivation(Activation);

impl CustomOp2 for GatedActivation {
    fn name(&self) -> &'static str {
        "gated-activation"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        value: &CpuStorage,
        value_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (gate, value) = (elements::<f32>(gate, gate_layout)?, elements::<f32>(value, value_layout)?);
        let mut output = vec![0.0f32; gate.len()];
        for_row_blocks(&mut output, 1, COST, |first, block| {
            let range = first..first + block.len();
            block.copy_from_slice(&gate[range.clone()]);
            activate_block(self.0, block);
            multiply_elements(block, &value[range]);
        });
        Ok((CpuStorage::F32(output), gate_layout.shape().clone()))
    }

    /// With g upstream: d gate = g∘value∘activation'(gate), d value = g∘activation(gate).
    fn bwd(
        &self,
        gate: &Tensor,
        value: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let guards = (Elements::of(gate), Elements::of(value), Elements::of(&grad_res));
        let (gates, values, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let mut gate_gradient = vec![0.0f32; gates.len()];
        for_row_blocks(&mut gate_gradient, 1, COST, |first, block| {
            let range = first..first + block.len();
            block.copy_from_slice(&upstream[range.clone()]);
            multiply_elements(block, &values[range.clone()]);
            multiply_by_derivative(self.0, &gates[range], block);
        });
        let mut value_gradient = vec![0.0f32; gates.len()];
        for_row_blocks(&mut value_gradient, 1, COST, |first, block| {
            let range = first..first + block.len();
            // activation(gate) is computed again: keeping it from the forward pass would cost as much memory as the
            // output.
            block.copy_from_slice(&gates[range.clone()]);
            activate_block(self.0, block);
            multiply_elements(block, &upstream[range]);
        });
        Ok((Some(tensor_from(gate_gradient, gate)?), Some(tensor_from(value_gradient, value)?)))
    }
}

/// activation(gate) ∘ value
///
/// # Shapes
/// - `gate`, `value`, output: the same
///
/// # Errors
/// When the shapes differ, or a tensor is not f32.
pub fn gated_activation(gate: &Tensor, value: &Tensor, activation: Activation) -> Result<Tensor> {
    const NAME: &str = "gated_activation";
    expect_dims(NAME, "value", value, gate.dims())?;
    let (gate, value) = (contiguous_f32(NAME, gate)?, contiguous_f32(NAME, value)?);
    Ok(gate.apply_op2(&value, GatedActivation(activation))?)
}
