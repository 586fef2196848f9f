//! Pictures with their captions, read from the formats that people have.
//!
//! [`Dataset::open`] recognises a format by the file's content; each format has a reader of its own. A dataset is
//! small (names and texts): the pictures themselves are opened only when they are embedded.

mod asked_queries;
mod caption_groups;
mod clip_benchmark_csv;
mod coco_captions;
mod flickr8k_tokens;
mod folder;
mod format;
mod img2dataset_parquet;
mod json;
mod json_lines;
mod karpathy;
pub mod rewrites;
mod shards;
mod split;
mod split_slice;
#[cfg(test)]
mod tests;
pub(crate) mod text_lines;
mod webdataset;

use crate::counted::{by_number, counted};
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

pub use asked_queries::AskedQueries;
pub use format::DatasetFormat;
pub use split::Split;
use split_slice::SplitSlice;

use crate::error::{Error, Result};
use crate::pictures::archive;

/// How many names an error about many files spells out.
const NAMES_IN_ERRORS: usize = 3;

/// One picture of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetImage {
    /// The dataset's own number for it, or its position where the format has no numbers.
    pub id: u64,
    /// Where it lies on disk.
    pub path: PathBuf,
    /// The part of the dataset that it belongs to.
    pub split: Split,
    /// Its captions, in the file's order; none for a picture that only has to be told apart from others.
    pub captions: Vec<String>,
}

/// Pictures with captions, in the order of the annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// What the annotations call it, or the name of their file.
    pub name: String,
    /// Where the pictures are looked for.
    pub images_directory: PathBuf,
    /// The pictures.
    pub images: Vec<DatasetImage>,
}

impl Dataset {
    /// The name of an image's file, relative to the directory of images where it lies there.
    pub fn relative_name(&self, image: &DatasetImage) -> String {
        let name = image.path.strip_prefix(&self.images_directory).unwrap_or(&image.path);
        name.to_string_lossy().into_owned()
    }

    /// Reads `annotations`, in any format of [`DatasetFormat`], for pictures that lie under `images_directory`.
    ///
    /// # Errors
    /// [`Error::UnknownDatasetFormat`] if no format fits, [`Error::Dataset`] with line or field where one is broken,
    /// [`Error::Io`] if the file cannot be read. Missing pictures are no error here: see
    /// [`ensure_images_exist`](Self::ensure_images_exist).
    pub fn open(annotations: &Path, images_directory: &Path) -> Result<Self> {
        Self::open_as(DatasetFormat::detect(annotations)?, annotations, images_directory)
    }

    /// Reads `annotations` in a format that the caller knows.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_as(format: DatasetFormat, annotations: &Path, images_directory: &Path) -> Result<Self> {
        let dataset = match format {
            DatasetFormat::Karpathy => karpathy::read(annotations, images_directory),
            DatasetFormat::Flickr8kTokens => flickr8k_tokens::read(annotations, images_directory),
            DatasetFormat::CocoCaptions => coco_captions::read(annotations, images_directory),
            DatasetFormat::ClipBenchmarkCsv => clip_benchmark_csv::read(annotations, images_directory),
            DatasetFormat::JsonLines => json_lines::read(annotations, images_directory),
            DatasetFormat::Folder => folder::read(annotations),
            DatasetFormat::Parquet => img2dataset_parquet::read(annotations),
            DatasetFormat::WebDataset => webdataset::read(annotations),
        }?;
        // One rule for all formats: such a picture stays, to be told apart from those that are described.
        let silent = dataset.images.iter().filter(|image| image.captions.is_empty()).count();
        if silent > 0 && silent < dataset.images.len() {
            let (name, total) = (&dataset.name, counted(dataset.images.len(), "picture"));
            let are = by_number(&silent, "it is", "they are");
            tracing::warn!("{name}: no captions for {silent} of {total}; {are} only told apart from others");
        }
        Ok(dataset)
    }

    /// The pictures of one split, or of several joined by `+` (`train+restval`); `all` is the whole dataset, and
    /// `train[:5000]` or `train[-1000:]` a part of a split in the order of the annotations.
    ///
    /// # Errors
    /// [`Error::UnknownSplit`] with the splits that there are; [`Error::Argument`] for brackets with anything else.
    pub fn split(&self, names: &str) -> Result<Self> {
        if names == "all" {
            return Ok(self.clone());
        }
        let wanted: Vec<SplitSlice> = names.split('+').map(SplitSlice::parse).collect::<Result<_>>()?;
        let mut chosen = vec![false; self.images.len()];
        for slice in &wanted {
            let of_split: Vec<usize> =
                (0..self.images.len()).filter(|&image| self.images[image].split == slice.split).collect();
            if of_split.is_empty() {
                return Err(Error::UnknownSplit {
                    dataset: self.name.clone(),
                    requested: slice.split.to_string(),
                    available: self.split_names(),
                });
            }
            of_split[slice.range(of_split.len())].iter().for_each(|&image| chosen[image] = true);
        }
        let images = self.images.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let images = images.map(|(image, _)| image.clone()).collect();
        Ok(Self { name: self.name.clone(), images_directory: self.images_directory.clone(), images })
    }

    /// `count` pictures drawn without replacement, in the dataset's order; all if there are no more.
    ///
    /// The draw depends on `seed` and on the number of pictures alone: a random order of all positions is made with
    /// ChaCha8 by Fisher and Yates's method, and its first `count` are kept.
    #[must_use]
    pub fn sample(&self, count: usize, seed: u64) -> Self {
        let mut positions: Vec<usize> = (0..self.images.len()).collect();
        positions.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        positions.truncate(count);
        positions.sort_unstable();
        let images =
            positions.into_iter().filter_map(|position| self.images.get(position).cloned()).collect();
        Self { name: self.name.clone(), images_directory: self.images_directory.clone(), images }
    }

    /// Every caption with the position in `images` of the picture that it describes.
    pub fn captions(&self) -> impl Iterator<Item = (usize, &str)> {
        self.images.iter().enumerate().flat_map(|(position, image)| {
            image.captions.iter().map(move |caption| (position, caption.as_str()))
        })
    }

    /// The number of captions.
    pub fn caption_count(&self) -> usize {
        self.images.iter().map(|image| image.captions.len()).sum()
    }

    /// Refuses a dataset whose pictures are not all on disk.
    ///
    /// # Errors
    /// [`Error::MissingImages`] with their number and the first names.
    pub fn ensure_images_exist(&self) -> Result<()> {
        let missing: Vec<&DatasetImage> =
            self.images.iter().filter(|image| !archive::exists(&image.path)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let first: Vec<String> =
            missing.iter().take(NAMES_IN_ERRORS).map(|image| image.path.display().to_string()).collect();
        Err(Error::MissingImages {
            dataset: self.name.clone(),
            directory: self.images_directory.clone(),
            count: missing.len(),
            total: self.images.len(),
            first: first.join(", "),
        })
    }

    fn split_names(&self) -> String {
        let mut names = vec!["all".to_owned()];
        for image in &self.images {
            let name = image.split.to_string();
            if image.split != Split::Unassigned && !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(", ")
    }
}

/// What a dataset is called whose annotations do not say: the file's name without its ending.
fn name_from_path(path: &Path) -> String {
    path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned())
}
