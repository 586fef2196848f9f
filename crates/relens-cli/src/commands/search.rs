//! `relens search`: the library's pictures, ranked for a text or a picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use relens::embed::retriever::Retriever;
use relens::enhancer::{EnhancedQuery, Query};
use relens::index::Index;
use relens::library::{FoundImage, Library};
use relens::model_hub::bundled;

use crate::enhancer_choice::EnhancerArguments;
use crate::image_embedding::embed_images;
use crate::library_location::LibraryArguments;
use crate::model_choice;
use crate::model_choice::{LongTextArguments, PrecisionArguments};
use crate::output::Output;
use crate::progress;
use crate::ranking_output::{self, ShownImage};
use crate::usage::usage_error;

/// Find pictures by a description, or by another picture.
///
/// Results are ranked by the cosine similarity of query and picture, 1 at most. A terminal shows a list with links;
/// a pipe gets a path, a tab and the score a line.
#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// What the pictures should show, in your own words.
    #[arg(value_name = "QUERY", required_unless_present = "image", conflicts_with = "image")]
    query: Option<String>,

    /// Find pictures that look like this one, instead of a text.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// How many pictures to show.
    #[arg(short, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,

    #[command(flatten)]
    library: LibraryArguments,

    /// The retriever, by any name that `relens index --model` takes. Default: the one that made the library.
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,

    #[command(flatten)]
    precision: PrecisionArguments,

    #[command(flatten)]
    long_text: LongTextArguments,

    #[command(flatten)]
    enhancer: EnhancerArguments,

    /// Print a JSON array of {"path", "score"}, best first.
    #[arg(long)]
    json: bool,
}

impl SearchArguments {
    pub(crate) fn run(self) -> Result<()> {
        // Checked here and not by clap, which would print a query of any length back.
        let query = self.query.as_deref().map(Query::new).transpose().map_err(usage_error)?;
        let library = Library::open(&self.library.directory()?)?;
        let retriever = Arc::new(self.long_text.apply(self.retriever(&library)?));
        let k = self.k as usize;
        let found = match (&query, &self.image) {
            (Some(query), _) => {
                let pipeline = self.enhancer.open(retriever.clone())?;
                let (found, ranking) = library.search(query, k, &pipeline, retriever.as_ref())?;
                tell_rewritten(query, &ranking.enhanced);
                model_choice::tell_truncated(&retriever)?;
                found
            }
            (None, Some(image)) => search_by_picture(&library, &retriever, image, k)?,
            (None, None) => Vec::new(),
        };
        let found: Vec<ShownImage<'_>> = found.iter().map(untitled).collect();
        let mut output = Output::new();
        match (self.json, output.for_people) {
            (true, _) => ranking_output::write_json(&mut output, &found),
            (false, false) => ranking_output::write_lines(&mut output, &found),
            (false, true) => ranking_output::write_list(&mut output, &found, ""),
        }
    }

    /// The model that was named, or the one that made the library.
    fn retriever(&self, library: &Library) -> Result<Retriever> {
        let (name, precision) = Retriever::model_and_precision(&library.catalog().model().name);
        if let Some(model) = &self.model {
            return Ok(self.precision.apply_or(precision, model_choice::open(model)?));
        }
        // A directory's name says nothing about where the directory is.
        if !name.contains(':') {
            bundled::model(name).with_context(|| {
                format!("the library was made by the model `{name}`, which is not bundled: name its directory with --model")
            })?;
        }
        Ok(self.precision.apply_or(precision, model_choice::open(name)?))
    }
}

/// Says what was searched for if that is not what was typed: the text that counts most.
fn tell_rewritten(query: &Query, enhanced: &EnhancedQuery) {
    let heaviest =
        enhanced.texts.iter().reduce(|best, text| if text.weight > best.weight { text } else { best });
    if let Some(text) = heaviest.filter(|text| text.text != query.text()) {
        progress::note(&format!("searched for: {} (--enhancer identity searches as typed)", text.text));
    }
}

fn untitled(found: &FoundImage) -> ShownImage<'_> {
    ShownImage { path: &found.image.path, score: found.score, title: None }
}

fn search_by_picture(
    library: &Library,
    retriever: &Retriever,
    picture: &Path,
    k: usize,
) -> Result<Vec<FoundImage>> {
    let index = library.index(retriever.fingerprint())?;
    let query = embed_images(retriever, &[picture])?;
    let hits = index.search(&query, k)?.pop().unwrap_or_default();
    Ok(library.resolve(&hits)?)
}
