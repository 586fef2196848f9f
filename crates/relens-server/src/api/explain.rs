//! `POST /explain`: which pixels of a picture, and which words of a query, a score comes from.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use image::{ImageFormat, RgbImage};
use relens::embed::embeddings::Embeddings;
use relens::embed::similarity::dot;
use relens::enhancer::{EnhancedQuery, Query};
use relens::explanation::heat::{common_scale, overlay, smoothed};
use relens::explanation::integrated_gradients::{
    Attribution, IntegratedGradientsConfig, integrated_gradients,
};
use relens::explanation::words::explain_words;
use relens::explanation::{Baseline, RetrievalScore};
use relens::pictures::video;
use relens::progress::Progress;
use relens::ranking::{Pipeline, pipeline_config};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody};
use crate::engine::{OpenModel, Services};
use crate::problem::HttpProblem;

/// Points at which the score is differentiated: fewer than the command takes, for somebody waits.
const STEPS: usize = 12;
/// The longer side of the pictures that are drawn.
const DRAWN_SIDE: u32 = 384;

/// What to explain.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainRequest {
    /// What was searched for.
    query: String,
    /// The picture's number.
    id: u64,
    /// What rewrites the query; `default` if nothing is said.
    #[serde(default)]
    enhancer: Option<String>,
}

/// A word and what it adds to the score.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WordValue {
    /// The word.
    word: String,
    /// What it adds, in units of the score.
    value: f64,
}

/// One way to read the query.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExplainedSide {
    /// The text that counts most.
    text: String,
    /// The picture's similarity.
    score: f32,
    /// What each word of the text adds to it.
    words: Vec<WordValue>,
    /// A PNG in base64: warm where the picture speaks for the query, cold where it speaks against it.
    heat: String,
}

/// The query as it was typed, and as it was rewritten if that is another one; colours can be compared.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Explanation {
    /// As typed first.
    sides: Vec<ExplainedSide>,
}

/// Which pixels and words the score of a hit comes from, before and after the rewrite.
pub(super) async fn explain(
    State(engine): Shared,
    JsonBody(request): JsonBody<ExplainRequest>,
) -> Result<JsonAnswer<Explanation>, HttpProblem> {
    let gone = Arc::new(AtomicBool::new(false));
    let _waiting = WaitingClient(gone.clone());
    engine.run(move |engine| request.answer(engine, &mut WhileAwaited(gone))).await.map(JsonAnswer)
}

/// A client that waits; once it has gone, this is dropped.
struct WaitingClient(Arc<AtomicBool>);

impl Drop for WaitingClient {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends work for which nobody waits any more.
struct WhileAwaited(Arc<AtomicBool>);

impl Progress for WhileAwaited {
    fn cancelled(&mut self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A side before its colours are known.
struct Attributed {
    text: String,
    attribution: Attribution,
}

impl ExplainRequest {
    fn answer(&self, engine: &Services, progress: &mut WhileAwaited) -> Result<Explanation, HttpProblem> {
        let query = Query::new(&self.query)?;
        let image = engine.library.image(self.id)?;
        let image =
            image.ok_or_else(|| HttpProblem::not_found(format!("the library has no picture {}", self.id)))?;
        let picture = video::read_frames(&image.path).ok().and_then(|frames| frames.into_iter().next());
        let picture = picture
            .ok_or_else(|| HttpProblem::not_found("the picture's file cannot be read as a picture"))?;
        let model = engine.models.first();
        let explainer = HitExplainer::new(model, &picture)?;
        let rewriting = model.pipeline(self.enhancer.as_deref().unwrap_or(pipeline_config::DEFAULT))?;
        let mut attributed = vec![explainer.attribute(&query, &Pipeline::default(), progress)?];
        let rewritten = explainer.attribute(&query, &rewriting, progress)?;
        if rewritten.text != query.text() {
            attributed.push(rewritten);
        }
        for side in &mut attributed {
            side.attribution.map = smoothed(&side.attribution.map);
        }
        let scale = common_scale(attributed.iter().map(|side| &side.attribution.map));
        let sides = attributed.iter().map(|side| explainer.draw(side, scale));
        Ok(Explanation { sides: sides.collect::<Result<_, HttpProblem>>()? })
    }
}

/// A picture as the model reads it.
struct HitExplainer<'a> {
    model: &'a OpenModel,
    fitted: RgbImage,
    prepared: Vec<f32>,
    baseline: Vec<f32>,
    embedding: Embeddings,
}

impl<'a> HitExplainer<'a> {
    fn new(model: &'a OpenModel, picture: &RgbImage) -> Result<Self, HttpProblem> {
        let preprocessor = model.retriever.preprocessor();
        let fitted = preprocessor.fit(picture).map_err(relens::error::Error::from)?.into_owned();
        let baseline = Baseline::Blur.prepared(&fitted, preprocessor)?;
        let mut prepared = vec![0.0; baseline.len()];
        preprocessor.normalise_into(&fitted, &mut prepared).map_err(relens::error::Error::from)?;
        let embedding = model.embed_images(std::slice::from_ref(&fitted))?;
        Ok(Self { model, fitted, prepared, baseline, embedding })
    }

    fn attribute(
        &self,
        query: &Query,
        pipeline: &Pipeline,
        progress: &mut WhileAwaited,
    ) -> Result<Attributed, HttpProblem> {
        let mut embedded = pipeline.embed(std::slice::from_ref(query), &*self.model.texts, None)?;
        // Where a query has several vectors, its score is that of the nearest.
        let picture = self.embedding.row(0);
        let vectors = embedded.vectors.vectors();
        let nearest = vectors.iter().max_by(|one, other| dot(one, picture).total_cmp(&dot(other, picture)));
        let nearest = nearest.ok_or_else(|| HttpProblem::internal("the enhancer gave no vector"))?;
        let score = RetrievalScore::new(&self.model.retriever, nearest)?;
        let config = IntegratedGradientsConfig { steps: STEPS, ..IntegratedGradientsConfig::default() };
        let attribution = integrated_gradients(&score, &self.prepared, &self.baseline, config, progress)?;
        let text = embedded.enhanced.pop().map_or_else(|| query.text().to_owned(), heaviest);
        Ok(Attributed { text, attribution })
    }

    fn draw(&self, side: &Attributed, scale: f32) -> Result<ExplainedSide, HttpProblem> {
        let drawn = overlay(&self.fitted, &side.attribution.map, scale, DRAWN_SIDE);
        let mut png = Cursor::new(Vec::new());
        drawn
            .write_to(&mut png, ImageFormat::Png)
            .map_err(|error| HttpProblem::internal(error.to_string()))?;
        let words = explain_words(&*self.model.texts, &side.text, self.embedding.row(0))?;
        let words = words.words.into_iter().map(|word| WordValue { word: word.word, value: word.value });
        Ok(ExplainedSide {
            text: side.text.clone(),
            score: side.attribution.score,
            words: words.collect(),
            heat: BASE64.encode(png.get_ref()),
        })
    }
}

/// The text that counts most.
fn heaviest(enhanced: EnhancedQuery) -> String {
    let texts = enhanced.texts.into_iter();
    let heaviest = texts.reduce(|best, text| if text.weight > best.weight { text } else { best });
    heaviest.map(|text| text.text).unwrap_or_default()
}
