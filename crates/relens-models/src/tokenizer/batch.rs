//! Packed token ids: the texts of a batch one after the other, without padding.

/// Packed token ids of several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// The ids of all texts, one after the other.
    pub ids: Vec<u32>,
    /// Where each text begins, then the total: one more than there are texts.
    pub offsets: Vec<usize>,
    /// Whether a text did not fit, and lost its end.
    pub truncated: Vec<bool>,
}

impl TokenBatch {
    /// A batch without texts.
    pub fn empty() -> Self {
        Self { ids: Vec::new(), offsets: vec![0], truncated: Vec::new() }
    }

    /// The batch of these sequences, none of them truncated.
    pub fn from_sequences<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let mut batch = Self::empty();
        for sequence in sequences {
            batch.push(sequence.as_ref());
        }
        batch
    }

    /// Adds a sequence that was not truncated.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len());
        self.truncated.push(false);
    }

    /// The sequences' lengths.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.offsets.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.truncated.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.truncated.is_empty()
    }

    /// The ids of text `i`, if there is one.
    pub fn sequence(&self, i: usize) -> Option<&[u32]> {
        self.ids.get(*self.offsets.get(i)?..*self.offsets.get(i + 1)?)
    }
}
