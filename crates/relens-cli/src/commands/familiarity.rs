//! `relens familiarity`: how well a retriever knows words.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use relens::dataset::Dataset;
use relens::embed::TextEmbedder;
use relens::embed::embedding_cache::EmbeddingCache;
use relens::enhancer::composer::wording::FAMILIARITY_FILE;
use relens::evaluation::familiarity::Substitutions;
use relens::knowledge::Knowledge;

use crate::image_embedding::embed_dataset_once;
use crate::model_choice::ModelArguments;
use crate::output::Output;
use crate::output_file::{check_output, write_streaming};
use crate::reporter::Reporter;
use crate::{interrupt, library_location};
use relens::counted::counted;

/// Measure how well a retriever knows words.
///
/// For every word that the knowledge base has a meaning of, captions are searched with the word and with the meaning in
/// its place: what replacing the word gains in rank says whether the retriever knows it. `composer`, and so the default,
/// rewords by the file if it lies beside the retriever; without one it takes every retriever to know the words that the
/// captions of the bundled one use.
///
/// Take captions that the retriever was not trained on, and that it is not measured on later. Vectors are kept in
/// relens's home, so that a run that was stopped goes on.
#[derive(Debug, Args)]
pub(crate) struct FamiliarityArguments {
    #[command(flatten)]
    model: ModelArguments,

    /// The captions.
    #[arg(long, value_name = "FILE|DIR")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are. Default: beside the annotations.
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// The part of the dataset to take captions from.
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,

    /// The most captions that a word is tried in.
    #[arg(long, value_name = "NUMBER", default_value = "8", value_parser = clap::value_parser!(u16).range(1..))]
    captions: u16,

    /// The file to write. Default: familiarity.tsv in the model's directory, where `composer` looks.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl FamiliarityArguments {
    pub(crate) fn run(self) -> Result<()> {
        interrupt::watch();
        let beside = self.annotations.parent().unwrap_or(Path::new(""));
        let dataset = Dataset::open(&self.annotations, self.images.as_deref().unwrap_or(beside))?;
        let dataset = dataset.split(&self.split)?;
        dataset.ensure_images_exist()?;
        let home = library_location::home().ok();
        let knowledge = home.as_deref().map_or_else(Knowledge::bundled, Knowledge::of_home)?;
        let retriever = self.model.open()?;
        let out = match &self.out {
            Some(out) => out.clone(),
            None => {
                let directory = TextEmbedder::directory(&retriever);
                directory
                    .context("the model has no directory: name the file with --out")?
                    .join(FAMILIARITY_FILE)
            }
        };
        let inputs: Vec<&Path> =
            std::iter::once(self.annotations.as_path()).chain(self.images.as_deref()).collect();
        check_output(&out, &inputs)?;
        let pairs = Substitutions::find(&dataset, knowledge.words(), usize::from(self.captions));
        let images = embed_dataset_once(&dataset, &retriever)?;
        let cache = home.map_or_else(EmbeddingCache::nowhere, |home| EmbeddingCache::at(home.join("cache")));
        let texts = pairs.texts();
        let vectors = match texts.is_empty() {
            true => relens::embed::embeddings::Embeddings::new(retriever.dim()),
            false => cache.texts(&retriever, &texts, &mut Reporter::default())?,
        };
        let familiarity = pairs.measure(&images, &vectors)?;
        write_streaming(&out, |writer| Ok(familiarity.write(writer)?))?;
        let mut output = Output::new();
        writeln!(
            output.writer,
            "{} measured, {} of them better replaced: {}",
            counted(familiarity.measured.len(), "word"),
            familiarity.unfamiliar(),
            out.display()
        )?;
        Ok(output.writer.flush()?)
    }
}
