//! Functions compiled several times, for the instruction sets that processors have, and chosen at run time.

/// The widest vectors that a kernel may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstructionSet {
    /// 512 bits, fused multiply-add.
    Avx512,
    /// 256 bits, fused multiply-add.
    Avx2,
    /// What the compiler was told to assume.
    Baseline,
}

/// What this processor has. The standard library keeps the answer, so asking costs one load.
#[inline]
pub(crate) fn detected() -> InstructionSet {
    #[cfg(target_arch = "x86_64")]
    {
        // All of what a function is compiled with has to be there: one missing instruction is a crash.
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, wide) {
            (true, true) => return InstructionSet::Avx512,
            (true, false) => return InstructionSet::Avx2,
            (false, _) => {}
        }
    }
    InstructionSet::Baseline
}

/// Declares functions whose loops the compiler turns into SIMD for each [`InstructionSet`].
///
/// What they call must be `#[inline(always)]`: a function that is not inlined was compiled for the baseline, where a
/// fused multiply-add is a call into the mathematics library. For the same reason a closure that does more than a few
/// operations does not belong into them: it becomes a function that several callers share.
macro_rules! vectorized {
    ($($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? $body:block)*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            #[inline(always)]
            fn kernel($($argument: $type),*) $(-> $output)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    kernel($($argument),*)
                }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    kernel($($argument),*)
                }

                use $crate::ops::instruction_set::{InstructionSet, detected};
                match detected() {
                    // SAFETY: this processor has the instructions.
                    InstructionSet::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: this processor has the instructions.
                    InstructionSet::Avx2 => return unsafe { avx2($($argument),*) },
                    InstructionSet::Baseline => {}
                }
            }
            kernel($($argument),*)
        }
    )*};
}

pub(crate) use vectorized;
