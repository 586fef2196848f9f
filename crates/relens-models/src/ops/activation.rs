//! Activation functions, element by element, and the gates of gated linear units, with their derivatives.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Shape, Tensor};

use super::arguments::{Elements, contiguous_f32, elements, expect_dims, tensor_from};
use super::instruction_set::vectorized;
use super::parallel::for_row_blocks;
use super::vector_math::{erf_and_gaussian, sigmoid, tanh};
use crate::Result;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const INVERSE_SQRT_2PI: f32 = 0.398_942_3;
const CUBIC: f32 = 0.044_715;
const QUICK_GELU_SLOPE: f32 = 1.702;

/// Rough cost of one element, in multiply-adds.
const COST: usize = 16;

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// x·Φ(x), exact through the error function (Hendrycks and Gimpel, 2016).
    Gelu,
    /// 0.5x(1 + tanh(√(2/π)(x + 0.044715x³))), the approximation of the same paper.
    GeluTanh,
    /// x·σ(1.702x), of the first CLIP.
    QuickGelu,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6), of MobileNet.
    Relu6,
    /// x·σ(x), also called swish.
    Silu,
    /// tanh x
    Tanh,
}

impl Activation {
    /// The function that Hugging Face configurations call by this name, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "quick_gelu" => Some(Self::QuickGelu),
            "relu" => Some(Self::Relu),
            "relu6" => Some(Self::Relu6),
            "silu" | "swish" => Some(Self::Silu),
            "tanh" => Some(Self::Tanh),
            _ => None,
        }
    }
}

/// Runs `$update` for every element, spelled out for each function so that every loop vectorises on its own.
macro_rules! each {
    ($values:expr, |$x:ident| $result:expr) => {
        for value in $values {
            let $x = *value;
            *value = $result;
        }
    };
    ($gradients:expr, $values:expr, |$x:ident| $derivative:expr) => {
        for (gradient, &$x) in $gradients.iter_mut().zip($values) {
            *gradient *= $derivative;
        }
    };
}

/// Replaces every element by its activation, inside a vectorised function.
#[inline(always)]
pub(crate) fn activate(activation: Activation, xs: &mut [f32]) {
    match activation {
        Activation::Gelu => each!(xs, |x| gelu_pair(x).0),
        Activation::GeluTanh => each!(xs, |x| gelu_tanh_pair(x).0),
        Activation::QuickGelu => each!(xs, |x| x * sigmoid(QUICK_GELU_SLOPE * x)),
        // Not `max`: it would turn NaN into 0 and hide a broken layer.
        Activation::Relu => each!(xs, |x| if x < 0.0 { 0.0 } else { x }),
        Activation::Relu6 => each!(xs, |x| relu6_value(x)),
        Activation::Silu => each!(xs, |x| x * sigmoid(x)),
        Activation::Tanh => each!(xs, |x| tanh(x)),
    }
}

vectorized! {
    pub(super) fn activate_block(activation: Activation, xs: &mut [f32]) {
        activate(activation, xs);
    }

    /// Multiplies the gradients of the outputs by the derivatives at `xs`.
    pub(super) fn multiply_by_derivative(activation: Activation, xs: &[f32], gradients: &mut [f32]) {
        match activation {
            Activation::Gelu => each!(gradients, xs, |x| gelu_pair(x).1),
            Activation::GeluTanh => each!(gradients, xs, |x| gelu_tanh_pair(x).1),
            Activation::QuickGelu => each!(gradients, xs, |x| swish_derivative(x, QUICK_GELU_SLOPE)),
            Activation::Relu => each!(gradients, xs, |x| if x > 0.0 { 1.0 } else { 0.0 }),
            // The derivative at the corners is 0, as in PyTorch.
            Activation::Relu6 => each!(gradients, xs, |x| if x > 0.0 && x < 6.0 { 1.0 } else { 0.0 }),
            Activation::Silu => each!(gradients, xs, |x| swish_derivative(x, 1.0)),
            Activation::Tanh => each!(gradients, xs, |x| tanh_derivative(x)),
        }
    }
}

#[inline(always)]
fn relu6_value(x: f32) -> f32 {
    let x = if x < 0.0 { 0.0 } else { x };
    if x > 6.0 { 6.0 } else { x }
}

/// (x·Φ(x), Φ(x) + x·φ(x))
#[inline(always)]
fn gelu_pair(x: f32) -> (f32, f32) {
    let (erf, gaussian) = erf_and_gaussian(x * std::f32::consts::FRAC_1_SQRT_2);
    // Value and derivative share the error function and the Gaussian; the caller that needs one of the two gets it at
    // no further cost, because the compiler drops the other after inlining.
    let cumulative = 0.5f32.mul_add(erf, 0.5);
    (x * cumulative, (x * INVERSE_SQRT_2PI).mul_add(gaussian, cumulative))
}

#[inline(always)]
fn gelu_tanh_pair(x: f32) -> (f32, f32) {
    let square = x * x;
    let t = tanh(SQRT_2_OVER_PI * x * square.mul_add(CUBIC, 1.0));
    let inner_derivative = SQRT_2_OVER_PI * square.mul_add(3.0 * CUBIC, 1.0);
    let half = 0.5f32.mul_add(t, 0.5);
    (x * half, (0.5 * x * (1.0 - t * t)).mul_add(inner_derivative, half))
}

#[inline(always)]
fn tanh_derivative(x: f32) -> f32 {
    let y = tanh(x);
    1.0 - y * y
}

/// d/dx x·σ(slope·x)
#[inline(always)]
fn swish_derivative(x: f32, slope: f32) -> f32 {
    let s = sigmoid(slope * x);
    (slope * x * s).mul_add(1.0 - s, s)
}

struct Elementwise(Activation);

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let input = elements::<f32>(storage, layout)?;
        let mut output = vec![0.0f32; input.len()];
        for_row_blocks(&mut output, 1, COST, |first, block| {
            block.copy_from_slice(&input[first..first + block.len()]);
            activate_block(self.0, block);
        });
        Ok((CpuStorage::F32(output), layout.shape().clone()))
    }

    fn bwd(&self, arg: &Tensor, _res: &Tensor, grad_res: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad_res = grad_res.contiguous()?;
        let (input, upstream) = (Elements::of(arg), Elements::of(&grad_res));
        let (input, upstream) = (input.get()?, upstream.get()?);
        let mut gradient = vec![0.0f32; input.len()];
        for_row_blocks(&mut gradient, 1, COST, |first, block| {
            let range = first..first + block.len();
            block.copy_from_slice(&upstream[range.clone()]);
            multiply_by_derivative(self.0, &input[range], block);
        });
        Ok(Some(tensor_from(gradient, arg)?))
    }
}

/// Applies an activation to every element.
///
/// # Shapes
/// - `x`, output: any
///
/// # Errors
/// When `x` is not f32.
pub fn activation(x: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(contiguous_f32("activation", x)?.apply_op1(Elementwise(activation))?)
}

/// [`Activation::Gelu`] of every element.
///
/// # Errors
/// As [`activation`].
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Gelu)
}

/// [`Activation::GeluTanh`] of every element.
///
/// # Errors
/// As [`activation`].
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::GeluTanh)
}

/// [`Activation::QuickGelu`] of every element.
///
/// # Errors
/// As [`activation`].
pub fn quick_gelu(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::QuickGelu)
}

/// [`Activation::Relu6`] of every element.
///
/// # Errors
/// As [`activation`].
pub fn relu6(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Relu6)
}

/// [`Activation::Silu`] of every element.
///
/// # Errors
/// As [`activation`].
pub fn silu(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Silu)
}

/// Rough cost of one element, in multiply-adds.
const GATED_COST: usize = 18;

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
        for_row_blocks(&mut output, 1, GATED_COST, |first, block| {
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
        for_row_blocks(&mut gate_gradient, 1, GATED_COST, |first, block| {
            let range = first..first + block.len();
            block.copy_from_slice(&upstream[range.clone()]);
            multiply_elements(block, &values[range.clone()]);
            multiply_by_derivative(self.0, &gates[range], block);
        });
        let mut value_gradient = vec![0.0f32; gates.len()];
        for_row_blocks(&mut value_gradient, 1, GATED_COST, |first, block| {
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
