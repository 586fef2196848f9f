//! Queries with what they should become, and their pictures, all embedded.

use candle_core::{Device, Tensor};
use relens::embed::embeddings::Embeddings;
use relens::embed::retriever::Retriever;

use super::config::SoftConfig;
use crate::data::CandidateQuery;
use crate::stages::rewriter::{Environment, scored_candidates};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Texts that are embedded at once.
const TEXTS: usize = 512;

/// Everything that a run trains on.
pub(super) struct Materials {
    pub(super) training: TrainingQueries,
    pub(super) validation: ValidationQueries,
    /// The fingerprint of the retriever in whose space all this is.
    pub(super) retriever: String,
}

/// Queries, row by row.
pub(super) struct TrainingQueries {
    pub(super) queries: Embeddings,
    /// The mean of the accepted rewrites' embeddings, normalised; the query itself where there is none.
    pub(super) targets: Embeddings,
    /// Whether there is an accepted rewrite.
    pub(super) has_rewrite: Vec<bool>,
    /// Each query's picture.
    pub(super) picture: Vec<usize>,
    pub(super) pictures: Embeddings,
}

/// Captions to measure on.
pub(super) struct ValidationQueries {
    pub(super) queries: Embeddings,
    pub(super) picture: Vec<usize>,
    pub(super) pictures: Embeddings,
}

impl Materials {
    /// Scores candidates and embeds all texts and pictures; what an earlier run has kept is taken from the cache.
    pub(super) fn prepare(config: &SoftConfig, progress: &mut dyn Progress) -> Result<Self> {
        let mut environment = Environment::for_data(&config.data, &config.retriever)?;
        let queries = scored_candidates(&config.candidates, &config.reward, &mut environment, progress)?;
        let retriever = environment.retriever()?;
        let training = TrainingQueries {
            queries: Embeddings::new(retriever.dim()),
            targets: Embeddings::new(retriever.dim()),
            has_rewrite: Vec::new(),
            picture: Vec::new(),
            pictures: environment.training_pictures(progress)?,
        };
        let training = training.filled(&queries, config.objective.min_gain, &retriever, progress)?;
        let (picture, texts): (Vec<usize>, Vec<&str>) =
            environment.corpus.validation_queries(0).into_iter().unzip();
        let queries = embed(&retriever, &texts, progress)?;
        let pictures = environment.validation_pictures(progress)?;
        let validation = ValidationQueries { queries, picture, pictures };
        Ok(Self { training, validation, retriever: retriever.fingerprint().to_owned() })
    }

    pub(super) fn dim(&self) -> usize {
        self.training.queries.dim()
    }
}

impl TrainingQueries {
    fn filled(
        mut self,
        queries: &[CandidateQuery],
        min_gain: f64,
        retriever: &Retriever,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        let accepted = |query: &CandidateQuery| -> Vec<String> {
            let gains = |reward: Option<f32>| reward.is_some_and(|reward| f64::from(reward) > min_gain);
            let candidates = query.candidates.iter().filter(|candidate| gains(candidate.reward));
            candidates.map(|candidate| candidate.text.clone()).collect()
        };
        let rewrites: Vec<Vec<String>> = queries.iter().map(accepted).collect();
        let texts: Vec<&str> = queries
            .iter()
            .zip(&rewrites)
            .flat_map(|(query, rewrites)| {
                std::iter::once(query.query.as_str()).chain(rewrites.iter().map(String::as_str))
            })
            .collect();
        let vectors = embed(retriever, &texts, progress)?;
        let mut row = 0;
        for (query, rewrites) in queries.iter().zip(&rewrites) {
            let own = vectors.row(row);
            let of_rewrites: Vec<usize> = (row + 1..row + 1 + rewrites.len()).collect();
            self.queries.push(own)?;
            self.targets.push(&mean(own, &vectors.select(&of_rewrites)?)?)?;
            self.has_rewrite.push(!rewrites.is_empty());
            self.picture.push(query.picture);
            row += 1 + rewrites.len();
        }
        if !self.has_rewrite.contains(&true) {
            return Err(TrainingError::setting(
                "objective.min_gain",
                "a reward that one of the candidates reaches",
                &min_gain,
            ));
        }
        Ok(self)
    }

    pub(super) fn len(&self) -> usize {
        self.picture.len()
    }
}

/// The normalised mean of the rows; `own` if there are none.
fn mean(own: &[f32], rows: &Embeddings) -> Result<Vec<f32>> {
    if rows.is_empty() {
        return Ok(own.to_vec());
    }
    let mut sum = vec![0f32; own.len()];
    for row in rows.iter() {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let mut mean = Embeddings::from_rows(own.len(), sum)?;
    mean.normalise();
    Ok(mean.into_vec())
}

fn embed(retriever: &Retriever, texts: &[&str], progress: &mut dyn Progress) -> Result<Embeddings> {
    progress.begin("texts", texts.len() as u64);
    let mut embeddings = Embeddings::new(retriever.dim());
    for texts in texts.chunks(TEXTS) {
        embeddings.append(&retriever.embed_texts(texts)?)?;
        progress.advance(embeddings.rows() as u64);
        if progress.cancelled() {
            return Err(TrainingError::Interrupted { step: 0 });
        }
    }
    progress.end();
    Ok(embeddings)
}

/// Embeddings as a tensor, `[rows, dim]`.
pub(super) fn tensor(embeddings: &Embeddings) -> Result<Tensor> {
    let shape = (embeddings.rows(), embeddings.dim());
    Ok(Tensor::from_slice(embeddings.as_slice(), shape, &Device::Cpu)?)
}
