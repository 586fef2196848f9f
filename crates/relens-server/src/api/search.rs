//! `POST /search`: from a query to pictures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::{EnhancedQuery, Query, TraceEntry};
use relens::index::{ExactIndex, Hit, Index};
use relens::library::FoundImage;
use relens::ranking::relevance_feedback::{RocchioConfig, rocchio};
use relens::ranking::{CombinedQueries, Pipeline, pipeline_config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody};
use super::rewrite::QueryRewrite;
use super::terms::{SearchTerm, TermContext, pictures_vectors};
use crate::engine::{OpenModel, Services};
use crate::problem::HttpProblem;

/// Hits of an answer if no number is said.
const DEFAULT_HITS: usize = 50;
/// How far down a ranking can be read.
const DEEPEST: usize = 1_000_000;
/// Words of one query that are to stay.
const MOST_KEPT: usize = 100;
/// Judged pictures of one query.
const MOST_JUDGED: usize = 1000;

/// What is searched for. At least one of `query`, `image`, `vector`, `terms` and `like` is needed; several are added
/// up.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SearchRequest {
    /// What the pictures should show, in one's own words.
    query: Option<String>,
    /// A picture in base64, bare or as a `data:` address.
    image: Option<String>,
    /// A vector of the library's model.
    vector: Option<Vec<f32>>,
    /// Several of these with weights.
    terms: Vec<SearchTerm>,
    /// Pictures of the library that are right: more like these.
    like: Vec<u64>,
    /// Pictures of the library that are wrong: less like these.
    unlike: Vec<u64>,
    /// Whether what was judged right or wrong for this query before counts too.
    judged: bool,
    /// What rewrites the texts: `default` (what works best with the model), `identity` (nothing does), or another name
    /// that `relens search --enhancer` knows.
    enhancer: Option<String>,
    /// Words of the texts that are to stay as they are.
    keep: Vec<String>,
    /// How many hits; 50 if nothing is said.
    k: Option<u64>,
    /// How many of the best hits to leave out, for the next page of an answer.
    offset: u64,
}

/// A picture that was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchHit {
    /// Its number in the library.
    id: u64,
    /// Where its file is.
    path: String,
    /// How near it is: a cosine, less what lowers pictures that are near to everything.
    score: f32,
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
}

impl From<FoundImage> for SearchHit {
    fn from(FoundImage { image, score }: FoundImage) -> Self {
        let path = image.path.to_string_lossy().into_owned();
        Self { id: image.id, path, score, width: image.width, height: image.height }
    }
}

/// What was found, and what was searched for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchAnswer {
    /// The pictures, best first.
    hits: Vec<SearchHit>,
    /// How many pictures the library has.
    total: usize,
    /// What became of each text, in order.
    rewrites: Vec<QueryRewrite>,
    /// How long it took, in milliseconds.
    took_ms: f64,
}

/// Ranks the library's pictures for a text, a picture, a vector, or several of them with weights.
pub(super) async fn search(
    State(engine): Shared,
    JsonBody(request): JsonBody<SearchRequest>,
) -> Result<JsonAnswer<SearchAnswer>, HttpProblem> {
    let begun = Instant::now();
    if engine.config.log_queries {
        tracing::info!(query = request.query.as_deref(), "search");
    }
    let workers = engine.clone();
    let mut answer = workers.workers.run(move || request.answer(&engine)).await?;
    answer.took_ms = begun.elapsed().as_secs_f64() * 1000.0;
    Ok(JsonAnswer(answer))
}

/// The hits of a page, within what the server gives.
pub(super) fn page(engine: &Services, k: Option<u64>, offset: u64) -> Result<(usize, usize), HttpProblem> {
    let most = engine.config.limits.hits;
    let wanted = k.unwrap_or(DEFAULT_HITS.min(most) as u64);
    let k = usize::try_from(wanted).ok().filter(|k| (1..=most).contains(k));
    let k = k.ok_or_else(|| HttpProblem::field("k", format!("1 to {most}"), wanted.to_string()))?;
    let deep = usize::try_from(offset).ok().filter(|offset| *offset <= DEEPEST);
    let offset =
        deep.ok_or_else(|| HttpProblem::field("offset", format!("0 to {DEEPEST}"), offset.to_string()))?;
    Ok((k, offset))
}

impl SearchRequest {
    fn answer(mut self, engine: &Services) -> Result<SearchAnswer, HttpProblem> {
        let (k, offset) = page(engine, self.k, self.offset)?;
        let model = engine.models.first();
        let index = engine.library.index()?;
        index.ensure_model(model.texts.fingerprint())?;
        let pipeline = model.pipeline(self.enhancer.as_deref().unwrap_or(pipeline_config::DEFAULT))?;
        if self.keep.len() > MOST_KEPT {
            return Err(HttpProblem::field(
                "keep",
                format!("at most {MOST_KEPT}"),
                self.keep.len().to_string(),
            ));
        }
        if self.judged {
            self.add_judged(engine)?;
        }
        let begun = Instant::now();
        let terms = self.terms();
        let deep = k + offset;
        let only = match terms.as_slice() {
            [term] if self.like.is_empty() && self.unlike.is_empty() => term.only_text(),
            _ => None,
        };
        let (mut hits, rewrites) = match only {
            Some(text) => {
                let query = Query::new(text)?.keeping(&self.keep);
                let ranking = pipeline.search(&query, deep, &*model.texts, &*index)?;
                (ranking.hits, vec![(query, ranking.enhanced)])
            }
            None => self.search_terms(&terms, deep, model, &pipeline, &index)?,
        };
        hits.drain(..offset.min(hits.len()));
        engine.metrics.stage("search", begun.elapsed());
        let rewrites: Vec<QueryRewrite> = rewrites
            .into_iter()
            .map(|(query, enhanced)| QueryRewrite::new(&query, enhanced, &pipeline))
            .collect();
        let changed = rewrites.iter().filter(|rewrite| rewrite.is_changed()).count() as u64;
        engine.metrics.rewrites.fetch_add(changed, Ordering::Relaxed);
        let hits = engine.library.resolve(&hits)?.into_iter().map(SearchHit::from).collect();
        Ok(SearchAnswer { hits, total: index.len(), rewrites, took_ms: 0.0 })
    }

    /// All parts of the query, the short forms among them.
    fn terms(&mut self) -> Vec<SearchTerm> {
        let mut terms: Vec<SearchTerm> = self.query.take().map(SearchTerm::text).into_iter().collect();
        terms.extend(self.image.take().map(SearchTerm::image));
        terms.extend(self.vector.take().map(SearchTerm::vector));
        terms.append(&mut self.terms);
        terms
    }

    /// Adds what was judged for this query before; what the request says itself goes before.
    fn add_judged(&mut self, engine: &Services) -> Result<(), HttpProblem> {
        let Some(query) = &self.query else { return Ok(()) };
        let (right, wrong) = super::judgements::judged_ids(engine, query)?;
        let said: Vec<u64> = self.like.iter().chain(&self.unlike).copied().collect();
        self.like.extend(right.into_iter().filter(|id| !said.contains(id)));
        self.unlike.extend(wrong.into_iter().filter(|id| !said.contains(id)));
        Ok(())
    }

    fn search_terms(
        &self,
        terms: &[SearchTerm],
        k: usize,
        model: &OpenModel,
        pipeline: &Pipeline,
        index: &ExactIndex,
    ) -> Result<Found, HttpProblem> {
        if terms.is_empty() && self.like.is_empty() {
            return Err(HttpProblem::field("query", "a query, image, vector, terms or like", "none of them"));
        }
        for (field, ids) in [("like", &self.like), ("unlike", &self.unlike)] {
            if ids.len() > MOST_JUDGED {
                return Err(HttpProblem::field(
                    field,
                    format!("at most {MOST_JUDGED}"),
                    ids.len().to_string(),
                ));
            }
        }
        let embedded = TermContext { model, pipeline, index, keep: &self.keep }.embed(terms)?;
        let (right, wrong) = (pictures_vectors(index, &self.like)?, pictures_vectors(index, &self.unlike)?);
        let vector = match embedded.vector {
            Some(vector) if self.like.is_empty() && self.unlike.is_empty() => vector,
            vector => {
                let query = vector.as_ref().map(|vector| vector.row(0));
                rocchio(query, &right, &wrong, RocchioConfig::default())?
            }
        };
        let queries = CombinedQueries::single(vector);
        // Hubs are lowered by what captions find near them: that is right for texts only.
        let mut found = match embedded.rewrites.is_empty() {
            true => queries.search(index, k)?,
            false => pipeline.rank(&queries, k, index)?,
        };
        Ok((found.pop().unwrap_or_default(), embedded.rewrites))
    }
}

type Found = (Vec<Hit>, Vec<(Query, EnhancedQuery)>);

/// Pictures like one of the library's, which is left out.
pub(super) fn similar(engine: &Arc<Services>, id: u64, k: usize) -> Result<SearchAnswer, HttpProblem> {
    let index = engine.library.index()?;
    let vector: Embeddings = pictures_vectors(&index, &[id])?;
    let mut hits = index.search(&vector, k + 1)?.pop().unwrap_or_default();
    hits.retain(|hit| hit.id != id);
    hits.truncate(k);
    let hits = engine.library.resolve(&hits)?.into_iter().map(SearchHit::from).collect();
    Ok(SearchAnswer { hits, total: index.len(), rewrites: Vec::new(), took_ms: 0.0 })
}

/// Whether a step changed something.
pub(super) fn is_change(step: &TraceEntry) -> bool {
    !matches!(step, TraceEntry::Kept { .. })
}
