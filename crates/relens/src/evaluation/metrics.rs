//! Numbers that sum up the ranks of one direction, and of both as one JSON object, under the names that
//! clip_benchmark uses.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{Error, Result};

/// What the ranks of many queries come to.
#[derive(Debug, Clone, PartialEq)]
pub struct RankingMetrics {
    /// (k, the share of queries whose right answer is among the first k), in the order asked for.
    pub recall: Vec<(usize, f64)>,
    /// The median rank; the mean of the middle two for an even number of queries.
    pub median_rank: f64,
    /// The mean rank.
    pub mean_rank: f64,
    /// The mean of 1 / rank.
    pub mean_reciprocal_rank: f64,
}

impl RankingMetrics {
    /// Sums up ranks that count from 1, with Recall@k for every k of `recall_at`.
    ///
    /// # Errors
    /// [`Error::Argument`] without a rank, for a rank of 0 or a k of 0.
    pub fn from_ranks(ranks: &[u32], recall_at: &[usize]) -> Result<Self> {
        if ranks.is_empty() || ranks.contains(&0) || recall_at.contains(&0) {
            return Err(Error::Argument {
                operation: "RankingMetrics::from_ranks",
                expected: "at least one query, ranks from 1, k from 1".to_owned(),
                found: format!("{} queries, k of {recall_at:?}", ranks.len()),
            });
        }
        let mean = |value: &dyn Fn(u32) -> f64| {
            ranks.iter().map(|&rank| value(rank)).sum::<f64>() / ranks.len() as f64
        };
        let recall = |k: usize| mean(&|rank| f64::from(u8::from(rank as usize <= k)));
        Ok(Self {
            recall: recall_at.iter().map(|&k| (k, recall(k))).collect(),
            median_rank: median(&mut ranks.to_vec()),
            mean_rank: mean(&f64::from),
            mean_reciprocal_rank: mean(&|rank| 1.0 / f64::from(rank)),
        })
    }

    /// Recall@k, if it was asked for.
    pub fn recall_at(&self, k: usize) -> Option<f64> {
        self.recall.iter().find(|(at, _)| *at == k).map(|(_, recall)| *recall)
    }
}

/// The median of at least one rank, which are left in another order.
pub(super) fn median(ranks: &mut [u32]) -> f64 {
    let middle = ranks.len() / 2;
    let even = ranks.len().is_multiple_of(2);
    let (below, &mut upper, _) = ranks.select_nth_unstable(middle);
    let lower = if even { below.iter().copied().max().unwrap_or(upper) } else { upper };
    f64::midpoint(f64::from(lower), f64::from(upper))
}

/// The numbers of an evaluation.
///
/// As JSON: `image_retrieval_recall@K` (text→image) and `text_retrieval_recall@K` (image→text) as fractions,
/// `…_median_rank`, `…_mean_rank`, `…_mean_reciprocal_rank`, `n_images`, `n_texts`, `model`, `enhancer`, `seconds`.
/// Without image→text its keys are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct RetrievalReport {
    /// Text→image: captions retrieve images.
    pub image_retrieval: RankingMetrics,
    /// Image→text: images retrieve captions; `None` where that says nothing, as for queries that few images have.
    pub text_retrieval: Option<RankingMetrics>,
    /// The number of images.
    pub n_images: usize,
    /// The number of captions.
    pub n_texts: usize,
    /// The retriever.
    pub model: String,
    /// The enhancer.
    pub enhancer: String,
    /// How long it took.
    pub seconds: f64,
}

impl Serialize for RetrievalReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let text_retrieval = self.text_retrieval.as_ref().map(|metrics| ("text_retrieval", metrics));
        for (direction, metrics) in
            std::iter::once(("image_retrieval", &self.image_retrieval)).chain(text_retrieval)
        {
            for (k, recall) in &metrics.recall {
                map.serialize_entry(&format!("{direction}_recall@{k}"), recall)?;
            }
            map.serialize_entry(&format!("{direction}_median_rank"), &metrics.median_rank)?;
            map.serialize_entry(&format!("{direction}_mean_rank"), &metrics.mean_rank)?;
            map.serialize_entry(&format!("{direction}_mean_reciprocal_rank"), &metrics.mean_reciprocal_rank)?;
        }
        map.serialize_entry("n_images", &self.n_images)?;
        map.serialize_entry("n_texts", &self.n_texts)?;
        map.serialize_entry("model", &self.model)?;
        map.serialize_entry("enhancer", &self.enhancer)?;
        map.serialize_entry("seconds", &self.seconds)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed_ranks() {
        let metrics = RankingMetrics::from_ranks(&[1, 4, 2, 10], &[1, 5, 10]).unwrap();
        assert_eq!(metrics.recall, [(1, 0.25), (5, 0.75), (10, 1.0)]);
        assert_eq!((metrics.median_rank, metrics.mean_rank), (3.0, 4.25));
        assert_eq!(metrics.mean_reciprocal_rank, (1.0 + 0.25 + 0.5 + 0.1) / 4.0);
        assert_eq!((metrics.recall_at(5), metrics.recall_at(3)), (Some(0.75), None));
        assert_eq!(RankingMetrics::from_ranks(&[7, 1, 3], &[]).unwrap().median_rank, 3.0);
    }

    #[test]
    fn nothing_to_sum_up_is_refused() {
        assert!(RankingMetrics::from_ranks(&[], &[1]).is_err());
        assert!(RankingMetrics::from_ranks(&[0], &[1]).is_err());
        assert!(RankingMetrics::from_ranks(&[1], &[0]).is_err());
    }

    #[test]
    fn a_report_is_one_json_object_with_clip_benchmarks_names() {
        let mut report = RetrievalReport {
            image_retrieval: RankingMetrics::from_ranks(&[1, 2], &[1, 5]).unwrap(),
            text_retrieval: Some(RankingMetrics::from_ranks(&[4], &[1, 5]).unwrap()),
            n_images: 1,
            n_texts: 2,
            model: "relens-mini".to_owned(),
            enhancer: "identity".to_owned(),
            seconds: 0.5,
        };
        let expected = serde_json::json!({
            "image_retrieval_recall@1": 0.5, "image_retrieval_recall@5": 1.0,
            "image_retrieval_median_rank": 1.5, "image_retrieval_mean_rank": 1.5,
            "image_retrieval_mean_reciprocal_rank": 0.75,
            "text_retrieval_recall@1": 0.0, "text_retrieval_recall@5": 1.0,
            "text_retrieval_median_rank": 4.0, "text_retrieval_mean_rank": 4.0,
            "text_retrieval_mean_reciprocal_rank": 0.25,
            "n_images": 1, "n_texts": 2, "model": "relens-mini", "enhancer": "identity", "seconds": 0.5,
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        report.text_retrieval = None;
        let one_way = serde_json::to_value(&report).unwrap();
        assert!(one_way.get("image_retrieval_mean_rank").is_some());
        assert!(one_way.as_object().unwrap().keys().all(|key| !key.starts_with("text_retrieval")));
    }
}
