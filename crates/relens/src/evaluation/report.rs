//! One JSON object for an evaluation, under the names that clip_benchmark uses.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::RankingMetrics;

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
