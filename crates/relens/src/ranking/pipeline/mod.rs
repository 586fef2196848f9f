//! From a query to a ranking: spelling, enhancer, embedding, refinement, combination, search, hubs.
//!
//! Every search, every measurement and every explanation goes through here, so that what is measured is what people
//! get.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::CombinedQueries;
use super::hubness::Hubness;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::baselines::retrieval_augmented::Neighbours;
use crate::enhancer::spelling::{self, Spelling};
use crate::enhancer::{
    Combination, EnhancedQuery, Identity, Query, QueryEnhancer, RefineEmbeddings, TraceEntry,
};
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

/// Queries on their way to a ranking: what they became, and their vectors.
#[derive(Debug)]
pub struct EmbeddedQueries {
    /// What each query became, and why.
    pub enhanced: Vec<EnhancedQuery>,
    /// The vectors that are searched for.
    pub vectors: CombinedQueries,
}

/// The steps between what a person types and what is searched for; `enhancer.toml` describes one.
///
/// A pipeline knows neither the retriever nor the pictures: the same one serves any number of both.
pub struct Pipeline {
    /// Corrects queries before anything else looks at them.
    pub spelling: Option<Spelling>,
    /// Turns queries into texts.
    pub enhancer: Box<dyn QueryEnhancer>,
    /// Moves the embedding of every text towards what similar captions show.
    pub refine: Option<Arc<Neighbours>>,
    /// How the texts of a query make one score, in place of the enhancer's own way.
    pub combine: Option<Combination>,
    /// The share of the original query in place of the enhancer's own, 0 to 1.
    pub original_share: Option<f32>,
    /// Lowers pictures that are near to every query.
    pub hubness: Option<Hubness>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new(Box::new(Identity))
    }
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pipeline").field(&self.name()).finish()
    }
}

impl Pipeline {
    /// An enhancer alone.
    pub fn new(enhancer: Box<dyn QueryEnhancer>) -> Self {
        Self { spelling: None, enhancer, refine: None, combine: None, original_share: None, hubness: None }
    }

    /// The names of its parts, for a report.
    pub fn name(&self) -> String {
        let enhancer = match (self.enhancer.name(), &self.spelling) {
            ("identity", Some(_)) if self.refine.is_none() && self.hubness.is_none() => None,
            (name, _) => Some(name),
        };
        let parts = [
            self.spelling.as_ref().map(|_| spelling::NAME),
            enhancer,
            self.refine.as_ref().map(|_| "neighbours"),
            self.hubness.as_ref().map(|_| "hubness"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("+")
    }

    /// What lowers hubs, where scores are cosines that it can be taken from; sums of reciprocal ranks are none.
    pub fn hubness_of_scores(&self) -> Option<&Hubness> {
        self.hubness.as_ref().filter(|_| self.combine != Some(Combination::ReciprocalRank))
    }

    /// What queries become, in order. `images` are the vectors that will be searched, where they are known.
    ///
    /// # Errors
    /// Those of the enhancer; [`Error::Enhancer`] if it answers for another number of queries or with unusable texts, or
    /// if `original_share` is not within 0 and 1.
    pub fn enhance(&self, queries: &[Query], images: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        let corrected: Vec<(Query, Vec<TraceEntry>)> = match &self.spelling {
            None => queries.iter().map(|query| (query.clone(), Vec::new())).collect(),
            Some(spelling) => queries.iter().map(|query| spelling.correct(query)).collect::<Result<_>>()?,
        };
        let (queries, corrections): (Vec<Query>, Vec<Vec<TraceEntry>>) = corrected.into_iter().unzip();
        let mut enhanced = self.enhancer.enhance_batch(&queries, images)?;
        if enhanced.len() != queries.len() {
            let (expected, found) = (queries.len(), enhanced.len());
            return Err(self.refuse(format!("expected {expected} enhanced queries, found {found}")));
        }
        for ((enhanced, query), corrections) in enhanced.iter_mut().zip(&queries).zip(corrections) {
            if !corrections.is_empty() {
                // What was corrected was not kept as it is, whatever the enhancer says.
                enhanced.trace.retain(|step| !matches!(step, TraceEntry::Kept { .. }));
                enhanced.trace.splice(0..0, corrections);
            }
            if let Some(share) = self.original_share {
                if !(0.0..=1.0).contains(&share) {
                    return Err(
                        self.refuse(format!("expected a share of the original of 0 to 1, found {share}"))
                    );
                }
                enhanced.set_original_share(query.text(), share);
            }
            enhanced.combination = self.combine.unwrap_or(enhanced.combination);
            enhanced.ensure_usable(self.enhancer.name())?;
        }
        Ok(enhanced)
    }

    /// Enhances queries and embeds all their texts in one batch.
    ///
    /// # Errors
    /// Those of [`enhance`](Self::enhance), the embedder and the refinements.
    pub fn embed(
        &self,
        queries: &[Query],
        embedder: &dyn TextEmbedder,
        images: Option<&dyn Index>,
    ) -> Result<EmbeddedQueries> {
        let enhanced = self.enhance(queries, images)?;
        let mut embeddings = embed_once(&enhanced, embedder)?;
        let mut first = 0;
        for query in &enhanced {
            for refinement in &query.refinements {
                refinement.apply(&mut embeddings, first)?;
            }
            first += query.texts.len();
        }
        if let Some(neighbours) = &self.refine {
            let dim = embeddings.dim();
            neighbours.refine(embeddings.as_mut_slice(), dim)?;
        }
        let vectors = CombinedQueries::combine(&enhanced, &embeddings, self.enhancer.name())?;
        Ok(EmbeddedQueries { enhanced, vectors })
    }

    /// The `k` best pictures of `index` for one query.
    ///
    /// # Errors
    /// As for [`search_batch`](Self::search_batch).
    pub fn search(
        &self,
        query: &Query,
        k: usize,
        embedder: &dyn TextEmbedder,
        index: &dyn Index,
    ) -> Result<Ranking> {
        let mut rankings = self.search_batch(std::slice::from_ref(query), k, embedder, index)?;
        rankings.pop().ok_or_else(|| self.refuse("expected an answer for one query, found none".to_owned()))
    }

    /// The `k` best pictures of `index` for each of many queries.
    ///
    /// # Errors
    /// [`Error::OtherModel`] if another model filled the index; those of the steps.
    pub fn search_batch(
        &self,
        queries: &[Query],
        k: usize,
        embedder: &dyn TextEmbedder,
        index: &dyn Index,
    ) -> Result<Vec<Ranking>> {
        index.ensure_model(embedder.fingerprint())?;
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let EmbeddedQueries { enhanced, vectors } = self.embed(queries, embedder, Some(index))?;
        let hits = self.rank(&vectors, k, index)?;
        Ok(hits.into_iter().zip(enhanced).map(|(hits, enhanced)| Ranking { hits, enhanced }).collect())
    }

    /// The last steps alone: the `k` best pictures for queries that are vectors already.
    ///
    /// # Errors
    /// Those of the index; [`Error::Argument`] if the dimensions differ.
    pub fn rank(&self, queries: &CombinedQueries, k: usize, index: &dyn Index) -> Result<Vec<Vec<Hit>>> {
        match self.hubness_of_scores() {
            Some(hubness) => hubness.search(queries, index, k),
            None => queries.search(index, k),
        }
    }

    fn refuse(&self, reason: String) -> Error {
        Error::Enhancer { enhancer: self.enhancer.name().to_owned(), reason }
    }
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
pub(crate) mod tests;
