//! Recall on the validation split.

use candle_core::{Device, Tensor};
use relens::embed::embeddings::Embeddings;
use relens::evaluation::{GroundTruthRanks, RankingMetrics};
use relens::ranking::CombinedQueries;
use serde_json::{Map, Value, json};

use super::config::{EvaluationConfig, RecallMetric};
use super::corpus::{Corpus, ImageTexts};
use super::step::StepContext;
use crate::Result;
use crate::run::stage::Measurement;

/// Rows that are embedded at once.
const ROWS: usize = 256;
/// Feature maps that go through the end of the trunk at once.
const MAPS: usize = 32;
/// The cut-offs that are reported.
const RECALL_AT: [usize; 3] = [1, 5, 10];
/// Best pictures that a sample shows.
const SAMPLE_PICTURES: usize = 3;

/// What one measurement found.
#[derive(Debug)]
pub(in crate::stages) struct RetrievalMeasurement {
    image_retrieval: RankingMetrics,
    text_retrieval: RankingMetrics,
    ranks: GroundTruthRanks,
    images: Embeddings,
    texts: Embeddings,
}

impl RetrievalMeasurement {
    /// Ranks embeddings of the validation pictures and of their captions, in order.
    pub(in crate::stages) fn of(corpus: &Corpus, images: Embeddings, texts: Embeddings) -> Result<Self> {
        let image_of_caption: Vec<usize> = corpus
            .validation()
            .iter()
            .enumerate()
            .flat_map(|(index, picture)| picture.captions.iter().map(move |_| index))
            .collect();
        let queries = CombinedQueries::single(texts.clone());
        let ranks = GroundTruthRanks::compute(&images, &queries, &image_of_caption)?;
        Ok(Self {
            image_retrieval: RankingMetrics::from_ranks(&ranks.text_to_image, &RECALL_AT)?,
            text_retrieval: RankingMetrics::from_ranks(&ranks.image_to_text, &RECALL_AT)?,
            ranks,
            images,
            texts,
        })
    }

    /// The numbers under clip_benchmark's names.
    pub(in crate::stages) fn metrics(&self) -> Map<String, Value> {
        let mut record = Map::new();
        let directions = [("image", &self.image_retrieval), ("text", &self.text_retrieval)];
        for (name, metrics) in directions {
            for (k, recall) in &metrics.recall {
                record.insert(format!("{name}_retrieval_recall@{k}"), json!(recall));
            }
            record.insert(format!("{name}_retrieval_median_rank"), json!(metrics.median_rank));
        }
        record
    }

    /// The number that checkpoints are compared by, as a fraction.
    fn selection(&self, metric: RecallMetric) -> f64 {
        let cutoffs: &[usize] = match metric {
            RecallMetric::MeanRecallAt1 => &RECALL_AT[..1],
            RecallMetric::MeanRecall => &RECALL_AT,
        };
        let recalls = [&self.image_retrieval, &self.text_retrieval].into_iter().flat_map(|metrics| {
            metrics.recall.iter().filter(|(k, _)| cutoffs.contains(k)).map(|(_, recall)| *recall)
        });
        recalls.sum::<f64>() / (2 * cutoffs.len()) as f64
    }

    /// The measurement as the loop logs it.
    pub(in crate::stages) fn logged(
        &self,
        corpus: &Corpus,
        evaluation: &EvaluationConfig,
        step: u64,
    ) -> Result<Measurement> {
        Ok(Measurement {
            metrics: self.metrics(),
            selection: self.selection(evaluation.metric),
            samples: self.samples(corpus, step, evaluation.samples)?,
        })
    }

    /// Some captions, spread over the split, with what they found.
    fn samples(&self, corpus: &Corpus, step: u64, count: usize) -> Result<Vec<Map<String, Value>>> {
        let pictures = corpus.validation();
        let captions: Vec<(usize, usize)> = caption_positions(pictures);
        let stride = (captions.len() / count.max(1)).max(1);
        let mut samples = Vec::with_capacity(count);
        for (caption, &(picture, text)) in captions.iter().enumerate().step_by(stride).take(count) {
            let scores = self.images.scores(self.texts.row(caption))?;
            let mut order: Vec<usize> = (0..scores.len()).collect();
            order.sort_by(|&left, &right| scores[right].total_cmp(&scores[left]));
            let best: Vec<Value> = order
                .iter()
                .take(SAMPLE_PICTURES)
                .map(|&index| json!({"picture": pictures[index].name(), "score": scores[index]}))
                .collect();
            samples.push(Map::from_iter([
                ("step".to_owned(), json!(step)),
                ("query".to_owned(), json!(corpus.texts[text])),
                ("picture".to_owned(), json!(pictures[picture].name())),
                ("rank".to_owned(), json!(self.ranks.text_to_image.get(caption))),
                ("best".to_owned(), Value::Array(best)),
            ]));
        }
        Ok(samples)
    }
}

/// (picture, text) of every validation caption.
fn caption_positions(pictures: &[ImageTexts]) -> Vec<(usize, usize)> {
    let of = |(index, picture): (usize, &ImageTexts)| -> Vec<(usize, usize)> {
        picture.captions.iter().map(|&text| (index, text)).collect()
    };
    pictures.iter().enumerate().flat_map(of).collect()
}

impl StepContext<'_> {
    /// Measures the weights as they are now.
    pub(super) fn measure(&self) -> Result<RetrievalMeasurement> {
        RetrievalMeasurement::of(&self.data.corpus, self.validation_images()?, self.validation_texts()?)
    }

    fn validation_images(&self) -> Result<Embeddings> {
        let data = self.data;
        let rows = &data.image_views[0];
        let (mut start, end) = (data.corpus.training_pictures, rows.rows());
        let mut embeddings = Embeddings::new(data.pretrained.config.model_cfg.embed_dim);
        let maps = data.feature_maps.as_ref().filter(|_| self.image_live);
        while start < end {
            let stop = (start + maps.map_or(ROWS, |_| MAPS)).min(end);
            let features = match maps {
                Some(maps) => self.network.image_features(&maps.full(start..stop)?, maps.block)?.detach(),
                None => {
                    let mut values = rows.to_f32(start..stop);
                    let standardization = self.network.image_standardization();
                    values.chunks_mut(rows.width()).for_each(|row| standardization.apply(row));
                    Tensor::from_vec(values, (stop - start, rows.width()), &Device::Cpu)?
                }
            };
            append(&mut embeddings, &self.network.embed_image_features(&features)?)?;
            start = stop;
        }
        Ok(embeddings)
    }

    fn validation_texts(&self) -> Result<Embeddings> {
        let data = self.data;
        let texts: Vec<usize> =
            data.corpus.validation().iter().flat_map(|picture| picture.captions.iter().copied()).collect();
        let mut embeddings = Embeddings::new(data.pretrained.config.model_cfg.embed_dim);
        for chunk in texts.chunks(ROWS) {
            let features = if self.text_live {
                let texts: Vec<&str> = chunk.iter().map(|&text| data.corpus.texts[text].as_str()).collect();
                let tokens = data.tokenizer.encode_batch(&texts)?;
                self.network.text_features(&tokens, None)?.detach()
            } else {
                let rows = &data.text_versions[0];
                let mut values = vec![0f32; chunk.len() * rows.width()];
                for (row, &text) in values.chunks_mut(rows.width()).zip(chunk) {
                    rows.read(text, row);
                    data.text_standardization.apply(row);
                }
                Tensor::from_vec(values, (chunk.len(), rows.width()), &Device::Cpu)?
            };
            append(&mut embeddings, &self.network.embed_text_features(&features)?)?;
        }
        Ok(embeddings)
    }
}

/// Appends the rows of `[rows, dim]`.
pub(in crate::stages) fn append(embeddings: &mut Embeddings, rows: &Tensor) -> Result<()> {
    let values = rows.flatten_all()?.to_vec1::<f32>()?;
    let rows = Embeddings::from_rows(embeddings.dim(), values)?;
    rows.ensure_finite("validation embeddings")?;
    Ok(embeddings.append(&rows)?)
}
