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
            pictures: rng.random_range(3.0..7.0),
        };
        let present = rng.random_bool(truth.anything(&features));
        let leads: Vec<f64> = (0..COMPARED_HITS).map(|_| rng.random_range(-0.1..0.2)).collect();
        let right =
            leads.iter().position(|lead| present && rng.random_bool(truth.hit(*lead, features.pictures)));
        Observation { features, leads, present, caption: present, right }
    };
    (0..count).map(observation).collect()
}

const TRUTH: FitConfig = FitConfig {
    bias: -6.0,
    similarity: 9.0,
    familiarity: 8.0,
    unseen: -10.0,
    pictures: -0.5,
    hit_bias: -3.0,
    lead: 18.0,
    hit_pictures: 0.2,
    anything_line: 0.0,
    hit_line: 0.0,
};

#[test]
fn what_is_behind_the_data_is_found_and_holds() {
    let fit = fitted(&drawn(6000, &TRUTH)).unwrap();
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.25;
    assert!(near(fit.similarity, 9.0) && near(fit.familiarity, 8.0) && near(fit.unseen, -10.0), "{fit:?}");
    assert!(fit.pictures < -0.3 && fit.hit_pictures > 0.0, "{fit:?}");
    assert!(fit.lead > 0.0 && fit.anything_line > 0.0 && fit.hit_line > 0.0, "{fit:?}");
    let held = Reliability::of(&fit, &drawn(3000, &TRUTH));
    assert!(held.absent_refused > 0.85 && held.captions_lost < held.captions_found, "{held:?}");
    assert_eq!(held.bins.iter().map(|bin| bin.count).sum::<usize>(), 3000 * COMPARED_HITS);
}

#[test]
fn estimates_that_are_off_have_an_error() {
    let observations = drawn(3000, &TRUTH);
    let sure = FitConfig { hit_bias: 20.0, bias: 50.0, ..TRUTH };
    let held = Reliability::of(&sure, &observations);
    assert!(held.calibration_error > 0.5, "{held:?}");
    assert_eq!(Reliability::of(&TRUTH, &[]).calibration_error, 0.0);
}

#[test]
fn one_kind_of_queries_fits_nothing() {
    let only: Vec<Observation> = drawn(50, &TRUTH).into_iter().filter(|one| one.present).collect();
    assert!(fitted(&only).is_err());
}

#[test]
fn every_query_is_asked_once_and_in_the_library_of_its_picture() {
    let question =
        |image: Option<usize>| Question { query: Query::new("a dog").unwrap(), image, caption: true };
    let questions = Questions {
        present: (0..10).map(|image| question(Some(image))).collect(),
        absent: (0..7).map(|_| question(None)).collect(),
    };
    let libraries = [0..4, 4..8, 8..10].into_iter().enumerate();
    let asked: Vec<Vec<Question>> =
        libraries.map(|(number, pictures)| questions.of_library(pictures, number, 3)).collect();
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [4 + 3, 4 + 2, 2 + 2]);
    assert!(asked[1].iter().all(|question| question.image.is_none_or(|image| (4..8).contains(&image))));
    assert_eq!(asked.iter().map(Vec::len).sum::<usize>(), questions.count());
}
