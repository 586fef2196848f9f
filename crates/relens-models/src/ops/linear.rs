//! The affine map x·W + b, with weights stored `[in, out]`, or `[out, in]` where a table of vectors is the weight.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape, Tensor};

use super::activation::{Activation, activation};
use super::arguments::{Elements, contiguous_f32, elements, expect_dims, last_dim, refuse};
use super::epilogue::{Epilogue, Finish};
use super::instruction_set::vectorized;
use super::matmul::{Matrix, MatrixMut, multiply_parallel};
use super::parallel::reduce_rows;
use super::vector_math::add_assign;
use crate::Result;

vectorized! {
    fn add_rows(sums: &mut [f32], rows: &[f32]) {
        for row in rows.chunks_exact(sums.len()) {
            add_assign(sums, row);
        }
    }
}

/// x·W, then + b, then the activation, then + residual, each block finished while it is in the cache.
fn affine(x: &[f32], weight: &[f32], epilogue: Epilogue<'_>, of: LinearOp) -> Vec<f32> {
    let LinearOp { inputs, outputs, .. } = of;
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    // Not zeroed: the product overwrites everything, and clearing a large output would be a pass over memory for
    // nothing.
    let mut data = Vec::with_capacity(rows * outputs);
    // SAFETY: the capacity is reserved, and the product writes every element before anything reads it.
    let output = unsafe { MatrixMut::from_raw(data.as_mut_ptr(), rows, outputs, outputs) };
    let (left, right) = (Matrix::new(x, rows, inputs, inputs), of.matrix(weight));
    multiply_parallel(output, left, right, |block, rows, columns| {
        for (i, row) in rows.enumerate() {
            epilogue.apply(block.row(i), row, columns.clone(), outputs);
        }
    });
    // SAFETY: `multiply_parallel` covered all rows and columns.
    unsafe { data.set_len(rows * outputs) };
    data
}

#[derive(Clone, Copy)]
struct LinearOp {
    inputs: usize,
    outputs: usize,
    /// Whether the weight is `[out, in]`.
    transposed: bool,
}

impl LinearOp {
    fn of(weight: &Tensor) -> Result<Self> {
        let (inputs, outputs) = weight.dims2()?;
        Ok(Self { inputs, outputs, transposed: false })
    }

    /// The weight as `[in, out]`.
    fn matrix(self, weight: &[f32]) -> Matrix<'_> {
        match self.transposed {
            false => Matrix::new(weight, self.inputs, self.outputs, self.outputs),
            // Strides are swapped, nothing is copied: a table of vectors is too large to be turned round at every
            // step.
            true => Matrix::new(weight, self.outputs, self.inputs, self.inputs).transposed(),
        }
    }

    fn output_shape(&self, x: &Layout) -> Shape {
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = self.outputs;
        }
        Shape::from(dims)
    }

    /// dx = g·Wᵀ
    fn input_gradient(&self, x: &Tensor, weight: &[f32], upstream: &[f32]) -> candle_core::Result<Tensor> {
        let rows = upstream.len().checked_div(self.outputs).unwrap_or(0);
        let left = Matrix::new(upstream, rows, self.outputs, self.outputs);
        product(left, self.matrix(weight).transposed(), rows, self.inputs, x.shape())
    }

    /// dW = xᵀ·g, or gᵀ·x if the weight is `[out, in]`.
    fn weight_gradient(&self, x: &[f32], weight: &Tensor, upstream: &[f32]) -> candle_core::Result<Tensor> {
        let rows = x.len().checked_div(self.inputs).unwrap_or(0);
        let x = Matrix::new(x, rows, self.inputs, self.inputs);
        let upstream = Matrix::new(upstream, rows, self.outputs, self.outputs);
        match self.transposed {
            // The gradient is laid out as the variable is, so that the optimizer walks through both in step.
            false => product(x.transposed(), upstream, self.inputs, self.outputs, weight.shape()),
            true => product(upstream.transposed(), x, self.outputs, self.inputs, weight.shape()),
        }
    }

    /// db = Σ g over all rows.
    fn bias_gradient(&self, upstream: &[f32]) -> candle_core::Result<Tensor> {
        let width = self.outputs;
        let rows = upstream.len().checked_div(width).unwrap_or(0);
        let sums = reduce_rows(rows, width, width, |rows, partial| {
            add_rows(partial, &upstream[rows.start * width..rows.end * width]);
        });
        Tensor::from_vec(sums, width, &candle_core::Device::Cpu)
    }

    fn gradients(
        &self,
        x: &Tensor,
        weight: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let guards = (Elements::of(x), Elements::of(weight), Elements::of(grad_res));
        let (xs, ws, upstream) = (guards.0.get()?, guards.1.get()?, guards.2.get()?);
        let dx = x.track_op().then(|| self.input_gradient(x, ws, upstream)).transpose()?;
        let dw = weight.track_op().then(|| self.weight_gradient(xs, weight, upstream)).transpose()?;
        Ok((dx, dw))
    }
}

fn product(
    left: Matrix<'_>,
    right: Matrix<'_>,
    rows: usize,
    columns: usize,
    shape: &Shape,
) -> candle_core::Result<Tensor> {
    let mut data = Vec::with_capacity(rows * columns);
    // SAFETY: the capacity is reserved, and the product writes every element.
    unsafe {
        multiply_parallel(
            MatrixMut::from_raw(data.as_mut_ptr(), rows, columns, columns),
            left,
            right,
            |_, _, _| {},
        );
        data.set_len(rows * columns);
    }
    Tensor::from_vec(data, shape, &candle_core::Device::Cpu)
}

impl CustomOp2 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight) = (elements::<f32>(x, x_layout)?, elements::<f32>(weight, weight_layout)?);
        let output = affine(x, weight, Epilogue::default(), *self);
        Ok((CpuStorage::F32(output), self.output_shape(x_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, weight, &grad_res.contiguous()?)
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear-with-bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, weight) = (elements::<f32>(x, x_layout)?, elements::<f32>(weight, weight_layout)?);
        let bias = elements::<f32>(bias, bias_layout)?;
        let epilogue = Epilogue { bias: Some(bias), ..Epilogue::default() };
        let output = affine(x, weight, epilogue, *self);
        Ok((CpuStorage::F32(output), self.output_shape(x_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad_res: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad_res = grad_res.contiguous()?;
        let (dx, dw) = self.gradients(x, weight, &grad_res)?;
        let db = match bias.track_op() {
            true => Some(self.bias_gradient(Elements::of(&grad_res).get()?)?),
            false => None,
        };
        Ok((dx, dw, db))
    }
}

fn check(operation: &'static str, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    let &[inputs, outputs] = weight.dims() else {
        return Err(refuse(operation, "a weight of shape [in, out]", format!("{:?}", weight.dims())));
    };
    if inputs == 0 || last_dim(operation, x)? != inputs {
        let expected = format!("x of shape [.., {inputs}], the weight being {:?}", weight.dims());
        return Err(refuse(operation, expected, format!("{:?}", x.dims())));
    }
    bias.map_or(Ok(()), |bias| expect_dims(operation, "bias", bias, &[outputs]))
}

/// x·W + b.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `weight`: `[in, out]`, the transpose of PyTorch's layout
/// - `bias`: `[out]`
/// - output: `[.., out]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    const NAME: &str = "linear";
    check(NAME, x, weight, bias)?;
    let (x, weight) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?);
    let op = LinearOp::of(&weight)?;
    match bias {
        Some(bias) => Ok(x.apply_op3(&weight, &contiguous_f32(NAME, bias)?, op)?),
        None => Ok(x.apply_op2(&weight, op)?),
    }
}

/// x·Wᵀ: a product with a weight in PyTorch's layout, for output layers that share the table of an embedding.
///
/// # Shapes
/// - `x`: `[.., in]`
/// - `weight`: `[out, in]`
/// - output: `[.., out]`
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn linear_transposed(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    const NAME: &str = "linear_transposed";
    check(NAME, x, &weight.t()?, None)?;
    let (x, weight) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?);
    let (outputs, inputs) = weight.dims2()?;
    Ok(x.apply_op2(&weight, LinearOp { inputs, outputs, transposed: true })?)
}

/// activation(x·W + b) + residual, each step if it is there: one pass over memory when no argument tracks gradients,
/// step after step otherwise.
///
/// # Shapes
/// As [`linear`]; the residual has the output's shape.
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn linear_finished(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    finish: Finish<'_>,
) -> Result<Tensor> {
    const NAME: &str = "linear_finished";
    let tensors = [Some(x), Some(weight), bias, finish.residual];
    if tensors.into_iter().flatten().any(Tensor::track_op) {
        // The fused form keeps nothing that a backward pass could use.
        let mut output = linear(x, weight, bias)?;
        if let Some(function) = finish.activation {
            output = activation(&output, function)?;
        }
        return Ok(match finish.residual {
            Some(residual) => (output + residual)?,
            None => output,
        });
    }
    check(NAME, x, weight, bias)?;
    let (x, weight) = (contiguous_f32(NAME, x)?, contiguous_f32(NAME, weight)?);
    let op = LinearOp::of(&weight)?;
    let shape = op.output_shape(x.layout());
    if let Some(residual) = finish.residual {
        expect_dims(NAME, "residual", residual, shape.dims())?;
    }
    let bias = bias.map(|bias| contiguous_f32(NAME, bias)).transpose()?;
    let residual = finish.residual.map(|residual| contiguous_f32(NAME, residual)).transpose()?;
    // The guards hold the storages while the slices are in use, so they are bound first.
    let guards = (Elements::of(&x), Elements::of(&weight));
    let more = (bias.as_ref().map(Elements::of), residual.as_ref().map(Elements::of));
    let epilogue = Epilogue {
        bias: more.0.as_ref().map(Elements::get).transpose()?,
        activation: finish.activation,
        residual: more.1.as_ref().map(Elements::get).transpose()?,
    };
    let output = affine(guards.0.get()?, guards.1.get()?, epilogue, op);
    Ok(Tensor::from_vec(output, shape, x.device())?)
}

/// activation(x·W + b): see [`linear_finished`].
///
/// # Errors
/// When the shapes do not fit, or a tensor is not f32.
pub fn linear_activation(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    function: Activation,
) -> Result<Tensor> {
    linear_finished(x, weight, bias, Finish { activation: Some(function), residual: None })
}
