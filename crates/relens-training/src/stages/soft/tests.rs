use rand::RngExt;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::RefineEmbeddings;
use relens::enhancer::soft::SoftRewriterWeights;

use super::config::SoftConfig;
use super::materials::{Materials, TrainingQueries, ValidationQueries, tensor};
use super::network::SoftNetwork;
use super::run::{Run, batches_of};
use crate::random::stream;
use crate::run::checkpoint::CheckpointStore;

const DIM: usize = 8;

fn config(more: &str) -> SoftConfig {
    let text = format!(
        "output = \"run\"\n{more}\n[data]\nannotations = \"a.json\"\nimages = \"images\"\n[candidates]\n\
         [network]\nhidden = 16\ndropout = 0.0\n[training]\nbatch_size = 4\nlearning_rate = 0.01\nepochs = 200\n"
    );
    toml::from_str(&text).unwrap()
}

fn vectors(rows: usize, purpose: &str) -> Embeddings {
    let mut random = stream(1, purpose, 0);
    let values = (0..rows * DIM).map(|_| random.random_range(-1.0f32..1.0)).collect();
    let mut vectors = Embeddings::from_rows(DIM, values).unwrap();
    vectors.normalise();
    vectors
}

/// Six queries of three pictures; a rewrite moves each query by the same direction.
fn materials() -> Materials {
    let (queries, direction) = (vectors(6, "queries"), vectors(1, "direction"));
    let moved: Vec<f32> = queries
        .iter()
        .flat_map(|query| query.iter().zip(direction.row(0)).map(|(query, way)| query + 0.7 * way))
        .collect();
    let mut targets = Embeddings::from_rows(DIM, moved).unwrap();
    targets.normalise();
    let training = TrainingQueries {
        queries: queries.clone(),
        targets,
        has_rewrite: vec![true, true, true, true, true, false],
        picture: vec![0, 0, 1, 1, 2, 2],
        pictures: vectors(3, "pictures"),
    };
    let validation =
        ValidationQueries { queries, picture: vec![0, 0, 1, 1, 2, 2], pictures: vectors(3, "pictures") };
    Materials { training, validation, retriever: "words".to_owned() }
}

#[test]
fn no_picture_is_in_a_batch_twice_and_no_query_is_lost() {
    let (materials, config) = (materials(), config(""));
    let batches = batches_of(&materials, &config, 1);
    let mut all: Vec<usize> = batches.concat();
    for batch in &batches {
        let mut pictures: Vec<usize> = batch.iter().map(|&query| materials.training.picture[query]).collect();
        pictures.sort_unstable();
        pictures.dedup();
        assert_eq!(pictures.len(), batch.len());
    }
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
    assert_ne!(batches, batches_of(&materials, &config, 2), "another epoch has another order");
}

#[test]
fn the_way_of_rewrites_is_learned_and_the_enhancer_computes_what_was_trained() {
    let directory = tempfile::tempdir().unwrap();
    let (config, retained) = (config(""), materials());
    let checkpoints = CheckpointStore::open(directory.path(), 1).unwrap();
    let mut run = Run::new(&config, materials(), checkpoints).unwrap();
    let taught: Vec<usize> = vec![0, 2, 4];
    let first = run.update(&taught).unwrap();
    for _ in 0..150 {
        run.update(&taught).unwrap();
        run.update(&[1, 3]).unwrap();
    }
    let last = run.update(&taught).unwrap();
    assert!(last < 0.5 * first, "{first} {last}");

    let queries = tensor(&retained.training.queries).unwrap();
    let (_, trained) = run.network.forward(&queries, None).unwrap();
    let trained = trained.to_vec2::<f32>().unwrap();
    run.network.write(directory.path(), "words").unwrap();
    let enhancer = SoftRewriterWeights::open(directory.path(), None).unwrap();
    for (query, trained) in retained.training.queries.iter().zip(trained) {
        let mut row = query.to_vec();
        enhancer.refine(&mut row, DIM).unwrap();
        // The file is in half precision.
        assert!(row.iter().zip(&trained).all(|(found, expected)| (found - expected).abs() < 2e-3));
    }
}

#[test]
fn the_network_begins_as_the_identity() {
    let network = SoftNetwork::new(&config("").network, DIM, 0).unwrap();
    let queries = vectors(3, "queries");
    let (change, rewritten) = network.forward(&tensor(&queries).unwrap(), None).unwrap();
    assert_eq!(change.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    let rewritten = rewritten.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(rewritten.iter().zip(queries.as_slice()).all(|(found, own)| (found - own).abs() < 1e-6));
}

#[test]
fn settings_beyond_their_range_are_named() {
    let message = |change: &dyn Fn(&mut SoftConfig)| {
        let mut config = config("");
        change(&mut config);
        config.check().unwrap_err().to_string()
    };
    assert!(message(&|config| config.network.hidden = 0).contains("`network.hidden` is 0"));
    assert!(message(&|config| config.network.strength = f64::NAN).contains("network.strength"));
    assert!(message(&|config| config.training.batch_size = 1).contains("`training.batch_size` is 1"));
    assert!(
        message(&|config| (config.objective.distillation, config.objective.feedback) = (0.0, 0.0))
            .contains("distillation or feedback above 0")
    );
}
