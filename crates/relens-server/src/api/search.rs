//! `POST /search`: from a query to pictures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::{EnhancedQuery, Query, TraceEntry};
use relens::index::{ExactIndex, Hit, Index};
use relens::library::filter::PictureFilter;
use relens::library::{FoundImage, HitSelection, Selected};
use relens::ranking::relevance_feedback::{RocchioConfig, rocchio};
use relens::ranking::{CombinedQueries, Evidence, Pipeline, Ranking, pipeline_config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody};
use super::filters::SearchFilters;
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
    /// Which pictures are looked among. Conditions in the query, such as `after:2023-06`, count too.
    filters: SearchFilters,
    /// The lowest estimated probability of fitting, 0 to 1, with which a picture is shown.
    min_fit: Option<f32>,
    /// Whether pictures whose files are missing, as on a drive that is unplugged, are shown too.
    missing: bool,
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
    /// The cosine of the query, as it was sent to the model, and the picture.
    similarity: Option<f32>,
    /// The estimated probability that the picture is what was asked for; none for pictures, vectors, and what was liked.
    fits: Option<f32>,
    /// In pixels.
    width: u32,
    /// In pixels.
    height: u32,
    /// When it was taken, by the camera's clock: seconds since 1970. Of what the picture does not tell, none.
    taken_at: Option<i64>,
}

impl From<FoundImage> for SearchHit {
    fn from(FoundImage { image, score, evidence }: FoundImage) -> Self {
        Self {
            id: image.id,
            path: image.path.to_string_lossy().into_owned(),
            score,
            similarity: evidence.map(|evidence| evidence.similarity),
            fits: evidence.and_then(|evidence| evidence.fits),
            width: image.width,
            height: image.height,
            taken_at: image.taken,
        }
    }
}

/// What was found, and what was searched for.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchAnswer {
    /// The pictures, best first.
    hits: Vec<SearchHit>,
    /// How many pictures were looked among.
    total: usize,
    /// How many of the best pictures stand above the line below which probably nothing fits; none if the line is further
    /// down, or nothing can be said.
    line: Option<usize>,
    /// Pictures that were left out because their files are missing.
    left_out: usize,
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
    let mut answer = engine.run(move |engine| request.answer(engine)).await?;
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
        self.ensure_bounded()?;
        let model = engine.models.first();
        let pipeline = model.pipeline(self.enhancer.as_deref().unwrap_or(pipeline_config::DEFAULT))?;
        if self.min_fit.is_some() && pipeline.fit.is_none() {
            let found = format!("`{}`, which has none", pipeline.name());
            return Err(HttpProblem::field("min_fit", "an enhancer with a fitted estimate", found));
        }
        if self.judged {
            self.add_judged(engine)?;
        }
        let (filter, words) = self.filters.split(self.query.as_deref())?;
        self.query = words;
        let sought = Sought::new(engine, model, &pipeline, &filter)?;
        let begun = Instant::now();
        let selection =
            HitSelection { k: k.saturating_add(offset), with_missing: self.missing, min_fit: self.min_fit };
        let (selected, rewrites) = self.select(&sought, selection)?;
        engine.metrics.stage("search", begun.elapsed());
        let rewrites: Vec<QueryRewrite> = rewrites
            .into_iter()
            .map(|(query, enhanced)| QueryRewrite::new(&query, enhanced, &pipeline))
            .collect();
        let changed = rewrites.iter().filter(|rewrite| rewrite.is_changed()).count() as u64;
        engine.metrics.rewrites.fetch_add(changed, Ordering::Relaxed);
        let Selected { found, line, missing, .. } = selected;
        let hits = found.into_iter().skip(offset).map(SearchHit::from).collect();
        let total = sought.among.len();
        Ok(SearchAnswer { hits, total, line, left_out: missing, rewrites, took_ms: 0.0 })
    }

    fn ensure_bounded(&self) -> Result<(), HttpProblem> {
        let lists = [
            ("keep", self.keep.len(), MOST_KEPT),
            ("like", self.like.len(), MOST_JUDGED),
            ("unlike", self.unlike.len(), MOST_JUDGED),
        ];
        if let Some((field, found, most)) = lists.into_iter().find(|(_, found, most)| found > most) {
            return Err(HttpProblem::field(field, format!("at most {most}"), found.to_string()));
        }
        match self.min_fit {
            Some(least) if !(0.0..=1.0).contains(&least) => {
                Err(HttpProblem::field("min_fit", "a probability of 0 to 1", least.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// What is shown, and what became of the texts.
    fn select(
        &mut self,
        sought: &Sought<'_>,
        selection: HitSelection,
    ) -> Result<(Selected, Vec<(Query, EnhancedQuery)>), HttpProblem> {
        let terms = self.terms();
        let everything = sought.among.len();
        let resolve = |ranking: &Ranking| sought.engine.library.resolve(ranking);
        let only = match terms.as_slice() {
            [term] if self.like.is_empty() && self.unlike.is_empty() => term.only_text(),
            _ => None,
        };
        let Some(text) = only else {
            let (vector, rewrites) = self.embed_terms(&terms, sought)?;
            let queries = CombinedQueries::single(vector);
            // Hubs are lowered by what captions find near them: that is right for texts only.
            let lowers_hubs = !rewrites.is_empty();
            let rank = |wanted| sought.rank(&queries, wanted, lowers_hubs);
            return Ok((selection.search(everything, rank, resolve)?, rewrites));
        };
        let query = Query::new(text)?.keeping(&self.keep);
        let texts = &*sought.model.texts;
        let rank =
            |wanted| Ok::<_, HttpProblem>(sought.pipeline.search(&query, wanted, texts, &*sought.among)?);
        let selected = selection.search(everything, rank, resolve)?;
        let enhanced = selected.ranking.enhanced.clone();
        Ok((selected, vec![(query, enhanced)]))
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

    /// All terms and what was liked as one vector, `[1, dim]`, and what became of the texts.
    fn embed_terms(
        &self,
        terms: &[SearchTerm],
        sought: &Sought<'_>,
    ) -> Result<(Embeddings, Vec<(Query, EnhancedQuery)>), HttpProblem> {
        if terms.is_empty() && self.like.is_empty() {
            return Err(HttpProblem::field("query", "a query, image, vector, terms or like", "none of them"));
        }
        let Sought { engine, model, pipeline, all, .. } = sought;
        let remote = engine.remote_images.as_ref();
        let embedded = TermContext { model, pipeline, index: all, remote, keep: &self.keep }.embed(terms)?;
        let (right, wrong) = (pictures_vectors(all, &self.like)?, pictures_vectors(all, &self.unlike)?);
        let vector = match embedded.vector {
            Some(vector) if self.like.is_empty() && self.unlike.is_empty() => vector,
            vector => {
                let query = vector.as_ref().map(|vector| vector.row(0));
                rocchio(query, &right, &wrong, RocchioConfig::default())?
            }
        };
        Ok((vector, embedded.rewrites))
    }
}

/// What a search goes through, and by what.
struct Sought<'a> {
    engine: &'a Services,
    model: &'a OpenModel,
    pipeline: &'a Pipeline,
    /// All pictures: those that are liked need not be among those that are looked for.
    all: Arc<ExactIndex>,
    /// The pictures that are looked among.
    among: Arc<ExactIndex>,
}

impl<'a> Sought<'a> {
    fn new(
        engine: &'a Services,
        model: &'a OpenModel,
        pipeline: &'a Pipeline,
        filter: &PictureFilter,
    ) -> Result<Self, HttpProblem> {
        let all = engine.library.index()?;
        all.ensure_model(model.texts.fingerprint())?;
        let among = engine.library.index_among(filter)?;
        Ok(Self { engine, model, pipeline, all, among })
    }

    /// The pictures that are nearest to vectors. How likely they fit is not known: that was fitted to texts.
    fn rank(&self, queries: &CombinedQueries, k: usize, lowers_hubs: bool) -> Result<Ranking, HttpProblem> {
        let found = match lowers_hubs {
            true => self.pipeline.rank(queries, k, &*self.among)?,
            false => queries.search(&*self.among, k)?,
        };
        let hits: Vec<Hit> = found.into_iter().next().unwrap_or_default();
        let ids: Vec<u64> = hits.iter().map(|hit| hit.id).collect();
        let vectors = self.among.vectors(&ids)?;
        let evidence =
            vectors.iter().map(|image| Evidence { similarity: queries.similarity(0, image), fits: None });
        let evidence = evidence.collect();
        Ok(Ranking { hits, evidence, ..Ranking::default() })
    }
}

/// Pictures like one of the library's, which is left out.
pub(super) fn similar(engine: &Services, id: u64, k: usize) -> Result<SearchAnswer, HttpProblem> {
    let index = engine.library.index()?;
    let vector: Embeddings = pictures_vectors(&index, &[id])?;
    let mut hits = index.search(&vector, k + 1)?.pop().unwrap_or_default();
    hits.retain(|hit| hit.id != id);
    hits.truncate(k);
    let ranking = Ranking { hits, ..Ranking::default() };
    let hits = engine.library.resolve(&ranking)?.into_iter().map(SearchHit::from).collect();
    Ok(SearchAnswer { hits, total: index.len(), line: None, left_out: 0, rewrites: Vec::new(), took_ms: 0.0 })
}

/// Whether a step changed something.
pub(super) fn is_change(step: &TraceEntry) -> bool {
    !matches!(step, TraceEntry::Kept { .. } | TraceEntry::NotRead { .. })
}
