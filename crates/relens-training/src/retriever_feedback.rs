//! The retriever's feedback on texts: their ranks, scores and hard negatives among images whose embeddings are known.
//!
//! Rewards ([`crate::reward`]) and mining ([`crate::mining`]) both stand on it.

use rayon::prelude::*;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::sentence_encoder::similarities;
use relens::ranking::CombinedQueries;
use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// What similarities are multiplied by in rewards: MGQRe, section 3.3.
pub const SIMILARITY_SCALE: f32 = 20.0;

/// Texts whose scores with all images are held at a time.
const TEXTS_PER_BLOCK: usize = 64;

/// What the retriever makes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// The rank of the text's image, from 1; ties count against it.
    pub rank: u32,
    /// The text's similarity to its image.
    pub score: f32,
}

/// An image and its similarity to a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recalled {
    /// The image's position.
    pub picture: usize,
    /// The similarity.
    pub score: f32,
}

/// Asks the retriever about texts.
#[derive(Clone, Copy)]
pub struct RetrieverFeedback<'a> {
    /// The retriever's text side.
    pub retriever: &'a dyn TextEmbedder,
    /// The images that compete, `[images, dim]`.
    pub images: &'a Embeddings,
}

impl RetrieverFeedback<'_> {
    /// Judges texts, each with its image's position.
    ///
    /// # Errors
    /// A position that there is not; those of the retriever.
    pub fn judge(&self, texts: &[(&str, usize)]) -> Result<Vec<Judgement>> {
        let (texts, own) = self.with_own(texts)?;
        let judged =
            self.scored(&texts, &own, |_, scores, own| Judgement { rank: rank(scores, own), score: own })?;
        refuse_non_finite(&texts, judged.iter())?;
        Ok(judged)
    }

    /// Judges texts, and lists for each the images that the retriever prefers to its own or ranks at `limit` at most,
    /// best first, at most `limit` of them and never its own.
    ///
    /// # Errors
    /// As [`judge`](Self::judge).
    pub fn recall(&self, texts: &[(&str, usize)], limit: usize) -> Result<Vec<(Judgement, Vec<Recalled>)>> {
        let positions: Vec<usize> = texts.iter().map(|(_, position)| *position).collect();
        let (texts, own) = self.with_own(texts)?;
        let judged = self.scored(&texts, &own, |text, scores, own| {
            // One more than wanted, for the text's own image is among them.
            let mut best = highest(scores, limit + 1);
            best.retain(|recalled| Some(&recalled.picture) != positions.get(text));
            best.truncate(limit);
            (Judgement { rank: rank(scores, own), score: own }, best)
        })?;
        refuse_non_finite(&texts, judged.iter().map(|(judgement, _)| judgement))?;
        Ok(judged)
    }

    /// Applies `make` to every text's number, its scores with all images and its score with its own image, which need
    /// not be among them.
    ///
    /// # Shapes
    /// - `own`: `[texts.len(), dim]`
    ///
    /// # Errors
    /// Those of the retriever. Scores that are not finite are the caller's to refuse.
    pub(crate) fn scored<T: Send>(
        &self,
        texts: &[&str],
        own: &Embeddings,
        make: impl Fn(usize, &[f32], f32) -> T + Sync,
    ) -> Result<Vec<T>> {
        let mut results = Vec::with_capacity(texts.len());
        for (block, texts) in texts.chunks(TEXTS_PER_BLOCK).enumerate() {
            let first = block * TEXTS_PER_BLOCK;
            let vectors = CombinedQueries::single(self.retriever.embed_texts(texts)?);
            let scores = vectors.scores(0..texts.len(), self.images)?;
            // By the same kernel, whose sums do not depend on what else is multiplied: an image scores the same here as
            // among all, and equal images are ties.
            let own = own.select(&(first..first + texts.len()).collect::<Vec<_>>())?;
            let of_own = vectors.scores(0..texts.len(), &own)?;
            let rows = scores.par_chunks_exact(self.images.rows()).zip(of_own.par_chunks_exact(texts.len()));
            results.par_extend(rows.enumerate().map(|(text, (scores, of_own))| {
                make(first + text, scores, of_own.get(text).copied().unwrap_or(f32::NEG_INFINITY))
            }));
        }
        Ok(results)
    }

    /// The texts, and the embeddings of their images.
    fn with_own<'t>(&self, texts: &[(&'t str, usize)]) -> Result<(Vec<&'t str>, Embeddings)> {
        if let Some((_, beyond)) = texts.iter().find(|(_, position)| *position >= self.images.rows()) {
            let expected = format!("images below {}", self.images.rows());
            return Err(TrainingError::argument("RetrieverFeedback", expected, beyond.to_string()));
        }
        let own = self.images.select(&texts.iter().map(|(_, position)| *position).collect::<Vec<_>>())?;
        Ok((texts.iter().map(|(text, _)| *text).collect(), own))
    }
}

fn refuse_non_finite<'a>(texts: &[&str], judged: impl Iterator<Item = &'a Judgement>) -> Result<()> {
    match texts.iter().zip(judged).find(|(_, judgement)| !judgement.score.is_finite()) {
        Some((text, judgement)) => {
            let expected = format!("a finite score of `{text}`");
            Err(TrainingError::argument("RetrieverFeedback", expected, judgement.score.to_string()))
        }
        None => Ok(()),
    }
}

/// The rank of an image among all, itself included.
fn rank(scores: &[f32], own: f32) -> u32 {
    scores.iter().filter(|&&score| score >= own).count() as u32
}

/// The images with the highest scores, best first, of equal ones the first.
pub(crate) fn highest(scores: &[f32], count: usize) -> Vec<Recalled> {
    let mut best: Vec<Recalled> =
        scores.iter().enumerate().map(|(picture, &score)| Recalled { picture, score }).collect();
    let order = |left: &Recalled, right: &Recalled| {
        right.score.total_cmp(&left.score).then(left.picture.cmp(&right.picture))
    };
    if count > 0 && best.len() > count {
        best.select_nth_unstable_by(count - 1, order);
        best.truncate(count);
    }
    best.sort_by(order);
    best
}

/// The cosine of each pair's sentence embeddings.
///
/// # Errors
/// Those of the sentence encoder.
pub(crate) fn sentence_similarities(
    sentences: &dyn TextEmbedder,
    pairs: &[(&str, &str)],
) -> Result<Vec<f32>> {
    if pairs.is_empty() {
        return Ok(Vec::new());
    }
    Ok(similarities(sentences, pairs)?)
}

/// Pictures whose embeddings are nearer than this are the same to a reader.
pub const SAME_PICTURE: f32 = 0.95;

/// How many pictures are recalled for each that is wanted, so that enough are left when near-duplicates are taken out.
pub const RECALLED_PER_WANTED: usize = 4;

/// The first `wanted` of the recalled pictures that score at least as high as the ground truth and are no
/// near-duplicates of it or of each other. Where none beats the ground truth any more, the nearest ones stand in.
pub fn choose_hard_negatives(
    recalled: &[Recalled],
    ground_truth: usize,
    judgement: Judgement,
    pictures: &Embeddings,
    wanted: usize,
) -> Vec<usize> {
    let harder = recalled.iter().filter(|recalled| recalled.score >= judgement.score);
    let chosen = different(harder, ground_truth, pictures, wanted);
    if chosen.is_empty() { different(recalled.iter(), ground_truth, pictures, wanted) } else { chosen }
}

fn different<'a>(
    recalled: impl Iterator<Item = &'a Recalled>,
    ground_truth: usize,
    pictures: &Embeddings,
    wanted: usize,
) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    for candidate in recalled {
        if chosen.len() == wanted {
            break;
        }
        let Some(vector) = pictures.get(candidate.picture) else { continue };
        let same = |&other: &usize| {
            let other = pictures.get(other).unwrap_or(&[]);
            vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>() > SAME_PICTURE
        };
        if candidate.picture != ground_truth && !chosen.iter().chain([&ground_truth]).any(same) {
            chosen.push(candidate.picture);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_duplicates_are_submitted_once_and_easier_pictures_only_if_none_is_harder() {
        let rows = vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.999, 0.6, 0.8, 0.999, 0.0];
        let pictures = Embeddings::from_rows(2, rows).unwrap();
        let recalled: Vec<Recalled> = [(1, 0.9), (2, 0.8), (4, 0.7), (3, 0.6)]
            .map(|(picture, score)| Recalled { picture, score })
            .to_vec();
        let judgement = Judgement { rank: 4, score: 0.65 };
        assert_eq!(
            choose_hard_negatives(&recalled, 0, judgement, &pictures, 3),
            [1],
            "4 looks like 0, 2 like 1, 3 is easier"
        );
        assert_eq!(
            choose_hard_negatives(&recalled, 0, Judgement { rank: 1, score: 0.95 }, &pictures, 2),
            [1, 3]
        );
    }
}
