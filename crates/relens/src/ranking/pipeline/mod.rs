//! From a query to a ranking: spelling, exclusion, enhancer, embedding, refinement, combination, search, hubs, fit.
//!
//! Every search, every measurement and every explanation goes through here, so that what is measured is what people
//! get.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::CombinedQueries;
use super::fit::{self, Fit, FitEstimate, Searched};
use super::hubness::Hubness;
use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::enhancer::baselines::retrieval_augmented::Neighbours;
use crate::enhancer::exclusion::{self, Exclusion};
use crate::enhancer::spelling::{self, Spelling};
use crate::enhancer::{
    Combination, EnhancedQuery, Identity, Query, QueryEnhancer, RefineEmbeddings, TraceEntry,
};
use crate::error::{Error, Result};
use crate::index::{Hit, Index};

/// The answer to a query.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Ranking {
    /// What was found, best first.
    pub hits: Vec<Hit>,
    /// What is known about each hit beside its score, in the same order.
    pub evidence: Vec<Evidence>,
    /// Whether anything fits, where the retriever has a fitted estimate.
    pub fit: Option<FitEstimate>,
    /// What the query became, and why.
    pub enhanced: EnhancedQuery,
}

/// What is known about a hit beside the score that ranks it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Evidence {
    /// The cosine of the query, as it was sent to the retriever, and the picture.
    pub similarity: f32,
    /// The estimated probability that the picture is what was asked for, where the retriever has a fitted estimate.
    pub fits: Option<f32>,
}

/// Queries on their way to a ranking: what they became, and their vectors.
#[derive(Debug)]
pub struct EmbeddedQueries {
    /// What each query became, and why.
    pub enhanced: Vec<EnhancedQuery>,
    /// The vectors that are searched for.
    pub vectors: CombinedQueries,
    /// The same without what is taken away, where something is.
    pub wanted: Option<CombinedQueries>,
}

/// The steps between what a person types and what is searched for; `enhancer.toml` describes one.
///
/// A pipeline knows neither the retriever nor the pictures: the same one serves any number of both.
pub struct Pipeline {
    /// Corrects queries before anything else looks at them.
    pub spelling: Option<Spelling>,
    /// Takes away what a query says that it does not want.
    pub exclusion: Option<Exclusion>,
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
    /// Estimates whether what was found is what was asked for.
    pub fit: Option<Fit>,
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
        Self {
            spelling: None,
            exclusion: None,
            enhancer,
            refine: None,
            combine: None,
            original_share: None,
            hubness: None,
            fit: None,
        }
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
        let (mut queries, corrections): (Vec<Query>, Vec<Vec<TraceEntry>>) = corrected.into_iter().unzip();
        let excluded: Vec<Vec<String>> =
            queries.iter_mut().map(|query| self.take_exclusions(query)).collect::<Result<_>>()?;
        let mut enhanced = self.enhancer.enhance_batch(&queries, images)?;
        if enhanced.len() != queries.len() {
            let (expected, found) = (queries.len(), enhanced.len());
            return Err(self.refuse(format!("expected {expected} enhanced queries, found {found}")));
        }
        let steps = queries.iter().zip(corrections).zip(&excluded);
        for (enhanced, ((query, corrections), excluded)) in enhanced.iter_mut().zip(steps) {
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
            if let Some(exclusion) = &self.exclusion {
                exclusion.take_away(enhanced, excluded);
            }
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
        let wanted = self.without_exclusions(&enhanced, &embeddings)?;
        Ok(EmbeddedQueries { enhanced, vectors, wanted })
    }

    /// Takes what is not wanted out of the query.
    fn take_exclusions(&self, query: &mut Query) -> Result<Vec<String>> {
        let found = self.exclusion.as_ref().and_then(|_| exclusion::split(query.text()));
        // A part that is to be kept is searched for as it was typed.
        let found = found.filter(|found| !found.excluded.iter().any(|part| query.keeps(part)));
        let Some(found) = found else { return Ok(Vec::new()) };
        *query = query.with_text(&found.wanted)?;
        Ok(found.excluded)
    }

    /// The vectors of what is wanted alone: by what is taken away, nobody can tell whether a picture fits.
    fn without_exclusions(
        &self,
        enhanced: &[EnhancedQuery],
        embeddings: &Embeddings,
    ) -> Result<Option<CombinedQueries>> {
        let taken_away = |query: &EnhancedQuery| query.texts.iter().any(|text| text.weight < 0.0);
        if self.exclusion.is_none() || !enhanced.iter().any(taken_away) {
            return Ok(None);
        }
        let texts = enhanced.iter().flat_map(|query| &query.texts).enumerate();
        let rows: Vec<usize> = texts.filter(|(_, text)| text.weight >= 0.0).map(|(row, _)| row).collect();
        let mut wanted = enhanced.to_vec();
        wanted.iter_mut().for_each(|query| query.texts.retain(|text| text.weight >= 0.0));
        CombinedQueries::combine(&wanted, &embeddings.select(&rows)?, self.enhancer.name()).map(Some)
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
        let embedded = self.embed(queries, embedder, Some(index))?;
        self.search_embedded(queries, embedded, k, index)
    }

    /// The last steps alone: the `k` best pictures for queries that are embedded already.
    ///
    /// # Errors
    /// Those of the index; [`Error::Argument`] if the dimensions differ.
    pub fn search_embedded(
        &self,
        queries: &[Query],
        embedded: EmbeddedQueries,
        k: usize,
        index: &dyn Index,
    ) -> Result<Vec<Ranking>> {
        let EmbeddedQueries { enhanced, vectors, wanted } = embedded;
        // An estimate compares the best hits, however few are asked for.
        let compared = if self.fit.is_some() { fit::COMPARED_HITS } else { 0 };
        let hits = self.rank(&vectors, k.max(compared), index)?;
        let wanted = wanted.as_ref().unwrap_or(&vectors);
        let answers = hits.into_iter().zip(enhanced).zip(queries).enumerate();
        let answers = answers.map(|(number, ((mut hits, enhanced), query))| {
            let mut leads = fit::leads(&hits);
            hits.truncate(k);
            leads.truncate(k);
            let images = index.vectors(&hits.iter().map(|hit| hit.id).collect::<Vec<_>>())?;
            let evidence =
                |image: &[f32]| Evidence { similarity: vectors.similarity(number, image), fits: None };
            let mut evidence: Vec<Evidence> = images.iter().map(evidence).collect();
            let mut estimate = None;
            if let Some(fit) = &self.fit {
                let text = self.as_meant(query)?;
                let searched = Searched { best: images.iter().next(), pictures: index.len() };
                let features = fit.features(text.text(), wanted, number, searched)?;
                let estimated = fit.config().estimate(features, leads);
                for (evidence, fits) in evidence.iter_mut().zip(&estimated.hits) {
                    evidence.fits = Some(*fits as f32);
                }
                estimate = Some(estimated);
            }
            Ok(Ranking { hits, evidence, fit: estimate, enhanced })
        });
        answers.collect()
    }

    /// The query with its spelling corrected and without what it does not want.
    fn as_meant(&self, query: &Query) -> Result<Query> {
        let mut query = match &self.spelling {
            Some(spelling) => spelling.correct(query)?.0,
            None => query.clone(),
        };
        self.take_exclusions(&mut query)?;
        Ok(query)
    }

    /// The `k` best pictures for queries that are vectors already, without what else is known of them.
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
