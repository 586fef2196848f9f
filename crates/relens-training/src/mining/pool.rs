//! The pictures that compete for a query, and the captions that are its queries.

use std::collections::HashSet;

use relens::dataset::{Dataset, DatasetImage};
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use serde::{Deserialize, Serialize};

use crate::retriever_feedback::{Judgement, Recalled, RetrieverFeedback, sentence_similarities};
use crate::{Result, TrainingError};

/// Pictures with their embeddings. A query's rank is counted among them.
#[derive(Debug, Clone)]
pub struct Pool {
    pictures: Vec<DatasetImage>,
    /// Their paths relative to the data set's directory of images.
    names: Vec<String>,
    embeddings: Embeddings,
}

/// A caption that is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCaption {
    /// The picture's name, `#`, and the caption's position.
    pub id: String,
    /// The caption.
    pub query: String,
    /// Its picture's position in the pool.
    pub picture: usize,
}

impl Pool {
    /// The pictures of `dataset` with their embeddings, `[pictures, dim]`, in its order.
    ///
    /// # Errors
    /// [`TrainingError::Argument`] if their numbers differ.
    pub fn new(dataset: &Dataset, embeddings: Embeddings) -> Result<Self> {
        if dataset.images.len() != embeddings.rows() || embeddings.is_empty() {
            return Err(TrainingError::argument(
                "Pool::new",
                format!(
                    "one embedding of each of the {} pictures, and one picture at least",
                    dataset.images.len()
                ),
                embeddings.rows().to_string(),
            ));
        }
        embeddings.ensure_normalised("pictures")?;
        let names = dataset.images.iter().map(|image| dataset.relative_name(image)).collect();
        Ok(Self { pictures: dataset.images.clone(), names, embeddings })
    }

    /// The pictures.
    pub fn pictures(&self) -> &[DatasetImage] {
        &self.pictures
    }

    /// Their embeddings, `[pictures, dim]`.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// Every caption once per picture, in order.
    pub fn captions(&self) -> impl Iterator<Item = PoolCaption> + '_ {
        self.pictures.iter().enumerate().flat_map(move |(position, picture)| {
            let mut seen = HashSet::new();
            let fresh = picture.captions.iter().enumerate().filter(move |(_, caption)| seen.insert(*caption));
            fresh.map(move |(number, caption)| PoolCaption {
                id: format!("{}#{number}", self.name(position)),
                query: caption.clone(),
                picture: position,
            })
        })
    }

    /// The name of the picture at `position`.
    pub fn name(&self, position: usize) -> &str {
        self.names.get(position).map_or("", String::as_str)
    }
}

/// Ranks texts by the retriever and compares their meaning by a sentence encoder.
pub struct MiningFeedback<'a> {
    /// The retriever's text side.
    pub retriever: &'a dyn TextEmbedder,
    /// Tells whether a rewrite still means what the query does.
    pub sentences: &'a dyn TextEmbedder,
    /// The images that compete.
    pub pool: &'a Pool,
}

impl MiningFeedback<'_> {
    fn retriever(&self) -> RetrieverFeedback<'_> {
        RetrieverFeedback { retriever: self.retriever, images: self.pool.embeddings() }
    }

    /// As [`RetrieverFeedback::judge`].
    ///
    /// # Errors
    /// A position outside the pool; those of the retriever.
    pub fn judge(&self, texts: &[(&str, usize)]) -> Result<Vec<Judgement>> {
        self.retriever().judge(texts)
    }

    /// As [`RetrieverFeedback::recall`].
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn recall(&self, texts: &[(&str, usize)], limit: usize) -> Result<Vec<(Judgement, Vec<Recalled>)>> {
        self.retriever().recall(texts, limit)
    }

    /// The cosine of each pair's sentence embeddings.
    ///
    /// # Errors
    /// Those of the sentence encoder.
    pub fn similarities(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        sentence_similarities(self.sentences, pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;

    #[test]
    fn ranks_count_ties_against_and_recall_leaves_the_own_picture_out() {
        let world = World::new(&[&["red dog"], &["red cat"], &["blue dog"], &["red dog"]]);
        let judge = world.judge();
        let judged = judge.judge(&[("red dog", 0), ("blue dog", 2), ("red cat", 0)]).unwrap();
        // The fourth picture has the first one's vector.
        assert_eq!(judged.iter().map(|judgement| judgement.rank).collect::<Vec<_>>(), [2, 1, 3]);
        let recalled = judge.recall(&[("red dog", 0)], 2).unwrap();
        assert_eq!(recalled[0].0, judged[0]);
        let pictures: Vec<usize> = recalled[0].1.iter().map(|recalled| recalled.picture).collect();
        assert_eq!(pictures[0], 3);
        assert_eq!(pictures.len(), 2);
        assert!(judge.judge(&[("red", 9)]).is_err());
    }

    #[test]
    fn many_blocks_judge_as_each_text_alone() {
        let world = World::new(&[&["red dog"], &["red cat"], &["blue dog"], &["green bird"]]);
        let judge = world.judge();
        let texts: Vec<(String, usize)> =
            (0..150).map(|number| (format!("red dog number {}", number % 7), number % 4)).collect();
        let texts: Vec<(&str, usize)> =
            texts.iter().map(|(text, picture)| (text.as_str(), *picture)).collect();
        let together = judge.judge(&texts).unwrap();
        for (text, judged) in texts.iter().zip(&together) {
            assert_eq!(judge.judge(&[*text]).unwrap()[0], *judged);
        }
    }
}
