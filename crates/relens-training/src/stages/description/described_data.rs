//! The captions of a dataset as the descriptions of their entities, embedded.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use relens::dataset::Dataset;
use relens::embed::ImageEmbedder;
use relens::embed::TextEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::embed::embeddings::Embeddings;
use relens::enhancer::Query;
use relens::enhancer::descriptions::{Template, described};
use relens::enhancer::entity_finder::EntityFinder;
use relens::knowledge::Knowledge;

use super::config::{DescribedDataConfig, DescriptionConfig};
use super::run::DescriptionBatch;
use crate::Result;
use relens::progress::Progress;

/// Queries whose entities are looked up together.
const CAPTIONS_AT_ONCE: usize = 256;

/// The descriptions of one caption's entities.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DescribedCaption {
    /// Rows of the text table.
    pub(super) texts: Vec<u32>,
    /// The same as places in [`DescribedData::descriptions`].
    pub(super) descriptions: Vec<u32>,
}

/// The described captions of one split; captions that name no entity are left out.
pub(super) struct DescribedSplit {
    pub(super) images: Embeddings,
    /// The captions of each picture.
    pub(super) captions: Vec<Vec<DescribedCaption>>,
}

/// Everything that a stage trains on.
pub(super) struct DescribedData {
    pub(super) training: DescribedSplit,
    pub(super) validation: DescribedSplit,
    /// Entity and description, in the order in which they are met.
    pub(super) descriptions: Vec<(String, String)>,
    /// A text of each description: the row of the text table where it was first met.
    pub(super) text_of_description: Vec<u32>,
    texts: Tensor,
}

/// Numbers for what is met again and again.
#[derive(Default)]
pub(super) struct Tables {
    texts: Vec<String>,
    text_rows: HashMap<String, u32>,
    descriptions: Vec<(String, String)>,
    description_places: HashMap<(String, String), u32>,
    text_of_description: Vec<u32>,
}

impl Tables {
    pub(super) fn add(&mut self, entity: &str, description: &str, text: String) -> (u32, u32) {
        let next = self.texts.len() as u32;
        let row = *self.text_rows.entry(text).or_insert_with_key(|text| {
            self.texts.push(text.clone());
            next
        });
        let next = self.descriptions.len() as u32;
        let pair = (entity.to_owned(), description.to_owned());
        let place = *self.description_places.entry(pair).or_insert_with_key(|pair| {
            self.descriptions.push(pair.clone());
            self.text_of_description.push(row);
            next
        });
        (row, place)
    }
}

impl DescribedData {
    /// Looks up and embeds what a run needs.
    pub(super) fn prepare<E, N>(
        config: &DescriptionConfig<N>,
        embedder: &Arc<E>,
        progress: &mut dyn Progress,
    ) -> Result<Self>
    where
        E: ImageEmbedder + TextEmbedder + 'static,
    {
        let knowledge = match &config.knowledge {
            Some(path) => Knowledge::load(path)?,
            None => Knowledge::bundled()?,
        };
        let senses: Arc<dyn TextEmbedder> = embedder.clone();
        let finder = EntityFinder::new(Arc::new(knowledge), Some(senses), config.entities);
        let DescribedDataConfig { annotations, images, train_split, validation_split } = &config.data;
        let dataset = Dataset::open(annotations, Path::new(images))?;
        let cache = EmbeddingCache::at(&config.cache);
        let mut tables = Tables::default();
        let mut splits = Vec::new();
        for name in [train_split, validation_split] {
            let split = dataset.split(name)?;
            split.ensure_images_exist()?;
            let captions = describe(&split, &finder, &mut tables, progress)?;
            let paths: Vec<_> = split.images.iter().map(|image| image.path.clone()).collect();
            let images = cache.images(embedder.as_ref(), &paths, progress)?;
            splits.push(DescribedSplit { images, captions });
        }
        let texts = cache.texts(embedder.as_ref(), &tables.texts, progress)?;
        Self::new(splits, tables, &texts)
    }

    pub(super) fn new(splits: Vec<DescribedSplit>, tables: Tables, texts: &Embeddings) -> Result<Self> {
        let [training, validation] = <[DescribedSplit; 2]>::try_from(splits).map_err(|found| {
            crate::TrainingError::argument("DescribedData", "two splits", found.len().to_string())
        })?;
        let Tables { descriptions, text_of_description, .. } = tables;
        let texts = Tensor::from_slice(texts.as_slice(), (texts.rows(), texts.dim()), &Device::Cpu)?;
        Ok(Self { training, validation, descriptions, text_of_description, texts })
    }

    /// Components of an embedding.
    pub(super) fn dim(&self) -> usize {
        self.training.images.dim()
    }

    /// The embedding of one text of every description, `[descriptions, dim]`.
    pub(super) fn description_embeddings(&self) -> Result<Tensor> {
        let rows =
            Tensor::from_slice(&self.text_of_description, self.text_of_description.len(), &Device::Cpu)?;
        Ok(self.texts.index_select(&rows, 0)?)
    }

    /// Packs captions.
    pub(super) fn batch(&self, captions: &[&DescribedCaption]) -> Result<DescriptionBatch> {
        let rows: Vec<u32> = captions.iter().flat_map(|caption| caption.texts.iter().copied()).collect();
        let mut offsets = vec![0];
        for caption in captions {
            offsets.push(offsets.last().copied().unwrap_or(0) + caption.texts.len());
        }
        let count = rows.len();
        let rows = self.texts.index_select(&Tensor::from_vec(rows, count, &Device::Cpu)?, 0)?;
        let descriptions = captions.iter().flat_map(|caption| caption.descriptions.iter().copied()).collect();
        Ok(DescriptionBatch { rows, descriptions, offsets })
    }
}

fn describe(
    split: &Dataset,
    finder: &EntityFinder,
    tables: &mut Tables,
    progress: &mut dyn Progress,
) -> Result<Vec<Vec<DescribedCaption>>> {
    let mut described_captions = vec![Vec::new(); split.images.len()];
    let captions: Vec<(usize, &str)> = split.captions().collect();
    progress.begin("entities", captions.len() as u64);
    let mut done = 0;
    for batch in captions.chunks(CAPTIONS_AT_ONCE) {
        let queries = batch.iter().map(|(_, caption)| Query::new(caption));
        let queries = queries.collect::<relens::error::Result<Vec<_>>>()?;
        for ((image, query), found) in
            batch.iter().map(|(image, _)| image).zip(&queries).zip(finder.find(&queries)?)
        {
            let mut caption = DescribedCaption::default();
            for found in &found {
                for &description in &found.descriptions {
                    let text = described(Template::Entity, query, found, description);
                    let (row, place) = tables.add(&found.entity.name, description, text);
                    caption.texts.push(row);
                    caption.descriptions.push(place);
                }
            }
            if let Some(captions) = described_captions.get_mut(*image).filter(|_| !caption.texts.is_empty()) {
                captions.push(caption);
            }
        }
        done += batch.len() as u64;
        progress.advance(done);
    }
    progress.end();
    Ok(described_captions)
}
