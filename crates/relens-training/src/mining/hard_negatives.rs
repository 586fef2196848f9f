//! Which of the pictures that beat the ground truth are submitted: different ones.

use relens::embed::embeddings::Embeddings;

use super::judge::{Judgement, Recalled};

/// Pictures whose embeddings are nearer than this are the same to a reader.
pub const SAME_PICTURE: f32 = 0.95;

/// How many pictures are recalled for each that is wanted, so that enough are left when near-duplicates are taken out.
pub const RECALLED_PER_WANTED: usize = 4;

/// The first `wanted` of the recalled pictures that score at least as high as the ground truth and are no
/// near-duplicates of it or of each other. Where none beats the ground truth any more, the nearest ones stand in.
pub fn choose(
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
            choose(&recalled, 0, judgement, &pictures, 3),
            [1],
            "4 looks like 0, 2 like 1, 3 is easier"
        );
        assert_eq!(choose(&recalled, 0, Judgement { rank: 1, score: 0.95 }, &pictures, 2), [1, 3]);
    }
}
