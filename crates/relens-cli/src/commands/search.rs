//! `relens search`: the library's pictures, ranked for a text or a picture.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use relens::embed::retriever::Retriever;
use relens::enhancer::{EnhancedQuery, Query};
use relens::index::{ExactIndex, Hit, Index};
use relens::library::{FoundImage, Library};
use relens::model_hub::bundled;

use crate::enhancer_choice::EnhancerArguments;
use crate::image_embedding::embed_images;
use crate::library_location::LibraryArguments;
use crate::model_choice::{LongTextArguments, PrecisionArguments};
use crate::output::Output;
use crate::output_file::{check_output, drawing_format};
use crate::ranking_output::{self, ShownImage};
use crate::search_filter::FilterArguments;
use crate::settings::settings;
use crate::usage::usage_error;
use crate::{contact_sheet, model_choice, progress};

/// How many pictures are shown where nothing else is said.
const SHOWN: u32 = 10;

/// Find pictures by a description, or by another picture.
///
/// Results are ranked by the cosine similarity of query and picture, 1 at most. A terminal shows a list with links;
/// a pipe gets a path, a tab and the score a line.
///
/// The query needs no quotes, and can say which pictures are looked among: `relens search dog on the beach
/// after:2023-06 in:Holidays`. Pictures whose files are missing, as on a drive that is unplugged, are left out.
#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    /// What the pictures should show, in your own words.
    #[arg(value_name = "QUERY", required_unless_present = "image", conflicts_with = "image")]
    query: Vec<String>,

    /// Find pictures that look like this one, instead of a text.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// How many pictures to show. Default: what is set (`relens config`), or else 10.
    #[arg(short, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    k: Option<u32>,

    #[command(flatten)]
    filter: FilterArguments,

    /// The order of those that are shown: the best first, or the latest.
    #[arg(long, value_name = "ORDER", value_enum, default_value = "score")]
    sort: Order,

    /// Show pictures, too, whose files are missing.
    #[arg(long)]
    missing: bool,

    /// Open the first pictures in the program that the system has for them; 1 if no number is said.
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    open: Option<u8>,

    /// Draw the pictures that are shown on one sheet: a PNG, JPEG or WebP, as the name's ending says.
    #[arg(long, value_name = "FILE")]
    contact_sheet: Option<PathBuf>,

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

    /// Print a JSON array of {"path", "score"}, best first; with --missing, {"missing": true} where a file is.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Score,
    Date,
}

/// So many more pictures are ranked than are shown, so that missing ones leave no gaps.
const SPARE: usize = 50;

impl SearchArguments {
    pub(crate) fn run(self) -> Result<()> {
        let (filter, words) = self.filter.split(&self.query.join(" "))?;
        // Checked here and not by clap, which would print a query of any length back.
        let query = self.image.is_none().then(|| Query::new(&words)).transpose().map_err(usage_error)?;
        let library = Library::open(&self.library.directory()?)?;
        if library.catalog().image_count()? == 0 {
            progress::note(
                "the library is empty; `relens index DIR` fills it with the pictures of a directory",
            );
        }
        if let Some(path) = &self.contact_sheet {
            drawing_format(path)?;
            let folders = library.catalog().folders()?;
            check_output(path, &folders.iter().map(|folder| folder.path.as_path()).collect::<Vec<_>>())?;
        }
        let retriever = Arc::new(self.long_text.apply(self.retriever(&library)?));
        let k = self.k.or(settings()?.results.filter(|k| *k > 0)).unwrap_or(SHOWN) as usize;
        let index = library.index_among(retriever.fingerprint(), &filter)?;
        let wanted = if self.missing { k } else { k.saturating_add(SPARE) };
        let hits = match (&query, &self.image) {
            (Some(query), _) => {
                let pipeline = self.enhancer.open(retriever.clone())?;
                let ranking = pipeline.search(query, wanted, retriever.as_ref(), &index)?;
                tell_rewritten(query, &ranking.enhanced);
                let hits = ranking.hits;
                model_choice::tell_truncated(&retriever)?;
                hits
            }
            (None, Some(image)) => search_by_picture(&retriever, &index, image, wanted)?,
            (None, None) => Vec::new(),
        };
        let mut found = self.present(library.resolve(&hits)?, k);
        if self.sort == Order::Date {
            found.sort_by_key(|found| std::cmp::Reverse(found.image.date()));
        }
        self.show(&found)?;
        if let Some(path) = &self.contact_sheet {
            let pictures: Vec<&Path> = found.iter().map(|found| found.image.path.as_path()).collect();
            contact_sheet::draw(&pictures, path)?;
        }
        let opened = usize::from(self.open.unwrap_or_default());
        found.iter().take(opened).try_for_each(|found| open(&found.image.path))
    }

    /// The best `k`, without those whose files are missing unless they are asked for.
    fn present(&self, mut found: Vec<FoundImage>, k: usize) -> Vec<FoundImage> {
        if !self.missing {
            let best_missing = found.iter().take(k).filter(|found| !found.image.path.exists()).count();
            found.retain(|found| found.image.path.exists());
            if best_missing > 0 {
                let (files, are) = if best_missing == 1 { ("picture", "is") } else { ("pictures", "are") };
                progress::note(&format!(
                    "left out: {best_missing} {files} whose files {are} missing (--missing shows them)"
                ));
            }
        }
        found.truncate(k);
        found
    }

    fn show(&self, found: &[FoundImage]) -> Result<()> {
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
    let missing = !found.image.path.exists();
    ShownImage { path: &found.image.path, score: found.score, title: missing.then_some("(missing)") }
}

/// Hands a picture to the program that the system has for it, and does not wait for that.
fn open(path: &Path) -> Result<()> {
    let program = match std::env::consts::OS {
        "macos" => "open",
        "windows" => "explorer",
        _ => "xdg-open",
    };
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop).with_context(|| format!("{}: cannot be opened by `{program}`", path.display()))
}

fn search_by_picture(
    retriever: &Retriever,
    index: &ExactIndex,
    picture: &Path,
    k: usize,
) -> Result<Vec<Hit>> {
    let query = embed_images(retriever, &[picture])?;
    Ok(index.search(&query, k)?.pop().unwrap_or_default())
}
