//! Working memory that is reused from image to image.

use std::sync::{Mutex, PoisonError};

use crate::ops::panel_convolution::AlignedBuffer;

/// Buffers of one thread at work.
#[derive(Default)]
pub(super) struct Scratch {
    /// The rows of the picture that a tile of the stem looks at, padding included.
    pub(super) picture: AlignedBuffer,
    /// One expanded panel of a tile, padding included.
    pub(super) expanded: AlignedBuffer,
    /// The depthwise convolution's output for a tile, all panels.
    pub(super) depthwise: AlignedBuffer,
    /// A block's input and output, in turns.
    pub(super) activations: [AlignedBuffer; 2],
}

/// Scratch that is not in use. A thread that waits inside a parallel loop may start another image, so buffers
/// belong to a piece of work, not to a thread.
#[derive(Default)]
pub(super) struct ScratchPool {
    idle: Mutex<Vec<Scratch>>,
}

impl ScratchPool {
    /// Lends scratch until the loan is dropped.
    pub(super) fn lend(&self) -> ScratchLoan<'_> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        ScratchLoan { pool: self, scratch: idle.unwrap_or_default() }
    }
}

/// Scratch on loan.
pub(super) struct ScratchLoan<'a> {
    pool: &'a ScratchPool,
    pub(super) scratch: Scratch,
}

impl Drop for ScratchLoan<'_> {
    fn drop(&mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
