//! Training and validation pictures with their texts, extra captions included.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use relens::dataset::Dataset;
use relens::dataset::rewrites::for_each_record;
use serde::Deserialize;

use super::config::DataConfig;
use crate::{Result, TrainingError};

/// One picture with the positions of its texts in [`Corpus::texts`].
#[derive(Debug, Clone)]
pub(in crate::stages) struct ImageTexts {
    pub(in crate::stages) path: PathBuf,
    /// Its captions.
    pub(in crate::stages) captions: Vec<usize>,
    /// Further texts that came from other files.
    pub(in crate::stages) extra_captions: Vec<usize>,
    /// The rewrites of each of its captions.
    pub(in crate::stages) rewrites: Vec<Vec<usize>>,
}

impl ImageTexts {
    /// The file's name without its directories.
    pub(in crate::stages) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Texts of other files than the annotations.
#[derive(Debug, Default)]
struct FurtherTexts {
    /// By the picture's number.
    extra_captions: HashMap<u64, Vec<String>>,
    /// By the caption.
    rewrites: HashMap<String, Vec<String>>,
}

/// Pictures and texts of training and validation in one numbering: training first.
#[derive(Debug, Clone)]
pub(in crate::stages) struct Corpus {
    pub(in crate::stages) pictures: Vec<ImageTexts>,
    pub(in crate::stages) texts: Vec<String>,
    /// The pictures before this are for training.
    pub(in crate::stages) training_pictures: usize,
    /// The texts before this are for training.
    pub(in crate::stages) training_texts: usize,
}

impl Corpus {
    /// Reads both splits.
    ///
    /// # Errors
    /// Annotations that cannot be read, a split that is not there, has a picture without a file, no captions, or
    /// shares a picture with the other split; a broken line of an extra caption file.
    pub(in crate::stages) fn read(config: &DataConfig) -> Result<Self> {
        let dataset = Dataset::open(&config.annotations, &config.images).map_err(TrainingError::from)?;
        let train = dataset.split(&config.train_split)?;
        let validation = dataset.split(&config.validation_split)?;
        for (field, split) in [("data.train_split", &train), ("data.validation_split", &validation)] {
            split.ensure_images_exist()?;
            if split.caption_count() == 0 || split.images.len() < 2 {
                return Err(TrainingError::Data {
                    path: config.annotations.clone(),
                    reason: format!(
                        "`{field}`: expected at least two pictures with captions, found {} pictures, {} captions",
                        split.images.len(),
                        split.caption_count()
                    ),
                });
            }
        }
        refuse_overlap(config, &train, &validation)?;
        let further = FurtherTexts {
            extra_captions: read_extra_captions(&config.extra_captions)?,
            rewrites: read_rewrites(&config.rewrites)?,
        };
        let mut corpus =
            Self { pictures: Vec::new(), texts: Vec::new(), training_pictures: 0, training_texts: 0 };
        corpus.add(&train, &further);
        corpus.training_pictures = corpus.pictures.len();
        corpus.training_texts = corpus.texts.len();
        corpus.add(&validation, &FurtherTexts::default());
        Ok(corpus)
    }

    fn add(&mut self, split: &Dataset, further: &FurtherTexts) {
        for image in split.images.iter().filter(|image| !image.captions.is_empty()) {
            let captions = self.add_texts(&image.captions);
            let extra = further.extra_captions.get(&image.id);
            let extra_captions = self.add_texts(extra.map_or(&[], Vec::as_slice));
            let rewrites_of = |caption: &String| further.rewrites.get(caption).map_or(&[][..], Vec::as_slice);
            let rewrites =
                image.captions.iter().map(|caption| self.add_texts(rewrites_of(caption))).collect();
            self.pictures.push(ImageTexts { path: image.path.clone(), captions, extra_captions, rewrites });
        }
    }

    fn add_texts(&mut self, texts: &[String]) -> Vec<usize> {
        let start = self.texts.len();
        self.texts.extend_from_slice(texts);
        (start..self.texts.len()).collect()
    }

    /// The pictures to learn from.
    pub(in crate::stages) fn training(&self) -> &[ImageTexts] {
        &self.pictures[..self.training_pictures]
    }

    /// The pictures to measure on.
    pub(in crate::stages) fn validation(&self) -> &[ImageTexts] {
        &self.pictures[self.training_pictures..]
    }
}

fn refuse_overlap(config: &DataConfig, train: &Dataset, validation: &Dataset) -> Result<()> {
    let seen: std::collections::HashSet<&PathBuf> = train.images.iter().map(|image| &image.path).collect();
    match validation.images.iter().find(|image| seen.contains(&image.path)) {
        Some(image) => Err(TrainingError::Data {
            path: image.path.clone(),
            reason: format!(
                "this picture is in both `{}` and `{}`; expected splits without a common picture",
                config.train_split, config.validation_split
            ),
        }),
        None => Ok(()),
    }
}

/// A line of an extra caption file.
#[derive(Deserialize)]
struct ExtraCaption {
    imgid: u64,
    text: String,
}

fn read_extra_captions(paths: &[PathBuf]) -> Result<HashMap<u64, Vec<String>>> {
    let mut extra: HashMap<u64, Vec<String>> = HashMap::new();
    for path in paths {
        let text = fs_err::read_to_string(path)?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let caption = parse_extra_caption(path, number + 1, line)?;
            extra.entry(caption.imgid).or_default().push(caption.text);
        }
    }
    Ok(extra)
}

fn parse_extra_caption(path: &Path, number: usize, line: &str) -> Result<ExtraCaption> {
    let broken = |reason: String| TrainingError::Data {
        path: path.to_owned(),
        reason: format!("line {number}: expected {{\"imgid\": N, \"text\": \"…\"}}, {reason}"),
    };
    let caption: ExtraCaption = serde_json::from_str(line).map_err(|error| broken(error.to_string()))?;
    if caption.text.trim().is_empty() {
        return Err(broken("found an empty text".into()));
    }
    Ok(caption)
}

/// The different rewrites of every caption in the files; one that repeats its caption is none.
fn read_rewrites(paths: &[PathBuf]) -> Result<HashMap<String, Vec<String>>> {
    let mut rewrites: HashMap<String, Vec<String>> = HashMap::new();
    for path in paths {
        for_each_record(path, |_, record| {
            let known = rewrites.entry(record.query.clone()).or_default();
            for text in record.rewrites.into_iter().map(|rewrite| rewrite.text) {
                if !text.trim().is_empty() && text != record.query && !known.contains(&text) {
                    known.push(text);
                }
            }
            Ok(())
        })?;
    }
    Ok(rewrites)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_of_all_files_meet_under_their_caption() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let texts =
            write("a.jsonl", "{\"query\": \"a dog\", \"rewrites\": [\"a brown dog\", \"a dog\", \" \"]}\n\n");
        let mined = write(
            "b.jsonl",
            r#"{"query": "a dog", "image": 3, "rewrites": [{"text": "a puppy", "rank": 1}, {"text": "a brown dog"}]}"#,
        );
        let rewrites = read_rewrites(&[texts, mined]).unwrap();
        assert_eq!(rewrites["a dog"], ["a brown dog", "a puppy"]);
        let broken = write("c.jsonl", "{\"query\": \"a\", \"rewrites\": []}\n{\"query\": 3}");
        let error = read_rewrites(&[broken]).unwrap_err().to_string();
        assert!(error.contains("c.jsonl") && error.contains("line 2"), "{error}");
    }
}
