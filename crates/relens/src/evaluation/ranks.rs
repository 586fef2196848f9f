//! The rank of the right answer of every query, both ways.

use rayon::prelude::*;

use crate::embed::embeddings::Embeddings;
use crate::error::{Error, Result};
use crate::ranking::CombinedQueries;

/// Scores that a thread holds at a time (16 MB), so that memory is flat in the number of captions.
const SCORES_PER_TASK: usize = 4 << 20;

/// Ranks from 1 (best); wrong answers with the same score as the right one come before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroundTruthRanks {
    /// For every caption, the rank of its picture among all pictures.
    pub text_to_image: Vec<u32>,
    /// For every picture that has captions, the rank of the best of them among all captions that are not its own.
    pub image_to_text: Vec<u32>,
    /// The picture of every caption: captions of one picture are not independent of each other.
    pub image_of_caption: Vec<usize>,
}

/// What is taken from every score of a candidate before it is ranked; see [`crate::ranking::hubness`].
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreOffsets {
    /// For every picture, where pictures are ranked for a caption.
    pub images: Vec<f32>,
    /// For every caption, where captions are ranked for a picture.
    pub captions: Vec<f32>,
}

impl GroundTruthRanks {
    /// Ranks by the scores as they are; see [`compute_with_offsets`](Self::compute_with_offsets).
    ///
    /// # Errors
    /// As there.
    pub fn compute(
        images: &Embeddings,
        captions: &CombinedQueries,
        image_of_caption: &[usize],
    ) -> Result<Self> {
        let none =
            ScoreOffsets { images: vec![0.0; images.rows()], captions: vec![0.0; image_of_caption.len()] };
        Self::compute_with_offsets(images, captions, image_of_caption, &none)
    }

    /// Ranks pictures for every caption and captions for every picture.
    ///
    /// Both come from one pass over the scores: what a picture's best own caption scores is computed first, and the
    /// pass counts who reaches it.
    ///
    /// # Shapes
    /// - `images`: `[n, dim]`
    /// - `captions`: m queries of `dim` components
    /// - `image_of_caption`: `[m]`, below n
    /// - `offsets`: `[n]` and `[m]`
    ///
    /// # Errors
    /// [`Error::Argument`] if these do not fit, [`Error::NonFinite`] for embeddings that cannot be ranked.
    pub fn compute_with_offsets(
        images: &Embeddings,
        captions: &CombinedQueries,
        image_of_caption: &[usize],
        offsets: &ScoreOffsets,
    ) -> Result<Self> {
        check(images, captions, image_of_caption)?;
        check_offsets(offsets, images.rows(), captions.len())?;
        let own_scores: Vec<f32> = image_of_caption
            .par_iter()
            .enumerate()
            .map(|(caption, &image)| captions.score(caption, images, image))
            .collect::<Result<_>>()?;
        let mut best_own = vec![f32::NEG_INFINITY; images.rows()];
        for ((&image, &score), &offset) in image_of_caption.iter().zip(&own_scores).zip(&offsets.captions) {
            best_own[image] = best_own[image].max(score - offset);
        }
        let per_task = (SCORES_PER_TASK / images.rows().max(1)).clamp(1, 256);
        let starts: Vec<usize> = (0..captions.len()).step_by(per_task).collect();
        let parts: Vec<CaptionBlockRanks> = starts
            .into_par_iter()
            .map(|start| {
                let end = (start + per_task).min(captions.len());
                let block = Block {
                    scores: captions.scores(start..end, images)?,
                    image_of_caption: &image_of_caption[start..end],
                    own_scores: &own_scores[start..end],
                    caption_offsets: &offsets.captions[start..end],
                };
                Ok(count(&block, &offsets.images, &best_own))
            })
            .collect::<Result<_>>()?;
        let mut text_to_image = Vec::with_capacity(captions.len());
        let mut reached = vec![0u32; images.rows()];
        for part in parts {
            text_to_image.extend(part.text_to_image);
            part.reached.into_iter().for_each(|(image, count)| reached[image] += count);
        }
        let has_captions = best_own.iter().map(|&best| best > f32::NEG_INFINITY);
        let image_to_text = reached
            .iter()
            .zip(has_captions)
            .filter_map(|(&reached, has)| has.then_some(reached + 1))
            .collect();
        Ok(Self { text_to_image, image_to_text, image_of_caption: image_of_caption.to_vec() })
    }
}

/// What one block of captions adds.
struct CaptionBlockRanks {
    text_to_image: Vec<u32>,
    /// Pictures whose best own caption is reached by captions of others, and by how many.
    reached: Vec<(usize, u32)>,
}

/// Some captions and their scores with all n pictures.
struct Block<'a> {
    /// `[captions of the block, n]`
    scores: Vec<f32>,
    image_of_caption: &'a [usize],
    own_scores: &'a [f32],
    caption_offsets: &'a [f32],
}

/// # Shapes
/// - `image_offsets`, `best_own`: `[n]`
fn count(block: &Block<'_>, image_offsets: &[f32], best_own: &[f32]) -> CaptionBlockRanks {
    let mut reached = vec![0u32; best_own.len()];
    let mut text_to_image = Vec::with_capacity(block.image_of_caption.len());
    let own = block.image_of_caption.iter().zip(block.own_scores).zip(block.caption_offsets);
    for (scores, ((&own, &own_score), &caption_offset)) in block.scores.chunks_exact(best_own.len()).zip(own)
    {
        // The count includes the right answer itself, which makes it a rank from 1.
        let own_score = own_score - image_offsets[own];
        let of_images = scores.iter().zip(image_offsets);
        text_to_image.push(of_images.map(|(&score, offset)| u32::from(score - offset >= own_score)).sum());
        for ((reached, &score), &best) in reached.iter_mut().zip(scores).zip(best_own) {
            *reached += u32::from(score - caption_offset >= best);
        }
        reached[own] -= u32::from(scores[own] - caption_offset >= best_own[own]);
    }
    let reached = reached.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
    CaptionBlockRanks { text_to_image, reached }
}

fn check_offsets(offsets: &ScoreOffsets, images: usize, captions: usize) -> Result<()> {
    let found = (offsets.images.len(), offsets.captions.len());
    let finite = offsets.images.iter().chain(&offsets.captions).all(|offset| offset.is_finite());
    if found == (images, captions) && finite {
        return Ok(());
    }
    Err(Error::Argument {
        operation: "GroundTruthRanks::compute_with_offsets",
        expected: format!("finite offsets of {images} pictures and {captions} captions"),
        found: format!("{found:?}, finite: {finite}"),
    })
}

fn check(images: &Embeddings, captions: &CombinedQueries, image_of_caption: &[usize]) -> Result<()> {
    let argument = |expected: String, found: String| {
        Err(Error::Argument { operation: "GroundTruthRanks::compute", expected, found })
    };
    if captions.len() != image_of_caption.len() {
        return argument(format!("{} captions", image_of_caption.len()), captions.len().to_string());
    }
    if let Some(&beyond) = image_of_caption.iter().find(|&&image| image >= images.rows()) {
        return argument(format!("captions of images below {}", images.rows()), beyond.to_string());
    }
    if captions.dim() != images.dim() {
        return argument(format!("captions of {} components", images.dim()), captions.dim().to_string());
    }
    images.ensure_finite("image embeddings")?;
    captions.vectors().ensure_finite("caption embeddings")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enhancer::{Combination, EnhancedQuery, WeightedText};

    /// The definition, on the full matrix of scores.
    fn oracle(scores: &[Vec<f32>], image_of_caption: &[usize], n: usize) -> (Vec<u32>, Vec<u32>) {
        let rank = |answers: &[(f32, bool)]| {
            let best =
                answers.iter().filter(|(_, right)| *right).map(|(score, _)| *score).fold(f32::MIN, f32::max);
            1 + answers.iter().filter(|(score, right)| !right && *score >= best).count() as u32
        };
        let text_to_image = scores.iter().zip(image_of_caption).map(|(row, &own)| {
            rank(&row.iter().enumerate().map(|(image, &score)| (score, image == own)).collect::<Vec<_>>())
        });
        let image_to_text = (0..n).filter(|image| image_of_caption.contains(image)).map(|image| {
            let answers = scores.iter().zip(image_of_caption);
            rank(&answers.map(|(row, &own)| (row[image], own == image)).collect::<Vec<_>>())
        });
        (text_to_image.collect(), image_to_text.collect())
    }

    /// Small whole numbers, whose products are exact and often equal.
    fn vectors(dim: usize, rows: usize) -> impl Strategy<Value = Embeddings> {
        prop::collection::vec(-2i8..=2, dim * rows)
            .prop_map(move |v| Embeddings::from_rows(dim, v.into_iter().map(f32::from).collect()).unwrap())
    }

    const COMBINATIONS: [Combination; 5] = [
        Combination::Replace,
        Combination::MeanEmbedding,
        Combination::MeanScore,
        Combination::MaxScore,
        Combination::ReciprocalRank,
    ];

    proptest! {
        #[test]
        fn ranks_equal_those_of_the_full_matrix(
            (n, images) in (1usize..12).prop_flat_map(|n| (Just(n), vectors(3, n))),
            texts in vectors(3, 60),
            owners in prop::collection::vec(0usize..12, 20),
            texts_of in prop::collection::vec(1usize..4, 20),
            combination in 0usize..5,
            // Halves, so that differences are exact and ties stay ties.
            offsets in prop::collection::vec((-2i8..=2).prop_map(|half| f32::from(half) / 2.0), 40),
        ) {
            let image_of_caption: Vec<usize> = owners.iter().map(|owner| owner % n).collect();
            let combination = COMBINATIONS[combination];
            let queries: Vec<EnhancedQuery> = texts_of.iter().map(|&count| EnhancedQuery {
                texts: vec![WeightedText { text: "a".into(), weight: 1.0 }; count],
                combination,
                trace: Vec::new(),
                refinements: Vec::new(),
            }).collect();
            let texts = texts.select(&(0..texts_of.iter().sum()).collect::<Vec<_>>()).unwrap();
            let captions = CombinedQueries::combine(&queries, &texts, "test").unwrap();
            let offsets = ScoreOffsets { images: offsets[..n].to_vec(), captions: offsets[20..].to_vec() };
            let ranks =
                GroundTruthRanks::compute_with_offsets(&images, &captions, &image_of_caption, &offsets)
                    .unwrap();
            let scores = |less: &dyn Fn(usize, usize) -> f32| -> Vec<Vec<f32>> {
                let row = |caption: usize| captions.scores(caption..caption + 1, &images).unwrap();
                let less_offset = |caption: usize| {
                    let scores = row(caption).into_iter().enumerate();
                    scores.map(|(image, score)| score - less(caption, image)).collect()
                };
                (0..20).map(less_offset).collect()
            };
            let of_images = scores(&|_, image| offsets.images[image]);
            prop_assert_eq!(ranks.text_to_image, oracle(&of_images, &image_of_caption, n).0);
            let of_captions = scores(&|caption, _| offsets.captions[caption]);
            prop_assert_eq!(ranks.image_to_text, oracle(&of_captions, &image_of_caption, n).1);
        }
    }

    #[test]
    fn many_blocks_count_what_one_would() {
        let n = 700;
        let data = (0..n * 4).map(|i| ((i * 7919 % 101) as f32 - 50.0) / 50.0).collect();
        let images = Embeddings::from_rows(4, data).unwrap();
        let captions = CombinedQueries::single(images.clone());
        let image_of_caption: Vec<usize> = (0..n).map(|caption| caption / 5 * 3).collect();
        let ranks = GroundTruthRanks::compute(&images, &captions, &image_of_caption).unwrap();
        let scores: Vec<Vec<f32>> = images.iter().map(|row| images.scores(row).unwrap()).collect();
        assert_eq!((ranks.text_to_image, ranks.image_to_text), oracle(&scores, &image_of_caption, n));
    }

    #[test]
    fn equal_scores_count_against_us() {
        let images = Embeddings::from_rows(2, [1.0, 0.0].repeat(4)).unwrap();
        let captions = CombinedQueries::single(Embeddings::from_rows(2, vec![1.0, 0.0, 1.0, 0.0]).unwrap());
        let ranks = GroundTruthRanks::compute(&images, &captions, &[0, 3]).unwrap();
        assert_eq!((ranks.text_to_image, ranks.image_to_text), (vec![4, 4], vec![2, 2]));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let images = Embeddings::from_rows(2, vec![1.0, 0.0]).unwrap();
        let captions = CombinedQueries::single(images.clone());
        assert!(GroundTruthRanks::compute(&images, &captions, &[]).is_err());
        assert!(GroundTruthRanks::compute(&images, &captions, &[1]).is_err());
        let wide = Embeddings::from_rows(3, vec![1.0, 0.0, 0.0]).unwrap();
        assert!(GroundTruthRanks::compute(&wide, &captions, &[0]).is_err());
        let nan = ScoreOffsets { images: vec![f32::NAN], captions: vec![0.0] };
        assert!(GroundTruthRanks::compute_with_offsets(&images, &captions, &[0], &nan).is_err());
        let few = ScoreOffsets { images: vec![0.0], captions: Vec::new() };
        assert!(GroundTruthRanks::compute_with_offsets(&images, &captions, &[0], &few).is_err());
        let broken = Embeddings::from_rows(2, vec![f32::NAN, 0.0]).unwrap();
        assert!(GroundTruthRanks::compute(&broken, &captions, &[0]).is_err());
    }
}
