//! The pictures that compete for a query, and the captions that are its queries.

use std::collections::HashSet;
use std::path::PathBuf;

use relens::dataset::Dataset;
use relens::embed::embeddings::Embeddings;
use serde::{Deserialize, Serialize};

use crate::{Result, TrainingError};

/// One picture of the pool.
#[derive(Debug, Clone)]
pub struct PooledPicture {
    /// Its path relative to the data set's directory of pictures.
    pub name: String,
    /// The data set's own number for it.
    pub id: u64,
    /// Where it lies.
    pub path: PathBuf,
    /// Its known captions.
    pub captions: Vec<String>,
}

/// Pictures with their embeddings. A query's rank is counted among them.
#[derive(Debug, Clone)]
pub struct Pool {
    pictures: Vec<PooledPicture>,
    embeddings: Embeddings,
}

/// A caption that is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// The picture's name, `#`, and the caption's position.
    pub id: String,
    /// The caption.
    pub query: String,
    /// Its picture's position in the pool.
    pub picture: usize,
}

impl Pool {
    /// The pictures of `dataset` with their embeddings, `[pictures, dim]`, in its order.
    ///
    /// # Errors
    /// [`TrainingError::Argument`] if their numbers differ.
    pub fn new(dataset: &Dataset, embeddings: Embeddings) -> Result<Self> {
        if dataset.images.len() != embeddings.rows() || embeddings.is_empty() {
            return Err(TrainingError::argument(
                "Pool::new",
                format!(
                    "one embedding of each of the {} pictures, and one picture at least",
                    dataset.images.len()
                ),
                embeddings.rows().to_string(),
            ));
        }
        embeddings.ensure_normalised("pictures")?;
        let picture = |image: &relens::dataset::DatasetImage| PooledPicture {
            name: image
                .path
                .strip_prefix(&dataset.images_directory)
                .unwrap_or(&image.path)
                .to_string_lossy()
                .into_owned(),
            id: image.id,
            path: image.path.clone(),
            captions: image.captions.clone(),
        };
        Ok(Self { pictures: dataset.images.iter().map(picture).collect(), embeddings })
    }

    /// The pictures.
    pub fn pictures(&self) -> &[PooledPicture] {
        &self.pictures
    }

    /// Their embeddings, `[pictures, dim]`.
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }

    /// Every caption once per picture, in order.
    pub fn units(&self) -> impl Iterator<Item = Unit> + '_ {
        self.pictures.iter().enumerate().flat_map(|(position, picture)| {
            let mut seen = HashSet::new();
            let fresh = picture.captions.iter().enumerate().filter(move |(_, caption)| seen.insert(*caption));
            fresh.map(move |(number, caption)| Unit {
                id: format!("{}#{number}", picture.name),
                query: caption.clone(),
                picture: position,
            })
        })
    }

    /// The name of the picture at `position`.
    pub fn name(&self, position: usize) -> &str {
        self.pictures.get(position).map_or("", |picture| picture.name.as_str())
    }
}
