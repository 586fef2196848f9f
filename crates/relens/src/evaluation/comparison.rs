//! Two runs side by side: Recall@k of the second, and how far it is from the first.

use serde::Serialize;

use super::bootstrap::{BootstrapOptions, PairedBootstrap, Statistic, paired_bootstrap};
use super::metrics::RankingMetrics;
use super::ranks::GroundTruthRanks;
use crate::error::{Error, Result};

/// Recall@k of a run beside that of the run that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ComparedRecall {
    /// The cut-off.
    pub k: usize,
    /// The share of queries whose right answer is among the first k.
    pub recall: f64,
    /// How far that is from the other run.
    pub difference: PairedBootstrap,
}

/// What a run is beside the one that it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunComparison {
    /// Captions that retrieve pictures.
    pub text_to_image: Vec<ComparedRecall>,
    /// Pictures that retrieve captions; empty where one of the runs did not measure it.
    pub image_to_text: Vec<ComparedRecall>,
}

/// Compares Recall@k of two runs on the same queries by a paired bootstrap, text to image with whole pictures drawn.
///
/// # Errors
/// [`Error::Argument`] if the runs are of different queries, or the options make no interval.
pub fn compare(
    baseline: &GroundTruthRanks,
    found: &GroundTruthRanks,
    recall_at: &[usize],
    options: &BootstrapOptions,
) -> Result<RunComparison> {
    if baseline.image_of_caption != found.image_of_caption {
        let queries = |ranks: &GroundTruthRanks| format!("{} captions", ranks.image_of_caption.len());
        return Err(Error::Argument {
            operation: "compare",
            expected: format!("two runs on the same queries, the first on {}", queries(baseline)),
            found: format!("the second on {} of other pictures", queries(found)),
        });
    }
    let compared = |before: &[u32], after: &[u32], clusters: Option<&[usize]>| {
        let recall = RankingMetrics::from_ranks(after, recall_at)?.recall;
        let cell = |(k, recall)| {
            let difference = paired_bootstrap(before, after, clusters, Statistic::RecallAt(k), options)?;
            Ok(ComparedRecall { k, recall, difference })
        };
        recall.into_iter().map(cell).collect::<Result<Vec<ComparedRecall>>>()
    };
    let clusters = Some(baseline.image_of_caption.as_slice());
    let both_ways = !baseline.image_to_text.is_empty() && !found.image_to_text.is_empty();
    let image_to_text = match both_ways {
        true => compared(&baseline.image_to_text, &found.image_to_text, None)?,
        false => Vec::new(),
    };
    Ok(RunComparison {
        text_to_image: compared(&baseline.text_to_image, &found.text_to_image, clusters)?,
        image_to_text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(text_to_image: &[u32], image_to_text: &[u32]) -> GroundTruthRanks {
        GroundTruthRanks {
            text_to_image: text_to_image.to_vec(),
            image_to_text: image_to_text.to_vec(),
            image_of_caption: vec![0, 0, 1, 1],
        }
    }

    #[test]
    fn a_run_is_compared_both_ways_where_both_were_measured() {
        let (before, after) = (ranks(&[1, 2, 3, 4], &[2, 2]), ranks(&[1, 1, 3, 1], &[1, 2]));
        let options = BootstrapOptions::default();
        let found = compare(&before, &after, &[1, 2], &options).unwrap();
        assert_eq!(
            (found.text_to_image[0].recall, found.text_to_image[0].difference.difference),
            (0.75, 0.5)
        );
        assert_eq!((found.image_to_text[0].recall, found.image_to_text[1].difference.difference), (0.5, 0.0));
        let one_way = compare(&ranks(&[1, 2, 3, 4], &[]), &after, &[1], &options).unwrap();
        assert!(one_way.image_to_text.is_empty());
        assert_eq!(one_way.text_to_image, compare(&before, &after, &[1], &options).unwrap().text_to_image);
    }

    #[test]
    fn runs_on_other_queries_are_refused() {
        let other = GroundTruthRanks { image_of_caption: vec![0, 1, 1, 1], ..ranks(&[1; 4], &[1; 2]) };
        let error = compare(&ranks(&[1; 4], &[1; 2]), &other, &[1], &BootstrapOptions::default());
        assert!(error.unwrap_err().to_string().contains("same queries"));
    }
}
