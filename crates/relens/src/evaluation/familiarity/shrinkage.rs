//! Means of a few noisy numbers, shrunk towards those of their like.

/// The mean of each list, shrunk towards the mean of all lists whose counts have the same number of binary digits, by the
/// scatter inside of lists and between them. A list of no number gets the mean of its like.
///
/// # Shapes
/// - `lists`, `counts`, result: `[words]`
pub(super) fn shrunk_means(lists: &[Vec<f64>], counts: &[u64]) -> Vec<f64> {
    let like = |count: u64| (u64::BITS - count.leading_zeros()) as usize;
    let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
    let mut of_like: Vec<Vec<f64>> = vec![Vec::new(); u64::BITS as usize + 1];
    for (list, &count) in lists.iter().zip(counts) {
        of_like[like(count)].extend(list);
    }
    let everywhere: Vec<f64> = lists.iter().flatten().copied().collect();
    let priors: Vec<f64> = of_like
        .iter()
        .map(|numbers| if numbers.is_empty() { mean(&everywhere) } else { mean(numbers) })
        .collect();
    let weight = prior_weight(lists, |list| priors[like(counts[list])]);
    let shrunk = |(number, list): (usize, &Vec<f64>)| {
        let prior = priors[like(counts[number])];
        let sum: f64 = list.iter().sum();
        (sum + weight * prior) / (list.len() as f64 + weight)
    };
    lists.iter().enumerate().map(shrunk).collect()
}

/// How many numbers the prior counts for: the variance inside of lists over that of their true means (by the method of
/// moments), between 1 and 100.
fn prior_weight(lists: &[Vec<f64>], prior: impl Fn(usize) -> f64) -> f64 {
    let (mut inside, mut freedom) = (0.0, 0);
    let (mut between, mut noise, mut several) = (0.0, 0.0, 0);
    for (number, list) in lists.iter().enumerate().filter(|(_, list)| list.len() > 1) {
        let mean = list.iter().sum::<f64>() / list.len() as f64;
        inside += list.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        freedom += list.len() - 1;
        between += (mean - prior(number)).powi(2);
        noise += 1.0 / list.len() as f64;
        several += 1;
    }
    if several == 0 {
        return 1.0;
    }
    let inside = inside / freedom as f64;
    let between = (between - inside * noise) / f64::from(several);
    (inside / between.max(f64::EPSILON)).clamp(1.0, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_numbers_are_drawn_to_those_of_their_like_and_many_are_not() {
        let steady = |value: f64, count: usize| vec![value; count];
        let lists = [steady(1.0, 50), steady(0.0, 50), vec![4.0], Vec::new()];
        let found = shrunk_means(&lists, &[0, 0, 0, 0]);
        let prior = 54.0 / 101.0;
        assert!((found[0] - 1.0).abs() < 0.02 && found[1].abs() < 0.02, "{found:?}");
        assert!(found[2] < 3.0 && found[2] > prior, "{found:?}");
        assert!((found[3] - prior).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn like_is_what_captions_use_about_as_often() {
        let found = shrunk_means(&[vec![1.0], vec![3.0], Vec::new(), Vec::new()], &[0, 1000, 0, 800]);
        assert_eq!(found, [1.0, 3.0, 1.0, 3.0]);
    }

    #[test]
    fn noise_alone_is_shrunk_away() {
        let noisy = |sign: f64| vec![sign, -sign, 2.0 * sign, -2.0 * sign];
        let found = shrunk_means(&[noisy(1.0), noisy(-1.0), vec![2.0]], &[0, 0, 0]);
        assert!(found[2] < 0.3, "{found:?}");
    }
}
