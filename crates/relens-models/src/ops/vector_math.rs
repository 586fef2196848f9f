//! Loops over slices that the compiler turns into SIMD, and the transcendental functions that it cannot find itself.
//!
//! Every function is `#[inline(always)]`, so that it takes on the instruction set of the
//! [`vectorized`] function around it. Reductions keep [`LANES`] running values whatever the machine, so a sum has the
//! same bits on all of them.

use super::instruction_set::vectorized;

/// Running values kept by a reduction: two AVX-512 registers, four AVX2 registers.
const LANES: usize = 32;

#[inline(always)]
fn reduce(xs: &[f32], start: f32, lane: impl Fn(f32, f32) -> f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    // Independent sums hide the latency of an addition, and their number is fixed so that the order, and with it the
    // rounding, is the same on every machine.
    let mut running = [start; LANES];
    let chunks = xs.chunks_exact(LANES);
    let tail = chunks.remainder();
    for chunk in chunks {
        for (r, &x) in running.iter_mut().zip(chunk) {
            *r = lane(*r, x);
        }
    }
    for (r, &x) in running.iter_mut().zip(tail) {
        *r = lane(*r, x);
    }
    // Halves are joined pairwise: the order of the widest machine, written out for all.
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = running.split_at_mut(width);
        for (l, &h) in low.iter_mut().zip(high.iter()) {
            *l = join(*l, h);
        }
        width /= 2;
    }
    running[0]
}

/// Σ xᵢ
#[inline(always)]
pub(crate) fn sum(xs: &[f32]) -> f32 {
    reduce(xs, 0.0, |r, x| r + x, |a, b| a + b)
}

/// Σ (xᵢ − centre)²
#[inline(always)]
pub(crate) fn sum_of_squared_deviations(xs: &[f32], centre: f32) -> f32 {
    reduce(xs, 0.0, |r, x| (x - centre).mul_add(x - centre, r), |a, b| a + b)
}

/// max xᵢ; a NaN anywhere gives NaN, so that a broken activation is not hidden.
#[inline(always)]
pub(crate) fn max(xs: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
    reduce(xs, f32::NEG_INFINITY, larger, larger)
}

/// Σ aᵢ bᵢ
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut running = [0.0f32; LANES];
    // Lanes are indexed over slices of known length, which the compiler unrolls and keeps in registers.
    let whole = length - length % LANES;
    for (x, y) in a[..whole].chunks_exact(LANES).zip(b[..whole].chunks_exact(LANES)) {
        for lane in 0..LANES {
            running[lane] = x[lane].mul_add(y[lane], running[lane]);
        }
    }
    for (lane, (x, y)) in a[whole..].iter().zip(&b[whole..]).enumerate() {
        running[lane] = x.mul_add(*y, running[lane]);
    }
    // A whole chunk and no tail: `sum` only joins the lanes.
    sum(&running)
}

/// y ← y + x
#[inline(always)]
pub(crate) fn add_assign(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

vectorized! {
    /// y ← y + x, for callers that are not vectorised themselves.
    pub(crate) fn add_row(y: &mut [f32], x: &[f32]) {
        add_assign(y, x);
    }
}

/// y ← scale · y
#[inline(always)]
pub(crate) fn scale(y: &mut [f32], scale: f32) {
    for y in y {
        *y *= scale;
    }
}

/// eˣ to 4·10⁻⁷ relative; 0 below −87.3, +∞ above 88.37, NaN for NaN.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2, eʳ by its Taylor polynomial of degree 7. Adding and removing 1.5·2²³ rounds to
/// an integer and leaves that integer in the low bits, which avoids a conversion that would not vectorise.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.37;
    // Comparisons that are false for NaN, so that it passes through to the result.
    let clamped = if x > HIGHEST { HIGHEST } else { x };
    let clamped = if clamped < LOWEST { LOWEST } else { clamped };
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts: the high one has few bits, so n · high is exact and r keeps its last digits.
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, clamped));
    let mut p = 1.0f32 / 5040.0;
    p = p.mul_add(r, 1.0 / 720.0);
    p = p.mul_add(r, 1.0 / 120.0);
    p = p.mul_add(r, 1.0 / 24.0);
    p = p.mul_add(r, 1.0 / 6.0);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 1.0);
    p = p.mul_add(r, 1.0);
    // The integer goes straight into the exponent bits: a multiplication by 2ⁿ without a table.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    let value = p * power;
    let value = if x < LOWEST { 0.0 } else { value };
    if x > HIGHEST { f32::INFINITY } else { value }
}

/// tanh x to 10⁻⁶ relative.
///
/// Near 0, where 1 − 2/(e²ˣ + 1) cancels, the continued fraction x(945 + 105x² + x⁴)/(945 + 420x² + 15x⁴) is used.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let numerator = x * square.mul_add(square + 105.0, 945.0);
    let denominator = square.mul_add(square.mul_add(15.0, 420.0), 945.0);
    // Both forms are computed and one is chosen: a branch would keep the loop from being vectorised.
    let near = numerator / denominator;
    let far = 1.0 - 2.0 / (exp(2.0 * x) + 1.0);
    if x.abs() < 0.55 { near } else { far }
}

/// 1 / (1 + e⁻ˣ)
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// (erf x, e^(−x²)): the error function to 2·10⁻⁷ absolute, and the exponential that it needs anyway.
///
/// Abramowitz and Stegun, formula 7.1.26.
#[inline(always)]
pub(crate) fn erf_and_gaussian(x: f32) -> (f32, f32) {
    // The formula is for x ≥ 0; erf is odd.
    let magnitude = x.abs();
    let gaussian = exp(-(x * x));
    let t = 1.0 / magnitude.mul_add(0.327_591_1, 1.0);
    let mut p = 1.061_405_4f32;
    p = p.mul_add(t, -1.453_152_1);
    p = p.mul_add(t, 1.421_413_8);
    p = p.mul_add(t, -0.284_496_72);
    p = p.mul_add(t, 0.254_829_6);
    let value = (-(p * t)).mul_add(gaussian, 1.0);
    (value.copysign(x), gaussian)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(from: f32, to: f32, steps: usize) -> impl Iterator<Item = f32> {
        (0..=steps).map(move |i| from + (to - from) * i as f32 / steps as f32)
    }

    #[test]
    fn exp_is_accurate_over_its_whole_range() {
        for x in grid(-87.0, 88.3, 200_000) {
            let expected = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(relative < 4e-7, "exp({x}): relative error {relative}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(100.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_accurate_in_relative_terms() {
        for x in grid(-12.0, 12.0, 100_001) {
            let expected = f64::from(x).tanh();
            let error = (f64::from(tanh(x)) - expected).abs();
            assert!(error <= 1e-6 * expected.abs(), "tanh({x}): error {error}");
        }
    }

    #[test]
    fn erf_is_accurate_in_absolute_terms() {
        // erf by its Maclaurin series in f64, exact to 1e-12 for |x| ≤ 3.
        let reference = |x: f64| {
            let (mut term, mut total) = (x, x);
            for n in 1..80 {
                term *= -x * x / f64::from(n);
                total += term / f64::from(2 * n + 1);
            }
            total * 2.0 / std::f64::consts::PI.sqrt()
        };
        for x in grid(-3.0, 3.0, 60_001) {
            let (value, gaussian) = erf_and_gaussian(x);
            assert!((f64::from(value) - reference(f64::from(x))).abs() < 5e-7, "erf({x}) = {value}");
            assert!((f64::from(gaussian) - (-f64::from(x).powi(2)).exp()).abs() < 2e-7);
        }
        assert_eq!(erf_and_gaussian(9.0), (1.0, exp(-81.0)));
        assert_eq!(erf_and_gaussian(-9.0).0, -1.0);
    }

    #[test]
    fn reductions_agree_with_naive_loops_at_every_length() {
        for length in 0..100usize {
            let xs: Vec<f32> = (0..length).map(|i| ((i * 37 % 19) as f32) - 9.0).collect();
            let ys: Vec<f32> = (0..length).map(|i| ((i * 11 % 7) as f32) - 3.0).collect();
            assert_eq!(sum(&xs), xs.iter().sum::<f32>());
            assert_eq!(max(&xs), xs.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            assert_eq!(dot(&xs, &ys), xs.iter().zip(&ys).map(|(x, y)| x * y).sum::<f32>());
        }
        assert!(max(&[1.0, f32::NAN, 3.0]).is_nan());
    }
}
