use super::*;
use crate::index::Hit;

const CONFIG: FitConfig = FitConfig {
    bias: -4.0,
    similarity: 6.0,
    familiarity: 2.0,
    unseen: -8.0,
    spread: 0.0,
    pictures: 0.0,
    anything_line: 0.4,
    hit_line: 0.05,
    first_hit: HitFitConfig { bias: -2.0, lead: 2.0, lead_pictures: 0.0, anything: 1.0, pictures: 0.0 },
    other_hits: HitFitConfig { bias: -2.0, lead: 2.0, lead_pictures: 0.0, anything: 1.0, pictures: 0.0 },
};

fn fit() -> Fit {
    let captions = Embeddings::from_rows(2, vec![1.0, 0.0, 0.8, 0.6]).unwrap();
    let images = Embeddings::from_rows(2, vec![1.0, 0.0]).unwrap();
    let pairs = Arc::new(ReferencePairs::new(captions, images).unwrap());
    let vocabulary = Vocabulary::of_captions(["a dog on grass"; 5]);
    Fit::new(&pairs, Arc::new(vocabulary), CONFIG).unwrap()
}

fn hits(scores: &[f32]) -> Vec<Hit> {
    (0..).zip(scores).map(|(id, &score)| Hit { id, score }).collect()
}

#[test]
fn unseen_words_and_distance_make_a_fit_unlikely() {
    let anything = |similarity, familiarity, unseen| {
        CONFIG.anything(&QueryFeatures { similarity, familiarity, unseen, spread: 0.1, pictures: 3.0 })
    };
    assert!((anything(0.5, 0.5, 0.0) - 0.5).abs() < 1e-12);
    assert!(anything(0.6, 0.5, 0.0) > 0.5 && anything(0.5, 0.9, 0.0) > 0.5);
    assert!(anything(0.5, 0.5, 0.5) < 0.02);
}

#[test]
fn the_line_stands_behind_the_last_hit_that_may_fit() {
    let features =
        |unseen| QueryFeatures { similarity: 0.8, familiarity: 0.9, unseen, spread: 0.1, pictures: 3.0 };
    let leads = leads(&hits(&[0.5, 0.4, 0.2]));
    assert!((leads[0] - 0.2).abs() < 1e-6 && (leads[2] + 0.25).abs() < 1e-6, "{leads:?}");
    let estimate = CONFIG.estimate(features(0.0), leads.clone());
    assert_eq!(estimate.above_line, 2);
    assert!(estimate.hits[0] > estimate.hits[1], "{estimate:?}");
    assert_eq!(CONFIG.estimate(features(1.0), leads).above_line, 0);
    assert_eq!(CONFIG.estimate(features(0.0), Vec::new()).above_line, 0);
    assert_eq!(super::leads(&hits(&[0.5])), [0.0], "one hit leads nobody");
}

#[test]
fn the_first_hit_has_a_model_of_its_own_and_none_behind_is_likelier() {
    let surer = HitFitConfig { bias: 3.0, ..CONFIG.other_hits };
    let features =
        QueryFeatures { similarity: 0.8, familiarity: 0.9, unseen: 0.0, spread: 0.1, pictures: 3.0 };
    let leads = leads(&hits(&[0.5, 0.49, 0.2]));
    let first = FitConfig { first_hit: surer, ..CONFIG }.estimate(features, leads.clone());
    assert!(first.hits[0] > 0.9 && first.hits[1] < 0.8, "{first:?}");
    let others = FitConfig { other_hits: surer, ..CONFIG }.estimate(features, leads);
    assert_eq!(others.hits[0], others.hits[1]);
    assert!(others.hits[2] <= others.hits[1]);
}

#[test]
fn familiar_is_what_captions_are_near_to_and_say() {
    let queries = CombinedQueries::single(Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, -1.0]).unwrap());
    let best = Searched { best: Some(&[0.6, 0.8]), pictures: 100 };
    let known = fit().features("the dogs", &queries, 0, best).unwrap();
    assert!((known.pictures - 100f64.ln()).abs() < 1e-12);
    assert!((known.similarity - 0.6).abs() < 1e-6 && (known.familiarity - 0.9).abs() < 1e-6, "{known:?}");
    assert_eq!((known.unseen, known.spread), (0.0, 0.0), "one picture is as near as all");
    let unknown = fit().features("a sextant on grass", &queries, 1, best).unwrap();
    assert!((unknown.familiarity + 0.3).abs() < 1e-6 && unknown.unseen == 0.5, "{unknown:?}");
    let wide = CombinedQueries::single(Embeddings::from_rows(1, vec![1.0]).unwrap());
    assert!(fit().features("dog", &wide, 0, Searched { best: None, pictures: 0 }).is_err());
}

#[test]
fn the_best_of_many_pictures_has_to_be_nearer() {
    let config = FitConfig { pictures: -0.5, ..CONFIG };
    let among = |pictures: f64| QueryFeatures {
        similarity: 0.6,
        familiarity: 0.9,
        unseen: 0.0,
        spread: 0.1,
        pictures,
    };
    assert!(config.anything(&among(7.0)) < config.anything(&among(3.0)));
    let hit = HitFitConfig { lead_pictures: 0.5, pictures: 0.25, ..CONFIG.first_hit };
    let logistic = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    // −2 + 2 · 0.05 / 0.1 + 0.5 · 8 · 0.05 / 0.1 + 0.25 · 8 = 3 where something fits for sure.
    assert!((hit.probability(0.05, 1.0, &among(8.0)) - logistic(3.0)).abs() < 1e-9);
    let flat = QueryFeatures { spread: 0.0, ..among(8.0) };
    assert!(hit.probability(0.05, 0.0, &flat).is_finite());
}

#[test]
fn what_means_nothing_is_about_as_near_to_every_picture() {
    let pairs = |images: Vec<f32>| {
        let images = Embeddings::from_rows(2, images).unwrap();
        let captions = Embeddings::from_rows(2, [1.0, 0.0].repeat(images.rows())).unwrap();
        Arc::new(ReferencePairs::new(captions, images).unwrap())
    };
    let fit = Fit::new(&pairs(vec![1.0, 0.0, 0.0, 1.0]), Arc::new(Vocabulary::default()), CONFIG).unwrap();
    let queries = CombinedQueries::single(Embeddings::from_rows(2, vec![1.0, 0.0, 0.6, 0.8]).unwrap());
    let spread =
        |query| fit.features("a", &queries, query, Searched { best: None, pictures: 2 }).unwrap().spread;
    assert!((spread(0) - 0.5).abs() < 1e-6 && (spread(1) - 0.1).abs() < 1e-6);
}

#[test]
fn settings_that_mean_nothing_are_refused() {
    let one = Embeddings::from_rows(1, vec![1.0]).unwrap();
    let pairs = Arc::new(ReferencePairs::new(one.clone(), one).unwrap());
    let refused = |config| Fit::new(&pairs, Arc::new(Vocabulary::default()), config).is_err();
    assert!(
        refused(FitConfig { hit_line: 1.5, ..CONFIG }) && refused(FitConfig { bias: f64::NAN, ..CONFIG })
    );
}
