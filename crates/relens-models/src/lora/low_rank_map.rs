//! The low-rank change of a linear map (LoRA; Hu et al., 2022).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{D, Device, Tensor};

use crate::Result;
use crate::ops::{self, DropoutMask};

/// What the maps of one adapter do at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdapterMode {
    /// They add their low-rank products.
    Active,
    /// They change nothing: the network is what it was without the adapter.
    Disabled,
    /// Their products are part of the weights.
    Merged,
}

/// What all maps of one adapter share.
#[derive(Debug)]
pub(crate) struct AdapterState {
    present: Mutex<AdapterUse>,
    /// Counts merges, so that a map knows when its merged weight is out of date.
    version: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct AdapterUse {
    mode: AdapterMode,
    dropout: Option<DropoutMask>,
}

impl AdapterState {
    pub(crate) fn new() -> Self {
        let present = AdapterUse { mode: AdapterMode::Active, dropout: None };
        Self { present: Mutex::new(present), version: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, AdapterUse> {
        // Settings are replaced field by field: a panic elsewhere cannot leave them half-written.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mode(&self) -> AdapterMode {
        self.lock().mode
    }

    pub(crate) fn set_mode(&self, mode: AdapterMode) {
        // Before the mode: a map that sees the new mode then also sees that its merged weight is old.
        self.version.fetch_add(1, Ordering::SeqCst);
        self.lock().mode = mode;
    }

    pub(crate) fn set_dropout(&self, dropout: Option<DropoutMask>) {
        self.lock().dropout = dropout;
    }
}

/// The low-rank changes of one linear map, or of several whose outputs lie side by side.
#[derive(Debug, Clone)]
pub struct LowRankMap {
    parts: Vec<LowRankPart>,
    outputs: usize,
    state: Arc<AdapterState>,
    merged: Arc<Mutex<Option<(u64, Tensor)>>>,
}

/// scale · x·A·B, added to some of the outputs.
#[derive(Debug, Clone)]
struct LowRankPart {
    first: usize,
    outputs: usize,
    /// A, `[inputs, rank]`.
    down: Tensor,
    /// B, `[rank, outputs]`.
    up: Tensor,
    scale: f64,
    /// Tells the dropout of one map from that of another.
    stream: u64,
}

impl LowRankMap {
    /// scale · x·A·B with A = `down`, `[inputs, rank]`, and B = `up`, `[rank, outputs]`.
    pub(crate) fn new(
        (down, up): (Tensor, Tensor),
        outputs: usize,
        scale: f64,
        stream: u64,
        state: Arc<AdapterState>,
    ) -> Self {
        let part = LowRankPart { first: 0, outputs, down, up, scale, stream };
        Self { parts: vec![part], outputs, state, merged: Arc::default() }
    }

    /// The changes of maps that were joined, given with their numbers of outputs; none if there are none.
    pub(crate) fn side_by_side<'a>(maps: impl Iterator<Item = (Option<&'a Self>, usize)>) -> Option<Self> {
        let (mut parts, mut outputs, mut state) = (Vec::new(), 0, None);
        for (map, width) in maps {
            if let Some(map) = map {
                parts.extend(
                    map.parts.iter().map(|part| LowRankPart { first: outputs + part.first, ..part.clone() }),
                );
                state = Some(map.state.clone());
            }
            outputs += width;
        }
        Some(Self { parts, outputs, state: state?, merged: Arc::default() })
    }

    /// The same without gradients; it shares the numbers and follows the same adapter.
    pub(crate) fn detached(&self) -> Self {
        let part = |part: &LowRankPart| LowRankPart {
            down: part.down.detach(),
            up: part.up.detach(),
            ..part.clone()
        };
        Self { parts: self.parts.iter().map(part).collect(), state: self.state.clone(), ..self.clone() }
    }

    pub(crate) fn mode(&self) -> AdapterMode {
        self.state.mode()
    }

    /// `base` with the low-rank products of `x` added.
    ///
    /// # Shapes
    /// - `base`, output: `[.., outputs]`
    /// - `x`: `[.., inputs]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn add(&self, base: &Tensor, x: &Tensor) -> Result<Tensor> {
        let dropout = self.state.lock().dropout;
        let mut columns = Vec::with_capacity(self.parts.len() + 1);
        let mut end = 0;
        let mut dims = base.dims().to_vec();
        let mut zeros = |columns: &mut Vec<Tensor>, width: usize| -> Result<()> {
            if width > 0 {
                if let Some(last) = dims.last_mut() {
                    *last = width;
                }
                columns.push(Tensor::zeros(dims.as_slice(), candle_core::DType::F32, &Device::Cpu)?);
            }
            Ok(())
        };
        for part in &self.parts {
            zeros(&mut columns, part.first - end)?;
            let dropped = match dropout {
                // Maps that were joined must drop what they would have dropped apart, or a run would depend on the
                // joining.
                Some(mask) => &ops::dropout(x, mask.fork(part.stream))?,
                None => x,
            };
            // The scale is applied at the bottleneck, where there are fewest numbers.
            let small = (ops::linear(dropped, &part.down, None)? * part.scale)?;
            columns.push(ops::linear(&small, &part.up, None)?);
            end = part.first + part.outputs;
        }
        zeros(&mut columns, self.outputs - end)?;
        match columns.as_slice() {
            [all] => Ok((base + all)?),
            several => Ok((base + Tensor::cat(several, D::Minus1)?)?),
        }
    }

    /// `weight` + scale · A·B, kept until the adapter is merged anew. It carries no gradient.
    ///
    /// # Shapes
    /// - `weight`, output: `[inputs, outputs]`
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn merged_weight(&self, weight: &Tensor) -> Result<Tensor> {
        let version = self.state.version.load(Ordering::SeqCst);
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, weight)) = merged.as_ref().filter(|(made, _)| *made == version) {
            return Ok(weight.clone());
        }
        let inputs = weight.dim(0)?;
        let product = |part: &LowRankPart| part.down.detach().matmul(&part.up.detach())? * part.scale;
        let mut columns = Vec::with_capacity(self.parts.len() + 1);
        let mut end = 0;
        let zeros = |width| Tensor::zeros((inputs, width), candle_core::DType::F32, &Device::Cpu);
        for part in &self.parts {
            columns.push(zeros(part.first - end)?);
            columns.push(product(part)?);
            end = part.first + part.outputs;
        }
        columns.push(zeros(self.outputs - end)?);
        // The weight itself is not touched, so that taking the adapter out again is exact.
        let sum = (weight.detach() + Tensor::cat(&columns, 1)?)?;
        *merged = Some((version, sum.clone()));
        Ok(sum)
    }
}
