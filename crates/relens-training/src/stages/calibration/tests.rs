use rand::RngExt;

use super::*;
use crate::random::stream;

/// Queries whose answers are drawn from known probabilities.
fn drawn(count: usize, truth: &FitConfig) -> Vec<Observation> {
    let mut rng = stream(5, "calibration", 0);
    let observation = |_| {
        let features = QueryFeatures {
            similarity: rng.random_range(0.2..0.7),
            familiarity: rng.random_range(0.3..0.9),
            unseen: rng.random_range(0.0..1.0),
            spread: rng.random_range(0.05..0.2),
            pictures: rng.random_range(3.0..7.0),
        };
        let present = rng.random_bool(truth.anything(&features));
        let mut leads: Vec<f64> = (0..COMPARED_HITS).map(|_| rng.random_range(-0.1..0.2)).collect();
        leads.sort_by(|left, right| right.total_cmp(left));
        let hits = truth.estimate(features, leads.clone()).hits;
        let right = hits.iter().position(|fits| present && rng.random_bool(*fits));
        Observation { features, leads, present, caption: present, right }
    };
    (0..count).map(observation).collect()
}

const TRUTH: FitConfig = FitConfig {
    bias: -8.0,
    similarity: 9.0,
    familiarity: 8.0,
    unseen: -10.0,
    spread: 20.0,
    pictures: -0.5,
    anything_line: 0.0,
    hit_line: 0.0,
    first_hit: HitFitConfig { bias: -1.0, lead: 1.0, lead_pictures: 0.1, anything: 1.0, pictures: -0.2 },
    other_hits: HitFitConfig { bias: -2.0, lead: 1.0, lead_pictures: 0.1, anything: 1.0, pictures: 0.0 },
};

#[test]
fn what_is_behind_the_data_is_found_and_holds() {
    let fit = fitted(&drawn(6000, &TRUTH)).unwrap();
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.25;
    assert!(near(fit.similarity, 9.0) && near(fit.familiarity, 8.0) && near(fit.unseen, -10.0), "{fit:?}");
    assert!(near(fit.spread, 20.0) && fit.pictures < -0.3, "{fit:?}");
    assert!(fit.first_hit.lead > 0.0 && fit.other_hits.lead > 0.0, "{fit:?}");
    assert!(fit.anything_line > 0.0 && fit.hit_line > 0.0, "{fit:?}");
    let held = Reliability::of(&fit, &drawn(3000, &TRUTH));
    assert!(held.calibration_error < 0.02 && held.first_calibration_error < 0.05, "{held:?}");
    assert!(held.absent_refused > 0.85 && held.captions_lost < held.captions_found, "{held:?}");
    assert_eq!(held.bins.iter().map(|bin| bin.count).sum::<usize>(), 3000 * COMPARED_HITS);
}

#[test]
fn estimates_that_are_off_have_an_error() {
    let observations = drawn(3000, &TRUTH);
    let surely = HitFitConfig { bias: 20.0, ..TRUTH.first_hit };
    let sure = FitConfig { bias: 50.0, first_hit: surely, other_hits: surely, ..TRUTH };
    let held = Reliability::of(&sure, &observations);
    assert!(held.calibration_error > 0.5, "{held:?}");
    assert_eq!(Reliability::of(&TRUTH, &[]).calibration_error, 0.0);
}

#[test]
fn one_kind_of_queries_fits_nothing() {
    let only: Vec<Observation> = drawn(50, &TRUTH).into_iter().filter(|one| one.present).collect();
    assert!(fitted(&only).is_err());
}
