//! Sums of products of bytes, on what the processor has for them.
//!
//! A panel of weights is `[groups, 64, 4]`: four inputs of sixteen outputs fill a register of 512 bits, and one
//! instruction adds four products to each of its sums.

/// Outputs that are computed together.
pub(super) const PANEL: usize = 64;

/// Inputs that one instruction multiplies and adds up.
pub(super) const GROUP: usize = 4;

/// Rows that are computed together, at most.
pub(super) const TILE_ROWS: usize = 6;

/// What a byte of the activations stands for when it is 0: VNNI multiplies unsigned by signed bytes, NEON signed ones.
pub(super) const ORIGIN: i32 = if cfg!(target_arch = "aarch64") { 128 } else { 0 };

/// Sums of up to [`TILE_ROWS`] rows for the outputs of a panel.
pub(super) type Sums = [[i32; PANEL]; TILE_ROWS];

/// The instructions that a product can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DotProduct {
    /// AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    /// AVX-VNNI: the same on 256 bits.
    #[cfg(target_arch = "x86_64")]
    Vnni256,
    /// NEON's dot product.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Whatever the compiler makes of loops.
    Portable,
}

impl DotProduct {
    /// All that this processor has, the fastest first.
    pub(super) fn available() -> Vec<Self> {
        let mut available = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
                available.push(Self::Vnni512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni") {
                available.push(Self::Vnni256);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("dotprod") {
            available.push(Self::Neon);
        }
        // Last, so that there always is one, and tests can compare all others with it.
        available.push(Self::Portable);
        available
    }

    /// The fastest that this processor has.
    pub(super) fn detected() -> Self {
        Self::available().first().copied().unwrap_or(Self::Portable)
    }

    /// Computes the sums of `count` rows, `stride` bytes apart, with a panel of weights.
    ///
    /// # Panics
    /// When a row ends early: what follows reads without further checks.
    pub(super) fn tile(self, rows: &[u8], stride: usize, count: usize, panel: &[i8], sums: &mut Sums) {
        // The panel is padded to whole groups, and so are the rows.
        let groups = panel.len() / (PANEL * GROUP);
        assert!((1..=TILE_ROWS).contains(&count) && rows.len() >= (count - 1) * stride + groups * GROUP);
        let tile = DotTile { rows, stride, panel, groups };
        let mut first = 0;
        while first < count {
            let sums = &mut sums[first..];
            // SAFETY: the rows are long enough, and `available` found the instructions.
            first += unsafe {
                match self {
                    #[cfg(target_arch = "x86_64")]
                    Self::Vnni512 => match count - first {
                        6.. => tile.vnni_512::<6>(first, sums),
                        3..=5 => tile.vnni_512::<3>(first, sums),
                        2 => tile.vnni_512::<2>(first, sums),
                        _ => tile.vnni_512::<1>(first, sums),
                    },
                    #[cfg(target_arch = "x86_64")]
                    Self::Vnni256 => match count - first {
                        // Sixteen registers instead of thirty-two: three rows of sums fit beside the weights.
                        3.. => tile.vnni_256::<3>(first, sums),
                        2 => tile.vnni_256::<2>(first, sums),
                        _ => tile.vnni_256::<1>(first, sums),
                    },
                    #[cfg(target_arch = "aarch64")]
                    Self::Neon => match count - first {
                        6.. => tile.neon::<6>(first, sums),
                        3..=5 => tile.neon::<3>(first, sums),
                        2 => tile.neon::<2>(first, sums),
                        _ => tile.neon::<1>(first, sums),
                    },
                    Self::Portable => tile.portable(first, sums),
                }
            };
        }
    }
}

/// Some rows and a panel of weights.
struct DotTile<'a> {
    rows: &'a [u8],
    stride: usize,
    panel: &'a [i8],
    groups: usize,
}

impl DotTile<'_> {
    /// One row; returns 1. All kernels return how many rows they did.
    fn portable(&self, first: usize, sums: &mut [[i32; PANEL]]) -> usize {
        let row = &self.rows[first * self.stride..][..self.groups * GROUP];
        let sums = &mut sums[0];
        sums.fill(0);
        for (x, weights) in row.chunks_exact(GROUP).zip(self.panel.chunks_exact(PANEL * GROUP)) {
            let x: [i32; GROUP] =
                // A byte is signed or unsigned by what the platform's instruction takes.
                std::array::from_fn(|i| if ORIGIN == 0 { i32::from(x[i]) } else { i32::from(x[i] as i8) });
            for (sum, weights) in sums.iter_mut().zip(weights.as_chunks::<GROUP>().0) {
                *sum += x.iter().zip(weights).map(|(&x, &weight)| x * i32::from(weight)).sum::<i32>();
            }
        }
        1
    }

    /// # Safety
    /// The processor must have the instructions, and `R` rows from `first` on must be there.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni_512<const R: usize>(&self, first: usize, sums: &mut [[i32; PANEL]]) -> usize {
        use std::arch::x86_64::{
            __m512i, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
        };
        const REGISTERS: usize = PANEL / 16;
        let mut running = [[_mm512_setzero_si512(); REGISTERS]; R];
        // SAFETY: the caller keeps rows and panel long enough.
        unsafe {
            let rows = self.rows.as_ptr().add(first * self.stride);
            let panel = self.panel.as_ptr().cast::<__m512i>();
            for group in 0..self.groups {
                let mut weights = [_mm512_setzero_si512(); REGISTERS];
                for (i, weights) in weights.iter_mut().enumerate() {
                    *weights = panel.add(group * REGISTERS + i).read_unaligned();
                }
                for (r, running) in running.iter_mut().enumerate() {
                    // Four bytes of the row as one integer, repeated in all lanes: each lane has four weights of one
                    // output.
                    let x = rows.add(r * self.stride + group * GROUP).cast::<i32>().read_unaligned();
                    let x = _mm512_set1_epi32(x);
                    for (running, weights) in running.iter_mut().zip(weights) {
                        // Unsigned by signed, without saturation: at most 4 · 255 · 127 is added to 32 bits.
                        *running = _mm512_dpbusd_epi32(*running, x, weights);
                    }
                }
            }
            for (sums, running) in sums.iter_mut().zip(running) {
                for (i, running) in running.into_iter().enumerate() {
                    _mm512_storeu_si512(sums.as_mut_ptr().add(i * 16).cast(), running);
                }
            }
        }
        R
    }

    /// # Safety
    /// As [`DotTile::vnni_512`].
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,avxvnni")]
    unsafe fn vnni_256<const R: usize>(&self, first: usize, sums: &mut [[i32; PANEL]]) -> usize {
        use std::arch::x86_64::{
            __m256i, _mm256_dpbusd_avx_epi32, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256,
        };
        const REGISTERS: usize = 4;
        const PARTS: usize = PANEL / (8 * REGISTERS);
        // In two halves of the panel: sums of all 64 outputs would not fit into the registers.
        for part in 0..PARTS {
            let mut running = [[_mm256_setzero_si256(); REGISTERS]; R];
            // SAFETY: the caller keeps rows and panel long enough.
            unsafe {
                let rows = self.rows.as_ptr().add(first * self.stride);
                let panel = self.panel.as_ptr().cast::<__m256i>().add(part * REGISTERS);
                for group in 0..self.groups {
                    for (r, running) in running.iter_mut().enumerate() {
                        let x = rows.add(r * self.stride + group * GROUP).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        for (i, running) in running.iter_mut().enumerate() {
                            let weights = panel.add(group * PARTS * REGISTERS + i).read_unaligned();
                            *running = _mm256_dpbusd_avx_epi32(*running, x, weights);
                        }
                    }
                }
                for (sums, running) in sums.iter_mut().zip(running) {
                    for (i, running) in running.into_iter().enumerate() {
                        let place = sums.as_mut_ptr().add((part * REGISTERS + i) * 8);
                        _mm256_storeu_si256(place.cast(), running);
                    }
                }
            }
        }
        R
    }

    /// # Safety
    /// As [`DotTile::vnni_512`].
    #[cfg(target_arch = "aarch64")]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn neon<const R: usize>(&self, first: usize, sums: &mut [[i32; PANEL]]) -> usize {
        use std::arch::aarch64::{
            int8x16_t, int32x4_t, vdupq_n_s32, vld1q_s8, vreinterpretq_s8_s32, vst1q_s32,
        };
        use std::arch::asm;

        /// The standard library does not offer this instruction yet.
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        fn add_dot(sums: &mut int32x4_t, x: int8x16_t, weights: int8x16_t) {
            // SAFETY: it works on registers alone.
            unsafe {
                asm!(
                    "sdot {sums:v}.4s, {x:v}.16b, {weights:v}.16b",
                    sums = inout(vreg) *sums, x = in(vreg) x, weights = in(vreg) weights,
                    options(pure, nomem, nostack, preserves_flags)
                );
            }
        }

        const REGISTERS: usize = 4;
        const PARTS: usize = PANEL / (4 * REGISTERS);
        // In parts of the panel that fit into the registers.
        for part in 0..PARTS {
            let mut running = [[vdupq_n_s32(0); REGISTERS]; R];
            // SAFETY: the caller keeps rows and panel long enough.
            unsafe {
                let rows = self.rows.as_ptr().add(first * self.stride);
                let panel = self.panel.as_ptr().add(part * REGISTERS * 16);
                for group in 0..self.groups {
                    let mut weights = [vreinterpretq_s8_s32(vdupq_n_s32(0)); REGISTERS];
                    for (i, weights) in weights.iter_mut().enumerate() {
                        *weights = vld1q_s8(panel.add(group * PANEL * GROUP + i * 16));
                    }
                    for (r, running) in running.iter_mut().enumerate() {
                        let x = rows.add(r * self.stride + group * GROUP).cast::<i32>().read_unaligned();
                        let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                        for (running, weights) in running.iter_mut().zip(weights) {
                            add_dot(running, x, weights);
                        }
                    }
                }
                for (sums, running) in sums.iter_mut().zip(running) {
                    for (i, running) in running.into_iter().enumerate() {
                        vst1q_s32(sums.as_mut_ptr().add((part * REGISTERS + i) * 4), running);
                    }
                }
            }
        }
        R
    }
}
