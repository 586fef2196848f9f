//! Pictures and captions of a data set, as rewriters see them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use relens::dataset::{Dataset, DatasetImage};
use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// Where pictures and captions come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// The annotations, in any format that [`relens::dataset`] reads.
    pub annotations: PathBuf,
    /// Where the pictures lie.
    pub images: PathBuf,
    /// The split to learn from. Default `train`; several are joined by `+`.
    #[serde(default = "train_split")]
    pub train_split: String,
    /// The split to choose the checkpoint by. Default `val`.
    #[serde(default = "validation_split")]
    pub validation_split: String,
    /// The last so many training pictures, which no rewriter learns from: a gate is fitted on them. Default 0.
    #[serde(default)]
    pub held_out: usize,
}

fn train_split() -> String {
    "train".to_owned()
}

fn validation_split() -> String {
    "val".to_owned()
}

/// Training and validation pictures.
#[derive(Debug, Clone)]
pub struct RewritingCorpus {
    /// The pictures to learn from.
    pub training: Vec<DatasetImage>,
    /// Training pictures that are kept from rewriters.
    pub held_out: Vec<DatasetImage>,
    /// The pictures to measure on.
    pub validation: Vec<DatasetImage>,
    by_id: HashMap<u64, usize>,
    by_name: HashMap<String, usize>,
}

impl RewritingCorpus {
    /// Reads both splits.
    ///
    /// # Errors
    /// Annotations that cannot be read, a split that is not there or has no captions, a picture in both splits.
    pub fn read(config: &CorpusConfig) -> Result<Self> {
        let dataset = Dataset::open(&config.annotations, &config.images)?;
        let pictures = |split: &str| -> Result<Vec<DatasetImage>> {
            let images = dataset.split(split)?.images.into_iter();
            Ok(images.filter(|image| !image.captions.is_empty()).collect())
        };
        let (mut training, validation) =
            (pictures(&config.train_split)?, pictures(&config.validation_split)?);
        for (field, split) in [("train_split", &training), ("validation_split", &validation)] {
            if split.len() < 2 {
                return Err(TrainingError::Data {
                    path: config.annotations.clone(),
                    reason: format!("`{field}`: expected two pictures with captions, found {}", split.len()),
                });
            }
        }
        let seen: HashSet<&Path> = training.iter().map(|picture| picture.path.as_path()).collect();
        if let Some(both) = validation.iter().find(|picture| seen.contains(picture.path.as_path())) {
            return Err(TrainingError::Data {
                path: both.path.clone(),
                reason: "this picture is in both splits; expected splits without a common picture".to_owned(),
            });
        }
        let held_out = training.split_off(training.len().saturating_sub(config.held_out));
        if training.len() < 2 {
            let most = held_out.len().saturating_sub(2);
            let expected = format!("at most {most}, so that two pictures are left");
            return Err(TrainingError::setting("data.held_out", expected, &config.held_out));
        }
        let by_id = training.iter().enumerate().map(|(index, picture)| (picture.id, index)).collect();
        let by_name = training
            .iter()
            .enumerate()
            .map(|(index, picture)| (dataset.relative_name(picture), index))
            .collect();
        Ok(Self { training, held_out, validation, by_id, by_name })
    }

    /// The position in `training` of a picture's number; `None` for pictures of other splits.
    pub fn training_by_id(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The position in `training` of a picture's path, relative to the directory of pictures.
    pub fn training_by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Every validation caption with the position of its picture; `limit` of them, evenly spread (0: all).
    pub fn validation_queries(&self, limit: usize) -> Vec<(usize, &str)> {
        let all: Vec<(usize, &str)> = self
            .validation
            .iter()
            .enumerate()
            .flat_map(|(index, picture)| {
                picture.captions.iter().map(move |caption| (index, caption.as_str()))
            })
            .collect();
        if limit == 0 || limit >= all.len() {
            return all;
        }
        (0..limit).map(|place| all[place * all.len() / limit]).collect()
    }
}
