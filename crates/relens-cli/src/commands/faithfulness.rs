//! `relens faithfulness`: do explanations of pixels beat chance?

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use relens::dataset::{Dataset, DatasetImage};
use relens::embed::retriever::Retriever;
use relens::error::Error;
use relens::explanation::faithfulness::{Faithfulness, faithfulness, random_order};
use relens::explanation::{Cells, DifferentiableScore, RetrievalScore};
use relens::progress::{Progress, Silent};
use relens_models::image_preprocessing::decode_image;
use serde::Serialize;

use crate::interrupt;
use crate::model_choice::ModelArguments;
use crate::output::{self, Output};
use crate::pixel_explanation::PixelArguments;
use crate::reporter::Reporter;
use relens::counted::counted;

/// Measure whether heat maps find what a score depends on.
///
/// Each picture's first caption is the query. Deletion replaces the cells that a map calls important by the baseline,
/// most important first, and takes the mean of the scores on the way (smaller is better); insertion puts them into the
/// baseline (larger is better). The same is done with a random map; the gain is insertion less deletion as a share of
/// the score that there is to lose, and its difference to chance has a 95 % interval.
#[derive(Debug, Args)]
pub(crate) struct FaithfulnessArguments {
    /// The captions.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    /// The part of the dataset to measure, such as val or test. Without it, the whole dataset.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// How many pictures, taken evenly from the whole.
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    /// Cells in each direction.
    #[arg(long, value_name = "NUMBER", default_value = "13", value_parser = clap::value_parser!(u8).range(2..))]
    cells: u8,

    /// Points of each curve between its ends.
    #[arg(long, value_name = "NUMBER", default_value = "11", value_parser = clap::value_parser!(u8).range(1..))]
    points: u8,

    #[command(flatten)]
    pixels: PixelArguments,

    #[command(flatten)]
    model: ModelArguments,

    /// Print one JSON object: {"pictures", "map", "random", "difference", "completeness"}.
    #[arg(long)]
    json: bool,
}

/// Means over pictures.
#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Means {
    deletion: f64,
    insertion: f64,
    gain: f64,
}

/// What was measured on one picture.
struct MeasuredMaps {
    map: Faithfulness,
    random: Faithfulness,
    /// Completeness errors, as they are and before the steps were adjusted.
    completeness: Option<[f64; 2]>,
}

/// Completeness errors over all pictures; none for masks.
#[derive(Debug, Clone, Copy, Serialize)]
struct Completeness {
    median: f64,
    largest: f64,
    unadjusted_median: f64,
    unadjusted_largest: f64,
}

/// The mean difference of gains, map less random, and its 95 % interval.
#[derive(Debug, Clone, Copy, Serialize)]
struct Difference {
    mean: f64,
    lower: f64,
    upper: f64,
    /// The share of pictures where the map is better.
    better: f64,
}

impl FaithfulnessArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        let mut dataset = Dataset::open(&self.annotations, &self.images)?;
        if let Some(split) = &self.split {
            dataset = dataset.split(split)?;
        }
        let retriever = self.model.open()?;
        let count = dataset.images.len().min(self.limit as usize);
        let mut progress = Reporter::default();
        progress.begin("pictures", count as u64);
        let mut measured = Vec::with_capacity(count);
        for number in 0..count {
            if progress.cancelled() {
                return Err(Error::Cancelled.into());
            }
            let place = number * dataset.images.len() / count;
            if let Some(image) = dataset.images.get(place) {
                measured.extend(self.measure(&retriever, image, number as u64)?);
            }
            progress.advance(number as u64 + 1);
        }
        progress.end();
        let difference = difference(&measured).context("expected at least two pictures with captions")?;
        let map = means(measured.iter().map(|measured| &measured.map));
        let random = means(measured.iter().map(|measured| &measured.random));
        self.show(measured.len(), [map, random], difference, completeness(&measured))
    }

    /// The map's and the random map's curves; nothing for a picture without captions.
    fn measure(
        &self,
        retriever: &Retriever,
        image: &DatasetImage,
        seed: u64,
    ) -> Result<Option<MeasuredMaps>> {
        let Some(caption) = image.captions.first() else { return Ok(None) };
        let query = retriever.embed_texts(&[caption])?;
        let score = RetrievalScore::new(retriever, query.row(0))?;
        let pair = self.pixels.prepare(retriever, &decode_image(&image.path)?)?;
        let explanation = self.pixels.explain(&score, &pair, &mut Silent)?;
        let cells = Cells { size: score.size(), side: usize::from(self.cells) };
        let run = |order: &[usize]| {
            faithfulness(&score, (&pair.image, &pair.baseline), cells, order, usize::from(self.points))
        };
        Ok(Some(MeasuredMaps {
            map: run(&explanation.map.ranked_cells(cells))?,
            random: run(&random_order(cells, seed))?,
            completeness: explanation.completeness_errors(),
        }))
    }

    fn show(
        &self,
        pictures: usize,
        [map, random]: [Means; 2],
        difference: Difference,
        completeness: Option<Completeness>,
    ) -> Result<()> {
        let mut output = Output::new();
        if self.json {
            let report = serde_json::json!({
                "pictures": pictures, "method": self.pixels.method, "steps": self.pixels.steps(),
                "baseline": self.pixels.baseline, "map": map, "random": random, "difference": difference,
                "completeness": completeness,
            });
            writeln!(output.writer, "{report}")?;
            return Ok(output.writer.flush()?);
        }
        let mut table = output::table(["", "deletion", "insertion", "gain"]);
        for (name, Means { deletion, insertion, gain }) in [("map", map), ("random", random)] {
            let values = [deletion, insertion, gain].map(|value| format!("{value:.4}"));
            table.add_row(std::iter::once(name.to_owned()).chain(values));
        }
        output::align_numbers(&mut table, 1..4);
        writeln!(output.writer, "{table}")?;
        let Difference { mean, lower, upper, better } = difference;
        writeln!(
            output.writer,
            "{}; gain over random {mean:+.4}, 95 % interval\n[{lower:+.4}, {upper:+.4}]; the map is better on {:.1} %",
            counted(pictures, "picture"),
            100.0 * better
        )?;
        if let Some(Completeness { median, largest, unadjusted_median, unadjusted_largest }) = completeness {
            let [median, largest, before, largest_before] =
                [median, largest, unadjusted_median, unadjusted_largest].map(|error| 100.0 * error);
            writeln!(
                output.writer,
                "completeness error {median:.2} %, at most {largest:.2} %; before steps were\nadjusted {before:.2} %, at most {largest_before:.2} %"
            )?;
        }
        Ok(output.writer.flush()?)
    }
}

fn means<'a>(of: impl Iterator<Item = &'a Faithfulness>) -> Means {
    let (mut sums, mut count) = (Means::default(), 0.0f64);
    for found in of {
        sums.deletion += found.deletion;
        sums.insertion += found.insertion;
        sums.gain += found.gain();
        count += 1.0;
    }
    let count = count.max(1.0);
    Means { deletion: sums.deletion / count, insertion: sums.insertion / count, gain: sums.gain / count }
}

fn completeness(measured: &[MeasuredMaps]) -> Option<Completeness> {
    let of = |which: usize| -> Option<(f64, f64)> {
        let errors = measured.iter().map(|measured| Some(measured.completeness?[which]));
        let mut errors = errors.collect::<Option<Vec<f64>>>()?;
        errors.sort_by(f64::total_cmp);
        Some((*errors.get(errors.len() / 2)?, *errors.last()?))
    };
    let ((median, largest), (unadjusted_median, unadjusted_largest)) = (of(0)?, of(1)?);
    Some(Completeness { median, largest, unadjusted_median, unadjusted_largest })
}

fn difference(measured: &[MeasuredMaps]) -> Option<Difference> {
    const NORMAL_QUANTILE: f64 = 1.96;
    let differences: Vec<f64> = measured.iter().map(|pair| pair.map.gain() - pair.random.gain()).collect();
    if differences.len() < 2 {
        return None;
    }
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half = NORMAL_QUANTILE * (variance / count).sqrt();
    let better = differences.iter().filter(|value| **value > 0.0).count() as f64 / count;
    Some(Difference { mean, lower: mean - half, upper: mean + half, better })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_the_mean() {
        let found =
            |deletion, insertion| Faithfulness { deletion, insertion, score: 1.0, baseline_score: 0.0 };
        let pairs = [0.1, 0.2, 0.3, 0.4].map(|gain| MeasuredMaps {
            map: found(0.2, 0.2 + gain),
            random: found(0.5, 0.5),
            completeness: Some([0.0, gain]),
        });
        let difference = difference(&pairs).unwrap();
        assert!((difference.mean - 0.25).abs() < 1e-9);
        // Standard deviation 0.1291 of four values.
        assert!((difference.upper - difference.mean - 1.96 * 0.129_099 / 2.0).abs() < 1e-5);
        assert_eq!(difference.better, 1.0);
        assert!(super::difference(&pairs[..1]).is_none());
        let found = completeness(&pairs).unwrap();
        assert_eq!((found.largest, found.unadjusted_median, found.unadjusted_largest), (0.0, 0.3, 0.4));
    }
}
