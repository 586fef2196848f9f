//! From a query to a ranking: enhancer, retriever, index.

use std::collections::HashMap;

use serde::Serialize;

use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::{CombinedQueries, EnhancedQuery, Query, QueryEnhancer};
use crate::error::{Error, Result};
use crate::index::{Hit, Index};

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ranking {
    /// What was found, best first.
    pub hits: Vec<Hit>,
    /// What the query became, and why.
    pub enhanced: EnhancedQuery,
}

/// An enhancer, a retriever and an index that belong together.
pub struct Pipeline<'a> {
    enhancer: &'a dyn QueryEnhancer,
    embedder: &'a dyn TextEmbedder,
    index: &'a dyn Index,
}

impl<'a> Pipeline<'a> {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if another model filled the index.
    pub fn new(
        enhancer: &'a dyn QueryEnhancer,
        embedder: &'a dyn TextEmbedder,
        index: &'a dyn Index,
    ) -> Result<Self> {
        index.ensure_model(embedder.fingerprint())?;
        Ok(Self { enhancer, embedder, index })
    }

    /// The `k` best pictures for one query.
    ///
    /// # Errors
    /// Those of the parts.
    pub fn search(&self, query: &Query, k: usize) -> Result<Ranking> {
        let mut rankings = self.search_batch(std::slice::from_ref(query), k)?;
        rankings.pop().ok_or_else(|| Error::Enhancer {
            enhancer: self.enhancer.name().to_owned(),
            reason: "expected an answer for one query, found none".to_owned(),
        })
    }

    /// The `k` best pictures for each of many queries; all their texts are embedded together.
    ///
    /// # Errors
    /// Those of the parts.
    pub fn search_batch(&self, queries: &[Query], k: usize) -> Result<Vec<Ranking>> {
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let (enhanced, combined) = embed_enhanced(queries, self.enhancer, self.embedder)?;
        let hits = match self.enhancer.calibration() {
            Some(calibration) => calibration.search(&combined, self.index, k)?,
            None => combined.search(self.index, k)?,
        };
        Ok(hits.into_iter().zip(enhanced).map(|(hits, enhanced)| Ranking { hits, enhanced }).collect())
    }
}

/// Enhances queries and embeds all their texts in one batch.
///
/// # Errors
/// [`Error::Enhancer`] if the enhancer answers for another number of queries or with unusable texts; those of both.
pub fn embed_enhanced(
    queries: &[Query],
    enhancer: &dyn QueryEnhancer,
    embedder: &dyn TextEmbedder,
) -> Result<(Vec<EnhancedQuery>, CombinedQueries)> {
    let enhanced = enhancer.enhance_batch(queries)?;
    if enhanced.len() != queries.len() {
        return Err(Error::Enhancer {
            enhancer: enhancer.name().to_owned(),
            reason: format!("expected {} enhanced queries, found {}", queries.len(), enhanced.len()),
        });
    }
    for query in &enhanced {
        query.ensure_usable(enhancer.name())?;
    }
    let mut embeddings = embed_once(&enhanced, embedder)?;
    let mut first = 0;
    for query in &enhanced {
        for refinement in &query.refinements {
            refinement.apply(&mut embeddings, first)?;
        }
        first += query.texts.len();
    }
    let combined = CombinedQueries::combine(&enhanced, &embeddings, enhancer.name())?;
    Ok((enhanced, combined))
}

/// The embeddings of all texts in order, each different text embedded once.
fn embed_once(enhanced: &[EnhancedQuery], embedder: &dyn TextEmbedder) -> Result<Embeddings> {
    let mut different: Vec<&str> = Vec::new();
    let mut positions: HashMap<&str, usize> = HashMap::new();
    let texts = enhanced.iter().flat_map(|query| &query.texts);
    let rows: Vec<usize> = texts
        .map(|text| {
            *positions.entry(&text.text).or_insert_with(|| {
                different.push(&text.text);
                different.len() - 1
            })
        })
        .collect();
    let embeddings = embedder.embed_texts(&different)?;
    if different.len() == rows.len() { Ok(embeddings) } else { embeddings.select(&rows) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::dataset::{Dataset, DatasetImage, Split};
    use crate::enhancer::{Combination, Identity};
    use crate::evaluation::evaluate;
    use crate::index::ExactIndex;

    /// Embeds a text as the counts of the words that it knows.
    pub(crate) struct WordCounts {
        pub(crate) words: &'static [&'static str],
    }

    impl TextEmbedder for WordCounts {
        fn name(&self) -> &str {
            "word-counts"
        }

        fn fingerprint(&self) -> &str {
            "words"
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
            let count =
                |text: &str, word: &str| text.split(' ').filter(|found| *found == word).count() as f32;
            let data = texts.iter().flat_map(|text| self.words.iter().map(|word| count(text, word)));
            let mut embeddings = Embeddings::from_rows(self.words.len(), data.collect())?;
            embeddings.normalise();
            Ok(embeddings)
        }
    }

    const WORDS: WordCounts = WordCounts { words: &["dog", "cat", "red", "blue"] };

    /// Adds what it knows of the query's colour.
    struct AddsRed(Combination);

    impl QueryEnhancer for AddsRed {
        fn name(&self) -> &str {
            "adds-red"
        }

        fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
            let rewrites = vec![format!("red {}", query.text())];
            Ok(EnhancedQuery::with_original(query, 1.0, rewrites, self.0, Vec::new()))
        }
    }

    struct Forgets;

    impl QueryEnhancer for Forgets {
        fn name(&self) -> &str {
            "forgets"
        }

        fn enhance(&self, query: &Query) -> Result<EnhancedQuery> {
            Ok(EnhancedQuery::unchanged(query, ""))
        }

        fn enhance_batch(&self, _: &[Query]) -> Result<Vec<EnhancedQuery>> {
            Ok(Vec::new())
        }
    }

    fn index() -> ExactIndex {
        let images = WORDS.embed_texts(&["dog blue", "dog red", "cat red"]).unwrap();
        ExactIndex::from_parts("words", vec![10, 11, 12], images).unwrap()
    }

    #[test]
    fn an_enhancer_moves_the_ranking_and_the_answer_says_how() {
        let index = index();
        let query = Query::new("dog").unwrap();
        let plain = Pipeline::new(&Identity, &WORDS, &index).unwrap().search(&query, 3).unwrap();
        assert_eq!(plain.hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [10, 11, 12]);
        for combination in [Combination::Replace, Combination::MeanScore, Combination::MaxScore] {
            let enhancer = AddsRed(combination);
            let ranking = Pipeline::new(&enhancer, &WORDS, &index).unwrap().search(&query, 2).unwrap();
            assert_eq!(ranking.hits[0].id, 11, "{combination:?}");
            assert_eq!(ranking.enhanced.texts.last().unwrap().text, "red dog");
        }
    }

    #[test]
    fn a_batch_answers_as_each_alone() {
        let index = index();
        let enhancer = AddsRed(Combination::MaxScore);
        let pipeline = Pipeline::new(&enhancer, &WORDS, &index).unwrap();
        let queries = ["dog", "blue cat", "cat"].map(|text| Query::new(text).unwrap());
        let alone: Vec<Ranking> = queries.iter().map(|query| pipeline.search(query, 2).unwrap()).collect();
        assert_eq!(pipeline.search_batch(&queries, 2).unwrap(), alone);
        assert!(pipeline.search_batch(&[], 2).unwrap().is_empty());
    }

    #[test]
    fn another_model_or_a_forgetful_enhancer_is_refused() {
        let other = ExactIndex::new(4, "other").unwrap();
        assert!(matches!(Pipeline::new(&Identity, &WORDS, &other), Err(Error::OtherModel { .. })));
        let index = index();
        let pipeline = Pipeline::new(&Forgets, &WORDS, &index).unwrap();
        let error = pipeline.search(&Query::new("dog").unwrap(), 1).unwrap_err().to_string();
        assert_eq!(error, "enhancer `forgets`: expected 1 enhanced queries, found 0");
    }

    #[test]
    fn an_evaluation_goes_through_the_same_steps() {
        let captions = ["dog blue", "dog red", "cat red"];
        let images = WORDS.embed_texts(&captions).unwrap();
        let dataset = Dataset {
            name: "words".to_owned(),
            images_directory: "pictures".into(),
            images: (0u64..)
                .zip(captions)
                .map(|(id, caption)| DatasetImage {
                    id,
                    path: "a.jpg".into(),
                    split: Split::Val,
                    captions: vec![caption.to_owned(); id as usize],
                })
                .collect(),
        };
        let counted = std::cell::Cell::new(0);
        let progress = |captions| counted.set(counted.get() + captions);
        let result = evaluate(&dataset, &images, &WORDS, &Identity, &[1], &progress).unwrap();
        assert_eq!(result.ranks.text_to_image, [1, 1, 1]);
        assert_eq!(result.ranks.image_to_text, [1, 1]);
        assert_eq!((result.report.n_images, result.report.n_texts, counted.get()), (3, 3, 3));
        assert_eq!(result.report.model, "word-counts");

        let mut silent = dataset;
        silent.images.iter_mut().for_each(|image| image.captions.clear());
        assert!(evaluate(&silent, &images, &WORDS, &Identity, &[1], &progress).is_err());
        let fewer = images.select(&[0]).unwrap();
        assert!(evaluate(&silent, &fewer, &WORDS, &Identity, &[1], &progress).is_err());
    }
}
