use std::collections::HashSet;

use candle_core::Tensor;
use rand::RngExt;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::RefineEmbeddings;
use relens::enhancer::baselines::adapter::AdapterWeights;
use relens::enhancer::baselines::selection::DescriptionValues;

use super::adapter::AdapterNetwork;
use super::config::{AdapterTrainingConfig, DescriptionConfig, SelectionTrainingConfig};
use super::described_data::{DescribedCaption, DescribedData, DescribedSplit, Tables};
use super::run::DescriptionNetwork;
use super::selection::{SelectionNetwork, mutual_information};
use super::{ADAPTER_FILE, VALUES_FILE};
use crate::optimizer::Gradients;
use crate::random::stream;

const DIM: usize = 8;

fn config<N: serde::de::DeserializeOwned + Default>() -> DescriptionConfig<N> {
    toml::from_str("output = \"run\"\n[data]\nannotations = \"a.json\"\nimages = \"images\"\n").unwrap()
}

fn vectors(rows: usize, purpose: &str) -> Embeddings {
    let mut random = stream(1, purpose, 0);
    let values = (0..rows * DIM).map(|_| random.random_range(-1.0f32..1.0)).collect();
    let mut vectors = Embeddings::from_rows(DIM, values).unwrap();
    vectors.normalise();
    vectors
}

/// Four pictures of a dog, a cat or both; three descriptions of each.
fn data() -> DescribedData {
    let mut tables = Tables::default();
    let mut describe = |entities: &[&str]| {
        let mut caption = DescribedCaption::default();
        for entity in entities {
            for part in ["ears", "tail", "eyes"] {
                let (text, place) = tables.add(entity, part, format!("{entity}, which has {part}"));
                caption.texts.push(text);
                caption.descriptions.push(place);
            }
        }
        vec![caption]
    };
    let captions = vec![describe(&["dog"]), describe(&["cat"]), describe(&["dog", "cat"]), Vec::new()];
    let split = |purpose: &str| DescribedSplit { images: vectors(4, purpose), captions: captions.clone() };
    DescribedData::new(vec![split("train"), split("validation")], tables, &vectors(6, "texts")).unwrap()
}

fn captions(data: &DescribedData) -> Vec<&DescribedCaption> {
    data.training.captions.iter().flatten().collect()
}

/// Everything that is trained has a gradient that is finite and not zero throughout.
fn assert_all_learns<N: DescriptionNetwork>(network: &N, data: &DescribedData) {
    let batch = data.batch(&captions(data)).unwrap();
    let embedded = network.embed(&batch, None).unwrap();
    let target = Tensor::from_slice(vectors(3, "target").as_slice(), (3, DIM), embedded.device()).unwrap();
    let loss = (embedded * target).unwrap().sum_all().unwrap();
    let parameters = network.parameters();
    let gradients = Gradients::take(&mut loss.backward().unwrap(), &parameters, 1).unwrap();
    for (parameter, gradient) in parameters.iter().zip(gradients.tensors()) {
        let values = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{}", parameter.name);
        assert!(values.iter().any(|value| value.abs() > 1e-7), "{} learns nothing", parameter.name);
    }
}

#[test]
fn all_parameters_learn() {
    let data = data();
    assert_all_learns(&AdapterNetwork::new(&config(), &data).unwrap(), &data);
    assert_all_learns(&SelectionNetwork::new(&config(), &data).unwrap(), &data);
}

#[test]
fn the_enhancer_computes_what_was_trained() {
    let data = data();
    let network = AdapterNetwork::new(&config(), &data).unwrap();
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(network.write(&data, directory.path()).unwrap(), ADAPTER_FILE);
    let enhancer = AdapterWeights::open(&directory.path().join(ADAPTER_FILE)).unwrap();
    let captions = captions(&data);
    let batch = data.batch(&captions).unwrap();
    let trained = network.embed(&batch, None).unwrap().to_vec2::<f32>().unwrap();
    let mut rows = batch.rows.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (bounds, trained) in batch.offsets.windows(2).zip(trained) {
        let rows = &mut rows[bounds[0] * DIM..bounds[1] * DIM];
        enhancer.refine(rows, DIM).unwrap();
        for (found, expected) in rows.chunks_exact(DIM).flatten().zip(trained.iter().cycle()) {
            // The file is in half precision.
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
    }
}

#[test]
fn values_are_written_for_every_description_as_the_enhancer_reads_them() {
    let data = data();
    let network = SelectionNetwork::new(&config::<super::config::SelectionNetworkConfig>(), &data).unwrap();
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(network.write(&data, directory.path()).unwrap(), VALUES_FILE);
    let values = DescriptionValues::open(&directory.path().join(VALUES_FILE)).unwrap();
    for entity in ["dog", "cat"] {
        for part in ["ears", "tail", "eyes"] {
            let value = values.get(entity, part).unwrap();
            assert!((value.weight - 1.0).abs() < 1e-6 && value.information >= 0.0, "{value:?}");
        }
    }
}

#[test]
fn mutual_information_is_that_of_the_table() {
    let own = HashSet::from([0, 1]);
    // All of the entity's pictures on top: it tells everything, which is the entropy of a share of one half.
    let all = mutual_information(&[0.9, 0.8, 0.1, 0.2], &own);
    assert!((all - std::f32::consts::LN_2).abs() < 1e-6, "{all}");
    // One of them: nothing, as chance would put one there.
    assert!(mutual_information(&[0.9, 0.1, 0.8, 0.2], &own).abs() < 1e-6);
    assert_eq!(mutual_information(&[0.9, 0.1], &own), 0.0);
    assert_eq!(mutual_information(&[0.9, 0.1], &HashSet::new()), 0.0);
}

#[test]
fn settings_beyond_their_range_are_named() {
    let message = |text: &str| {
        let text = format!("output = \"run\"\n{text}\n[data]\nannotations = \"a\"\nimages = \"b\"\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        SelectionTrainingConfig::read(file.path()).unwrap_err().to_string()
    };
    assert!(message("training = { epochs = 0 }").contains("`training.epochs` is 0"));
    assert!(message("training = { dropout = 1.5 }").contains("`training.dropout` is 1.5"));
    assert!(message("magic = 1").contains("unknown field `magic`"));
    let ratio =
        AdapterTrainingConfig { network: toml::from_str("residual_ratio = 2.0").unwrap(), ..config() };
    assert!(AdapterNetwork::new(&ratio, &data()).is_err());
}
