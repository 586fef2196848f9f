//! What is asked of a sample, and the libraries in which it is asked.

use std::num::NonZeroUsize;
use std::ops::Range;

use rand::RngExt;
use rand::seq::SliceRandom;
use relens::dataset::{AskedQueries, Dataset, DatasetImage};
use relens::enhancer::Query;
use relens_models::regular_file::{self, FileKind};

use super::CalibrationSample;
use crate::random::stream;
use crate::{Result, TrainingError};

/// A query, and the picture of the dataset that it is for.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) query: Query,
    pub(super) image: Option<usize>,
    pub(super) caption: bool,
}

/// What is asked of a sample.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) present: Vec<Question>,
    pub(super) absent: Vec<Question>,
}

impl Questions {
    pub(super) fn read(sample: &CalibrationSample, dataset: &Dataset) -> Result<Self> {
        let mut present = Vec::new();
        let mut ask = |images: &[DatasetImage], most: usize, caption: bool| -> Result<()> {
            for (number, image) in images.iter().enumerate() {
                for text in image.captions.iter().take(most) {
                    present.push(Question { query: Query::new(text)?, image: Some(number), caption });
                }
            }
            Ok(())
        };
        ask(&dataset.images, sample.captions, true)?;
        if let Some(path) = &sample.queries {
            for asked in AskedQueries::open(path, dataset, &sample.query_field)?.kinds.values() {
                ask(&asked.images, usize::MAX, false)?;
            }
        }
        let lines = regular_file::read_to_string(&sample.absent, FileKind::Settings)?;
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        let absent = lines.map(|line| Ok(Question { query: Query::new(line)?, image: None, caption: false }));
        Ok(Self { present, absent: absent.collect::<Result<_>>()? })
    }

    pub(super) fn count(&self) -> usize {
        self.present.len() + self.absent.len()
    }

    /// What is asked of the library that got the `places` among `total` of the pictures as they were dealt out: queries for
    /// its pictures, and a share of those that nothing fits, the larger the more pictures it has.
    pub(super) fn of_library(&self, library: &[usize], places: Range<usize>, total: usize) -> Vec<Question> {
        let mut inside = vec![false; total];
        for &image in library {
            if let Some(inside) = inside.get_mut(image) {
                *inside = true;
            }
        }
        let is_inside = |question: &&Question| {
            question.image.is_some_and(|image| inside.get(image).copied().unwrap_or_default())
        };
        let count = self.absent.len().max(1);
        let absent = self.absent.iter().enumerate();
        let absent = absent.filter(|(number, _)| places.contains(&(number * total / count)));
        let absent = absent.map(|(_, question)| question);
        self.present.iter().filter(is_inside).chain(absent).cloned().collect()
    }
}

/// Deals out pictures to libraries of random sizes within bounds, so that a picture is as likely in one of 40 to 80 pictures
/// as in one of 400 to 800. What is too little for a library in the end goes to the last one.
///
/// # Errors
/// The largest size is below the smallest.
pub(super) fn deal(pictures: usize, sizes: Option<[NonZeroUsize; 2]>, seed: u64) -> Result<Vec<Vec<usize>>> {
    let all: Vec<usize> = (0..pictures).collect();
    let Some([smallest, largest]) = sizes.map(|sizes| sizes.map(NonZeroUsize::get)) else {
        return Ok(vec![all]);
    };
    if smallest > largest {
        let expected = format!("a largest size of at least {smallest}");
        return Err(TrainingError::setting("library_sizes", &expected, &largest));
    }
    let mut rng = stream(seed, "libraries", 0);
    let mut order = all;
    order.shuffle(&mut rng);
    let mut libraries: Vec<Vec<usize>> = Vec::new();
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        // Sizes of a density of 1/size²: a library of twice the size holds twice the pictures.
        let (most, least) = (1.0 / smallest as f64, 1.0 / largest as f64);
        let size = (1.0 / (most - rng.random::<f64>() * (most - least))).round() as usize;
        let (library, left) = rest.split_at(size.clamp(smallest, largest).min(rest.len()));
        match libraries.last_mut() {
            Some(last) if library.len() < smallest => last.extend(library),
            _ => libraries.push(library.to_vec()),
        }
        rest = left;
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(smallest: usize, largest: usize) -> Option<[NonZeroUsize; 2]> {
        Some([smallest, largest].map(|size| NonZeroUsize::new(size).unwrap()))
    }

    #[test]
    fn every_picture_is_dealt_out_once_and_all_sizes_get_their_share() {
        let libraries = deal(600_000, sizes(40, 1000), 3).unwrap();
        let mut dealt = libraries.concat();
        dealt.sort_unstable();
        assert_eq!(dealt, (0..600_000).collect::<Vec<_>>());
        assert!(libraries.iter().rev().skip(1).all(|library| (40..=1000).contains(&library.len())));
        let share = |range: Range<usize>| {
            let within = libraries.iter().map(Vec::len).filter(|size| range.contains(size));
            within.sum::<usize>() as f64 / 600_000.0
        };
        // ln 2 / ln 25 for each doubling.
        for range in [40..80, 80..160, 160..320, 320..640] {
            assert!((share(range.clone()) - 0.215).abs() < 0.06, "{range:?}: {}", share(range.clone()));
        }
        assert_eq!(
            deal(600_000, sizes(40, 1000), 3).unwrap(),
            libraries,
            "the same seed, the same libraries"
        );
        assert_ne!(deal(600_000, sizes(40, 1000), 4).unwrap(), libraries);
        assert_eq!(deal(3, None, 0).unwrap(), [[0, 1, 2]]);
        assert_eq!(deal(3, sizes(40, 1000), 0).unwrap().len(), 1);
        assert!(deal(3, sizes(5, 4), 0).is_err());
    }

    #[test]
    fn every_query_is_asked_once_and_in_the_library_of_its_picture() {
        let question =
            |image: Option<usize>| Question { query: Query::new("a dog").unwrap(), image, caption: true };
        let questions = Questions {
            present: (0..10).map(|image| question(Some(image))).collect(),
            absent: (0..5).map(|_| question(None)).collect(),
        };
        let libraries = [vec![7, 1, 0, 9], vec![2, 3, 4, 5], vec![6, 8]];
        let places = [0..4, 4..8, 8..10];
        let asked: Vec<Vec<Question>> = libraries
            .iter()
            .zip(places)
            .map(|(library, places)| questions.of_library(library, places, 10))
            .collect();
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [4 + 2, 4 + 2, 2 + 1]);
        assert!(asked[1].iter().all(|question| question.image.is_none_or(|image| (2..6).contains(&image))));
        assert_eq!(asked.iter().map(Vec::len).sum::<usize>(), questions.count());
    }
}
