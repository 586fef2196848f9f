//! However many texts a query becomes, the retriever encodes them in one batch.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use candle_core::{Device, Tensor};
use relens_models::weights::{ElementType, save_tensors};

use super::*;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::Query;

const DIM: usize = 8;
/// "dog" has one sense, "bat" has two in the bundled knowledge base.
const PLAIN: &str = "a dog near a photo of a wall";
const AMBIGUOUS: &str = "a bat hangs upside down in a cave";

/// An encoder that writes down what it is asked for.
#[derive(Default)]
struct Counting {
    batches: Mutex<Vec<Vec<String>>>,
}

impl Counting {
    fn taken(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.batches.lock().unwrap())
    }
}

impl TextEmbedder for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn fingerprint(&self) -> &str {
        "counting"
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        self.batches.lock().unwrap().push(texts.iter().map(|&text| text.to_owned()).collect());
        let component = |text: &str, position: usize| (text.len() * (position + 3) % 7) as f32 + 0.5;
        let data = texts.iter().flat_map(|text| (0..DIM).map(|position| component(text, position)));
        let mut embeddings = Embeddings::from_rows(DIM, data.collect())?;
        embeddings.normalise();
        Ok(embeddings)
    }
}

/// The files that enhancers need.
fn write_files(directory: &Path) {
    let tensor = |rows: usize, columns: usize| {
        let values: Vec<f32> = (0..rows * columns).map(|i| (i % 5) as f32 * 0.1).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    };
    let flat = |count: usize| tensor(1, count).flatten_all().unwrap();
    let tensors = BTreeMap::from([
        ("attention.query.weight".to_owned(), tensor(2, DIM)),
        ("attention.key.weight".to_owned(), tensor(2, DIM)),
        ("attention.value.weight".to_owned(), tensor(2, DIM)),
        ("attention.output.weight".to_owned(), tensor(DIM, 2)),
        ("norm.weight".to_owned(), flat(DIM)),
        ("norm.bias".to_owned(), flat(DIM)),
        ("residual_ratio".to_owned(), flat(1)),
    ]);
    save_tensors(&directory.join("adapter.safetensors"), &tensors, ElementType::F32).unwrap();
    let pairs = Counting::default().embed_texts(&["a", "bb", "ccc", "dddd"]).unwrap();
    ReferencePairs::new(pairs.clone(), pairs).unwrap().save(&directory.join("pairs.safetensors")).unwrap();
    let reply = |query: &str| serde_json::json!({"query": query, "rewrites": [{"text": "a bird"}, {"text": "an animal"}]});
    let replies = format!("{}\n{}\n", reply(PLAIN), reply(AMBIGUOUS));
    fs_err::write(directory.join("llm.jsonl"), replies).unwrap();
}

/// Every enhancer that needs no model of its own, several in one, and all that reference pairs add.
fn specs(wordnet: &Path) -> Vec<(&'static str, String)> {
    let of =
        |name: &'static str, settings: &str| (name, format!("[[enhancer]]\nname = \"{name}\"\n{settings}\n"));
    let several = "combine = \"max_score\"\n[neighbours]\npairs = \"pairs.safetensors\"\n\
                   [hubness]\npairs = \"pairs.safetensors\"\n\
                   [[enhancer]]\nname = \"identity\"\n[[enhancer]]\nname = \"descriptions\"\n\
                   [[enhancer]]\nname = \"concat\"\n[[enhancer]]\nname = \"composer\"\n";
    vec![
        of("identity", ""),
        of("wordnet", &format!("directory = '{}'", wordnet.display())),
        of("descriptions", ""),
        of("concat", ""),
        of("adapter", "weights = \"adapter.safetensors\""),
        of("selection", ""),
        of("retrieval_augmented", "pairs = \"pairs.safetensors\""),
        of("llm", "records = [\"llm.jsonl\"]"),
        of("composer", ""),
        of("arithmetic", ""),
        ("several", several.to_owned()),
    ]
}

#[test]
fn the_texts_of_a_query_are_encoded_in_one_batch() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path());
    let wordnet = crate::knowledge::wordnet::tests::dictionary();
    for (name, spec) in specs(wordnet.path()) {
        let path = directory.path().join(format!("{name}.toml"));
        fs_err::write(&path, spec).unwrap();
        let encoder = Arc::new(Counting::default());
        let context = EnhancerContext { embedder: Some(encoder.clone()), ..EnhancerContext::default() };
        let pipeline = Pipeline::open(path.to_str().unwrap(), &context).unwrap();
        let batches = |text: &str| {
            let query = Query::new(text).unwrap();
            let enhanced = pipeline.embed(&[query], encoder.as_ref(), None).unwrap().enhanced;
            let mut texts: Vec<String> = Vec::new();
            for text in &enhanced[0].texts {
                if !texts.contains(&text.text) {
                    texts.push(text.text.clone());
                }
            }
            (encoder.taken(), texts)
        };
        let (asked, texts) = batches(PLAIN);
        assert_eq!(asked, [texts], "{name}");

        // A sense has to be chosen before it is known which texts there are: one look at the query before, no more.
        let (mut asked, texts) = batches(AMBIGUOUS);
        assert_eq!(asked.pop().unwrap(), texts, "{name}");
        assert!(
            asked.len() <= 1 && asked.iter().all(|batch| batch.contains(&AMBIGUOUS.to_owned())),
            "{name}: {asked:?}"
        );
    }
}
