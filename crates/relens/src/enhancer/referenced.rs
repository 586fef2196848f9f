//! Another enhancer with what reference pairs add: its texts' embeddings enriched by similar captions' pictures
//! ([`crate::enhancer::baselines::retrieval_augmented`]), its scores without the advantage of hubs ([`crate::ranking::hubness`]).

use std::sync::Arc;

use super::{EnhancedQuery, Query, QueryEnhancer, Refinement};
use crate::enhancer::baselines::retrieval_augmented::Enrichment;
use crate::error::Result;
use crate::ranking::hubness::HubnessCalibration;

/// An enhancer, enriched and calibrated.
pub struct Referenced {
    enhancer: Box<dyn QueryEnhancer>,
    enrichment: Option<Arc<Enrichment>>,
    calibration: Option<HubnessCalibration>,
    name: String,
}

impl Referenced {
    /// Adds either or both to `enhancer`.
    pub fn new(
        enhancer: Box<dyn QueryEnhancer>,
        enrichment: Option<Enrichment>,
        calibration: Option<HubnessCalibration>,
    ) -> Self {
        let parts = [
            Some(enhancer.name()),
            enrichment.as_ref().map(|_| "neighbours"),
            calibration.as_ref().map(|_| "calibration"),
        ];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join("+");
        Self { enhancer, enrichment: enrichment.map(Arc::new), calibration, name }
    }

    fn enriched(&self, mut enhanced: EnhancedQuery) -> EnhancedQuery {
        if let Some(enrichment) = &self.enrichment {
            let texts = 0..enhanced.texts.len();
            enhanced.refinements.push(Refinement { texts, by: enrichment.clone() });
        }
        enhanced
    }
}

impl QueryEnhancer for Referenced {
    fn name(&self) -> &str {
        &self.name
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        self.enhancer.enhance(query).map(|enhanced| self.enriched(enhanced))
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let enhanced = self.enhancer.enhance_batch(queries)?;
        Ok(enhanced.into_iter().map(|enhanced| self.enriched(enhanced)).collect())
    }

    fn calibration(&self) -> Option<&HubnessCalibration> {
        self.calibration.as_ref().or_else(|| self.enhancer.calibration())
    }
}
