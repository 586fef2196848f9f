//! The retriever's feedback: how it ranks texts among the pool's pictures, for the texts of many queries at once.

use rayon::prelude::*;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::sentence_encoder::similarities;
use relens::ranking::CombinedQueries;
use serde::{Deserialize, Serialize};

use super::pool::Pool;
use crate::{Result, TrainingError};

/// Texts whose scores with the whole pool are held at a time.
const TEXTS_PER_BLOCK: usize = 64;

/// Ranks texts by the retriever and compares their meaning by a sentence encoder.
pub struct Judge<'a> {
    /// The retriever's text side.
    pub retriever: &'a dyn TextEmbedder,
    /// Tells whether a rewrite still means what the query does.
    pub sentences: &'a dyn TextEmbedder,
    /// The pictures that compete.
    pub pool: &'a Pool,
}

/// What the retriever makes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The rank of the text's picture, from 1; ties count against it.
    pub rank: u32,
    /// The text's similarity to its picture.
    pub score: f32,
}

/// A picture of the pool and its similarity to a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recalled {
    /// The picture's position in the pool.
    pub picture: usize,
    /// The similarity.
    pub score: f32,
}

impl Judge<'_> {
    /// Judges texts, each with its picture's position in the pool.
    ///
    /// # Errors
    /// A position is outside the pool; those of the retriever.
    pub fn judge(&self, texts: &[(&str, usize)]) -> Result<Vec<Judgement>> {
        let judged = self.scored(texts, |scores, own| {
            let rank = scores.iter().filter(|&&score| score >= own).count();
            Judgement { rank: rank as u32, score: own }
        })?;
        Ok(judged)
    }

    /// Judges texts, and lists for each the pictures that the retriever prefers to its own or ranks at `limit` at most,
    /// best first, at most `limit` of them and never its own.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn recall(&self, texts: &[(&str, usize)], limit: usize) -> Result<Vec<(Judgement, Vec<Recalled>)>> {
        let pictures: Vec<usize> = texts.iter().map(|(_, picture)| *picture).collect();
        let judged = self.scored(texts, |scores, own| {
            let rank = scores.iter().filter(|&&score| score >= own).count();
            let mut best: Vec<Recalled> =
                scores.iter().enumerate().map(|(picture, &score)| Recalled { picture, score }).collect();
            let order = |left: &Recalled, right: &Recalled| {
                right.score.total_cmp(&left.score).then(left.picture.cmp(&right.picture))
            };
            // One more than wanted, for the text's own picture is among them.
            if best.len() > limit + 1 {
                best.select_nth_unstable_by(limit, order);
                best.truncate(limit + 1);
            }
            best.sort_by(order);
            (Judgement { rank: rank as u32, score: own }, best)
        })?;
        Ok(judged
            .into_iter()
            .zip(pictures)
            .map(|((judgement, mut best), own)| {
                best.retain(|recalled| recalled.picture != own);
                best.truncate(limit);
                (judgement, best)
            })
            .collect())
    }

    /// The cosine of each pair's sentence embeddings.
    ///
    /// # Errors
    /// Those of the sentence encoder.
    pub fn similarities(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        Ok(similarities(self.sentences, pairs)?)
    }

    /// Applies `make` to every text's scores with the pool and its score with its own picture.
    fn scored<T: Send>(
        &self,
        texts: &[(&str, usize)],
        make: impl Fn(&[f32], f32) -> T + Sync,
    ) -> Result<Vec<T>> {
        let pictures = self.pool.embeddings();
        if let Some((_, beyond)) = texts.iter().find(|(_, picture)| *picture >= pictures.rows()) {
            let expected = format!("pictures below {}", pictures.rows());
            return Err(TrainingError::argument("Judge", expected, beyond.to_string()));
        }
        let mut results = Vec::with_capacity(texts.len());
        for block in texts.chunks(TEXTS_PER_BLOCK) {
            let vectors = self.embed(block)?;
            let scores = CombinedQueries::single(vectors).scores(0..block.len(), pictures)?;
            let rows: Vec<(&[f32], usize)> =
                scores.chunks_exact(pictures.rows()).zip(block.iter().map(|(_, picture)| *picture)).collect();
            results.par_extend(rows.into_par_iter().map(|(scores, own)| {
                let own = scores.get(own).copied().unwrap_or(f32::NEG_INFINITY);
                make(scores, own)
            }));
        }
        Ok(results)
    }

    fn embed(&self, block: &[(&str, usize)]) -> Result<Embeddings> {
        let texts: Vec<&str> = block.iter().map(|(text, _)| *text).collect();
        let vectors = self.retriever.embed_texts(&texts)?;
        vectors.ensure_finite("texts")?;
        Ok(vectors)
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
