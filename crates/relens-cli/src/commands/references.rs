//! `relens references`: pairs of captions and pictures as a retriever sees them.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use relens::dataset::{Dataset, DatasetImage};
use relens::embed::embeddings::Embeddings;
use relens::embed::reference_pairs::{REFERENCE_FILE, ReferencePairs};
use relens::embed::retriever::Retriever;
use relens::english::Vocabulary;
use relens::enhancer::composer::wording::FAMILIARITY_FILE;
use relens::error::Error;
use relens::progress::Progress;

use crate::image_embedding::embed_dataset;
use crate::model_choice::ModelArguments;
use crate::output::Output;
use crate::output_file::{check_output, write_streaming};
use crate::reporter::Reporter;
use crate::{interrupt, progress};
use relens::counted::counted;

/// Captions that are embedded between two looks at the progress.
const CAPTIONS_PER_BATCH: usize = 256;

/// Embed pairs of captions and pictures that enhancers refer to.
///
/// An enhancer with `[neighbours]` moves a query towards the pictures of the nearest of these captions; one with
/// `[hubness]` lowers pictures that are near all of them. Take the pairs from training data, never from what is
/// measured.
///
/// Beside the pairs, familiarity.tsv gets the words of all captions of the split with their counts: where it lies in the
/// model's directory, `composer` takes the retriever to know what these captions use. A file that is there stays.
#[derive(Debug, Args)]
pub(crate) struct ReferencesArguments {
    /// The captions.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,

    /// Where the pictures that the annotations name are.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,

    /// The part of the dataset to take pairs from.
    #[arg(long, value_name = "NAME", default_value = "train")]
    split: String,

    /// How many captions of each picture; pictures with fewer are left out.
    #[arg(long, value_name = "NUMBER", default_value = "5", value_parser = clap::value_parser!(u32).range(1..))]
    captions: u32,

    #[command(flatten)]
    model: ModelArguments,

    /// The file to write; `reference_pairs.safetensors` in the model's directory is where its enhancer looks.
    #[arg(long, value_name = "FILE", default_value = REFERENCE_FILE)]
    out: PathBuf,
}

impl ReferencesArguments {
    pub(crate) fn run(self) -> Result<()> {
        use std::io::Write;
        interrupt::watch();
        check_output(&self.out, &[&self.annotations, &self.images])?;
        let wanted = self.captions as usize;
        let mut dataset = Dataset::open(&self.annotations, &self.images)?.split(&self.split)?;
        let counts = Vocabulary::of_captions(dataset.captions().map(|(_, caption)| caption));
        dataset.images.retain(|image| image.captions.len() >= wanted);
        dataset.ensure_images_exist()?;
        let retriever = self.model.open()?;
        let images = embed_dataset(&dataset, &retriever)?;
        let captions = embed_captions(&dataset.images, wanted, &retriever)?;
        let (pictures, count) = (images.rows(), captions.rows());
        ReferencePairs::new(captions, images)?.save(&self.out)?;
        let familiarity = self.out.with_file_name(FAMILIARITY_FILE);
        if familiarity.exists() {
            // It may have been measured, which takes longer than counting.
            progress::note(&format!("{} is there already and stays", familiarity.display()));
        } else {
            write_streaming(&familiarity, |writer| Ok(counts.write(1, writer)?))?;
        }
        let mut output = Output::new();
        writeln!(
            output.writer,
            "{} of {}: {}",
            counted(count, "caption"),
            counted(pictures, "picture"),
            self.out.display()
        )?;
        Ok(output.writer.flush()?)
    }
}

fn embed_captions(images: &[DatasetImage], wanted: usize, retriever: &Retriever) -> Result<Embeddings> {
    let captions: Vec<&String> = images.iter().flat_map(|image| image.captions.iter().take(wanted)).collect();
    let mut embeddings = Embeddings::new(retriever.dim());
    let mut progress = Reporter::default();
    progress.begin("captions", captions.len() as u64);
    for batch in captions.chunks(CAPTIONS_PER_BATCH) {
        if progress.cancelled() {
            return Err(Error::Cancelled.into());
        }
        embeddings.append(&retriever.embed_texts(batch)?)?;
        progress.advance(embeddings.rows() as u64);
    }
    progress.end();
    Ok(embeddings)
}
