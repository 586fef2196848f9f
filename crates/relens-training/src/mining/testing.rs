//! A world of words for tests: a text's vector counts its words, and a picture's vector is that of its first caption.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use relens::dataset::{Dataset, DatasetImage, Split};
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;

use super::pool::MiningFeedback;
use super::pool::Pool;

const DIM: usize = 64;

/// Embeds a text as the normalised sum of its words' fixed random directions.
pub(super) struct Words;

impl TextEmbedder for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn fingerprint(&self) -> &str {
        "words"
    }

    fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
        let mut embeddings = Embeddings::new(DIM);
        for text in texts {
            let mut vector = vec![0.0f32; DIM];
            for word in text.split(' ').filter(|word| !["a", "the", "."].contains(word)) {
                for (component, value) in vector.iter_mut().enumerate() {
                    let mut hasher = DefaultHasher::new();
                    (word, component).hash(&mut hasher);
                    *value += (hasher.finish() % 2001) as f32 / 1000.0 - 1.0;
                }
            }
            embeddings.push(&vector)?;
        }
        embeddings.normalise();
        Ok(embeddings)
    }
}

/// Pictures, one for each list of captions.
pub(super) struct World {
    pub(super) pool: Pool,
}

impl World {
    pub(super) fn new(captions: &[&[&str]]) -> Self {
        let images = captions.iter().enumerate().map(|(number, captions)| DatasetImage {
            id: number as u64,
            path: PathBuf::from(format!("pictures/{number}.jpg")),
            split: Split::Train,
            captions: captions.iter().map(|&caption| caption.to_owned()).collect(),
        });
        let dataset =
            Dataset { name: "world".into(), images_directory: "pictures".into(), images: images.collect() };
        let shown: Vec<&str> = captions.iter().map(|captions| captions[0]).collect();
        Self { pool: Pool::new(&dataset, Words.embed_texts(&shown).unwrap()).unwrap() }
    }

    pub(super) fn judge(&self) -> MiningFeedback<'_> {
        MiningFeedback { retriever: &Words, sentences: &Words, pool: &self.pool }
    }
}
