//! Logistic regression on standardised features, by Newton's method.

/// A fitted model.
#[derive(Debug, Clone)]
pub(crate) struct Logistic {
    pub(crate) mean: Vec<f64>,
    pub(crate) deviation: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) bias: f64,
}

impl Logistic {
    /// Bias and weights for features as they are, not standardised.
    pub(crate) fn raw(&self) -> (f64, Vec<f64>) {
        let scaled = self.weights.iter().zip(&self.deviation).map(|(weight, deviation)| weight / deviation);
        let weights: Vec<f64> = scaled.collect();
        let shift: f64 = weights.iter().zip(&self.mean).map(|(weight, mean)| weight * mean).sum();
        (self.bias - shift, weights)
    }
}

/// Newton steps; the loss is convex and a handful is enough.
const STEPS: usize = 30;

/// Fits `P(helped) = σ(bias + w·(x − mean)/deviation)` with a ridge penalty on w.
pub(crate) fn fit(rows: &[Vec<f64>], helped: &[bool], ridge: f64) -> Logistic {
    let width = rows.first().map_or(0, Vec::len);
    let count = rows.len().max(1) as f64;
    let column = |index: usize| rows.iter().map(move |row| row.get(index).copied().unwrap_or(0.0));
    let mean: Vec<f64> = (0..width).map(|index| column(index).sum::<f64>() / count).collect();
    let deviation: Vec<f64> = (0..width)
        .zip(&mean)
        .map(|(index, mean)| (column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
        // A feature that never changes says nothing, whatever it is divided by.
        .map(|deviation| if deviation > 1e-9 { deviation } else { 1.0 })
        .collect();
    // The last component is the bias.
    let scaled: Vec<Vec<f64>> = rows
        .iter()
        .map(|row| {
            let of = row.iter().zip(&mean).zip(&deviation).map(|((value, mean), by)| (value - mean) / by);
            of.chain([1.0]).collect()
        })
        .collect();
    let mut weights = vec![0.0; width + 1];
    for _ in 0..STEPS {
        let step = newton_step(&scaled, helped, &weights, ridge);
        weights.iter_mut().zip(&step).for_each(|(weight, step)| *weight -= step);
        if step.iter().all(|step| step.abs() < 1e-10) {
            break;
        }
    }
    let bias = weights.pop().unwrap_or(0.0);
    Logistic { mean, deviation, weights, bias }
}

fn newton_step(rows: &[Vec<f64>], helped: &[bool], weights: &[f64], ridge: f64) -> Vec<f64> {
    let width = weights.len();
    let mut gradient = vec![0.0; width];
    let mut hessian = vec![vec![0.0; width]; width];
    for (row, &helped) in rows.iter().zip(helped) {
        let logit: f64 = row.iter().zip(weights).map(|(value, weight)| value * weight).sum();
        let probability = 1.0 / (1.0 + (-logit).exp());
        let error = probability - f64::from(u8::from(helped));
        let curvature = (probability * (1.0 - probability)).max(1e-9);
        for (place, value) in row.iter().enumerate() {
            gradient[place] += error * value;
            for (other, second) in row.iter().enumerate() {
                hessian[place][other] += curvature * value * second;
            }
        }
    }
    for place in 0..width.saturating_sub(1) {
        gradient[place] += ridge * weights[place];
        hessian[place][place] += ridge;
    }
    solve(hessian, gradient)
}

/// Solves a positive definite system by elimination; a direction without curvature is left alone.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let width = right.len();
    for pivot in 0..width {
        let diagonal = matrix[pivot][pivot];
        if diagonal.abs() < 1e-12 {
            continue;
        }
        let own = matrix[pivot].clone();
        for row in pivot + 1..width {
            let factor = matrix[row][pivot] / diagonal;
            for (value, own) in matrix[row].iter_mut().zip(&own).skip(pivot) {
                *value -= factor * own;
            }
            right[row] -= factor * right[pivot];
        }
    }
    for pivot in (0..width).rev() {
        let known: f64 = (pivot + 1..width).map(|column| matrix[pivot][column] * right[column]).sum();
        let diagonal = matrix[pivot][pivot];
        right[pivot] = if diagonal.abs() < 1e-12 { 0.0 } else { (right[pivot] - known) / diagonal };
    }
    right
}

/// Chance that a positive example has the higher number; ties count half.
pub(crate) fn area_under_curve(numbers: &[f64], positive: &[bool]) -> f64 {
    let of = |wanted: bool| {
        let pairs = numbers.iter().zip(positive);
        pairs.filter(move |(_, positive)| **positive == wanted).map(|(number, _)| *number)
    };
    let (mut wins, mut pairs) = (0.0, 0.0);
    for high in of(true) {
        for low in of(false) {
            pairs += 1.0;
            wins += if high > low {
                1.0
            } else if high < low {
                0.0
            } else {
                0.5
            };
        }
    }
    if pairs > 0.0 { wins / pairs } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::stream;

    #[test]
    fn the_weights_behind_the_data_are_found() {
        let mut rng = stream(3, "logistic", 0);
        let (mut rows, mut helped) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let row = vec![rng.random_range(-2.0..2.0), rng.random_range(0.0..6.0), 1.0];
            let logit: f64 = 1.5 * row[0] - 0.5 * (row[1] - 3.0) + 0.25;
            helped.push(rng.random_bool(1.0 / (1.0 + (-logit).exp())));
            rows.push(row);
        }
        let model = fit(&rows, &helped, 1e-6);
        let raw = |index: usize| model.weights[index] / model.deviation[index];
        assert!((raw(0) - 1.5).abs() < 0.1 && (raw(1) + 0.5).abs() < 0.05, "{model:?}");
        assert!(model.weights[2].abs() < 1e-6, "a constant says nothing: {model:?}");
        let probabilities: Vec<f64> = rows.iter().map(|row| 1.5 * row[0] - 0.5 * row[1]).collect();
        assert!(area_under_curve(&probabilities[..2000], &helped[..2000]) > 0.8);
    }

    #[test]
    fn separable_data_stay_finite_under_the_ridge() {
        let rows: Vec<Vec<f64>> = (0..40).map(|index| vec![f64::from(index)]).collect();
        let helped: Vec<bool> = (0..40).map(|index| index >= 20).collect();
        let model = fit(&rows, &helped, 1.0);
        assert!(model.weights[0] > 0.5 && model.weights[0].is_finite());
        assert_eq!(area_under_curve(&[0.1, 0.9, 0.5], &[false, true, true]), 1.0);
        assert_eq!(area_under_curve(&[0.5, 0.5], &[false, true]), 0.5);
    }
}
