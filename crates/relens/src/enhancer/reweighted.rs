//! An enhancer whose original counts another share: what a fit of that share tries out.

use super::{EnhancedQuery, Query, QueryEnhancer};
use crate::error::{Error, Result};
use crate::ranking::hubness::HubnessCalibration;

/// Another enhancer, with the original query's share of the weight set.
pub struct Reweighted<'a> {
    enhancer: &'a dyn QueryEnhancer,
    share: f32,
}

impl<'a> Reweighted<'a> {
    /// Gives the original `share` of all weight, and the other texts the rest in their own proportion.
    ///
    /// # Errors
    /// [`Error::Enhancer`] if the share is not within 0 and 1.
    pub fn new(enhancer: &'a dyn QueryEnhancer, share: f32) -> Result<Self> {
        if (0.0..=1.0).contains(&share) {
            return Ok(Self { enhancer, share });
        }
        Err(Error::Enhancer {
            enhancer: enhancer.name().to_owned(),
            reason: format!("expected a share of the original of 0 to 1, found {share}"),
        })
    }

    fn reweighted(&self, query: &Query, mut enhanced: EnhancedQuery) -> EnhancedQuery {
        let is_original = |text: &str| text == query.text();
        let others: f32 =
            enhanced.texts.iter().filter(|text| !is_original(&text.text)).map(|text| text.weight).sum();
        let originals = enhanced.texts.iter().filter(|text| is_original(&text.text)).count();
        // A query that stands alone, or is replaced, has no share to change.
        if others <= 0.0 || originals == 0 {
            return enhanced;
        }
        for text in &mut enhanced.texts {
            text.weight = if is_original(&text.text) {
                self.share / originals as f32
            } else {
                text.weight / others * (1.0 - self.share)
            };
        }
        enhanced
    }
}

impl QueryEnhancer for Reweighted<'_> {
    fn name(&self) -> &str {
        self.enhancer.name()
    }

    fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
        Ok(self.reweighted(query, self.enhancer.enhance(query)?))
    }

    fn enhance_batch(&self, queries: &[Query]) -> Result<Vec<EnhancedQuery>> {
        let enhanced = self.enhancer.enhance_batch(queries)?;
        Ok(queries.iter().zip(enhanced).map(|(query, enhanced)| self.reweighted(query, enhanced)).collect())
    }

    fn calibration(&self) -> Option<&HubnessCalibration> {
        self.enhancer.calibration()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Combination, Identity};
    use super::*;

    struct Doubled;

    impl QueryEnhancer for Doubled {
        fn name(&self) -> &str {
            "doubled"
        }

        fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
            let rewrites = vec!["x".to_owned(), "y".to_owned()];
            Ok(EnhancedQuery::with_original(query, 2.0, rewrites, Combination::MeanScore, Vec::new()))
        }
    }

    #[test]
    fn the_original_has_the_share_and_the_rest_their_proportion() {
        let query = Query::new("a").unwrap();
        let weights = |share: f32, enhancer: &dyn QueryEnhancer| {
            let enhanced = Reweighted::new(enhancer, share).unwrap().enhance(&query).unwrap();
            enhanced.texts.iter().map(|text| text.weight).collect::<Vec<_>>()
        };
        assert_eq!(weights(0.5, &Doubled), [0.5, 0.25, 0.25]);
        assert_eq!(weights(0.0, &Doubled), [0.0, 0.5, 0.5]);
        assert_eq!(weights(0.3, &Identity), [1.0]);
        assert!(Reweighted::new(&Doubled, f32::NAN).is_err());
    }
}
