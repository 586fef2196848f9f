//! Checks and access shared by the kernels: contiguous f32 tensors in main memory, and clear refusals of all others.

use candle_core::{CpuStorage, DType, Layout, Storage, StorageRef, Tensor};

use crate::{ModelError, Result};

/// An [`ModelError::Argument`] of `operation`.
pub(crate) fn refuse(
    operation: &'static str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> ModelError {
    ModelError::Argument { operation, expected: expected.into(), found: found.into() }
}

/// The tensor as contiguous f32; a strided one is copied (differentiably), another type is refused.
pub(crate) fn contiguous_f32(operation: &'static str, tensor: &Tensor) -> Result<Tensor> {
    if tensor.dtype() != DType::F32 {
        return Err(refuse(operation, "a tensor of F32", format!("{:?}", tensor.dtype())));
    }
    Ok(tensor.contiguous()?)
}

/// The size of the last dimension; refuses a scalar.
pub(crate) fn last_dim(operation: &'static str, tensor: &Tensor) -> Result<usize> {
    tensor.dims().last().copied().ok_or_else(|| refuse(operation, "at least one dimension", "a scalar"))
}

/// Refuses `tensor` unless it has exactly the shape `dims`.
pub(crate) fn expect_dims(
    operation: &'static str,
    what: &str,
    tensor: &Tensor,
    dims: &[usize],
) -> Result<()> {
    if tensor.dims() == dims {
        Ok(())
    } else {
        Err(refuse(operation, format!("{what} of shape {dims:?}"), format!("{:?}", tensor.dims())))
    }
}

/// The elements of a contiguous storage, in row-major order.
pub(crate) fn elements<'a, T: candle_core::WithDType>(
    storage: &'a CpuStorage,
    layout: &Layout,
) -> candle_core::Result<&'a [T]> {
    let data = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => {
            data.get(start..end).ok_or_else(|| candle_core::Error::Msg("layout outside its storage".into()))
        }
        None => Err(candle_core::Error::Msg("the kernel needs a contiguous tensor".into())),
    }
}

/// Read access to a tensor in main memory while a backward pass runs.
pub(crate) struct Elements<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Elements<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Self {
        // The guard holds the storage's lock, so it must outlive the slice: callers bind it before they ask for
        // numbers.
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub(crate) fn get(&self) -> candle_core::Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => elements(storage, self.layout),
            Storage::Cuda(_) | Storage::Metal(_) => {
                Err(candle_core::Error::Msg("the kernel needs a tensor in main memory".into()))
            }
        }
    }
}

/// A new contiguous tensor in main memory.
pub(crate) fn tensor_from(data: Vec<f32>, like: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::from_vec(data, like.shape(), &candle_core::Device::Cpu)
}

/// Refuses offsets that do not ascend from 0 to `tokens`.
pub(crate) fn check_offsets(operation: &'static str, offsets: &[usize], tokens: usize) -> Result<()> {
    let ends_fit = offsets.first() == Some(&0) && offsets.last() == Some(&tokens);
    if ends_fit && offsets.is_sorted() {
        return Ok(());
    }
    let shown = &offsets[..offsets.len().min(8)];
    Err(refuse(
        operation,
        format!("offsets ascending from 0 to {tokens}"),
        format!("{} offsets starting {shown:?}, last {:?}", offsets.len(), offsets.last()),
    ))
}
