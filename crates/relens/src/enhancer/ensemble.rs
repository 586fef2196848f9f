//! Several enhancers at once, each with a weight.

use super::{Combination, EnhancedQuery, Query, QueryEnhancer, Refinement, WeightedText};
use crate::error::{Error, Result};
use crate::index::Index;

/// One enhancer of an ensemble.
pub struct Member {
    /// How much it counts beside the others.
    pub weight: f32,
    /// The enhancer.
    pub enhancer: Box<dyn QueryEnhancer>,
}

/// The texts of all members, each with its share of its member's weight, combined in one way: a member's own
/// combination is not used.
pub struct Ensemble {
    name: String,
    members: Vec<Member>,
    combination: Combination,
}

impl Ensemble {
    /// Puts members together.
    ///
    /// # Errors
    /// [`Error::Enhancer`] if there is no member, or a weight is not finite, below 0, or all are 0.
    pub fn new(members: Vec<Member>, combination: Combination) -> Result<Self> {
        let name =
            members.iter().map(|member| member.enhancer.name().to_owned()).collect::<Vec<_>>().join("+");
        let weights: Vec<f32> = members.iter().map(|member| member.weight).collect();
        let usable = weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        if !usable || !weights.iter().any(|weight| *weight > 0.0) {
            return Err(Error::Enhancer {
                enhancer: name,
                reason: format!("expected weights of at least 0, one of them above, found {weights:?}"),
            });
        }
        Ok(Self { name, members, combination })
    }
}

impl QueryEnhancer for Ensemble {
    fn name(&self) -> &str {
        &self.name
    }

    fn enhance_batch(&self, queries: &[Query], images: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let empty = || EnhancedQuery {
            texts: Vec::new(),
            combination: self.combination,
            trace: Vec::new(),
            refinements: Vec::new(),
        };
        let mut together: Vec<EnhancedQuery> = queries.iter().map(|_| empty()).collect();
        for member in &self.members {
            for (all, enhanced) in together.iter_mut().zip(member.enhancer.enhance_batch(queries, images)?) {
                append(all, enhanced, member.weight);
            }
        }
        Ok(together)
    }
}

fn append(all: &mut EnhancedQuery, enhanced: EnhancedQuery, weight: f32) {
    let first = all.texts.len();
    let total: f32 = enhanced.texts.iter().map(|text| text.weight).sum();
    let share = |of: f32| if total > 0.0 { of / total * weight } else { 0.0 };
    all.texts
        .extend(enhanced.texts.into_iter().map(|text| WeightedText { weight: share(text.weight), ..text }));
    all.trace.extend(enhanced.trace);
    all.refinements.extend(enhanced.refinements.into_iter().map(|refinement| Refinement {
        texts: first + refinement.texts.start..first + refinement.texts.end,
        ..refinement
    }));
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, TraceEntry, enhance_text};
    use super::*;

    struct Shout;

    impl QueryEnhancer for Shout {
        fn name(&self) -> &str {
            "shout"
        }

        fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
            let shouted = |query: &Query| {
                let texts = [query.text().to_uppercase(), format!("{}!", query.text())];
                let texts = texts.map(|text| WeightedText { text, weight: 1.0 }).into();
                EnhancedQuery { texts, trace: Vec::new(), ..EnhancedQuery::unchanged(query, "") }
            };
            Ok(queries.iter().map(shouted).collect())
        }
    }

    fn member(weight: f32, enhancer: impl QueryEnhancer + 'static) -> Member {
        Member { weight, enhancer: Box::new(enhancer) }
    }

    #[test]
    fn each_member_has_its_weight_whatever_the_number_of_its_texts() {
        let members = vec![member(3.0, Identity), member(1.0, Shout)];
        let ensemble = Ensemble::new(members, Combination::MeanEmbedding).unwrap();
        assert_eq!(ensemble.name(), "identity+shout");
        let enhanced = enhance_text(&ensemble, "hi");
        let texts: Vec<(&str, f32)> =
            enhanced.texts.iter().map(|text| (text.text.as_str(), text.weight)).collect();
        assert_eq!(texts, [("hi", 3.0), ("HI", 0.5), ("hi!", 0.5)]);
        assert_eq!(enhanced.combination, Combination::MeanEmbedding);
        assert!(matches!(enhanced.trace[0], TraceEntry::Kept { .. }));
    }

    #[test]
    fn weights_that_mean_nothing_are_refused() {
        for weights in [&[][..], &[0.0], &[-1.0, 2.0], &[f32::NAN]] {
            let members = weights.iter().map(|&weight| member(weight, Identity)).collect();
            assert!(Ensemble::new(members, Combination::MeanScore).is_err(), "{weights:?}");
        }
    }
}
