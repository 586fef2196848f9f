//! `relens search`: the library's pictures, ranked for a text or a picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use relens::embed::retriever::Retriever;
use relens::enhancer::{EnhancedQuery, Query, TraceEntry};
use relens::index::Index;
use relens::library::{FoundImage, HitSelection, Library, Selected};
use relens::ranking::{Pipeline, Ranking};

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
use crate::{contact_sheet, desktop, model_choice, progress};
use relens::counted::{by_number, counted};

/// How many pictures are shown where nothing else is said.
const SHOWN: u32 = 10;

/// Find pictures by a description, or by another picture.
///
/// Pictures are ranked by their score: the cosine similarity of query and picture, 1 at most, less what a picture loses
/// that is near to every query. It can be below 0 where nothing is near, or what is near is not wanted. A terminal shows a list with links, and a line below which probably nothing fits; a pipe
/// gets a path, a tab and the score a line.
///
/// The query needs no quotes, and can say which pictures are looked among: `relens search dog on the beach
/// after:2023-06 in:Holidays`, or what they should not show: `relens search a beach without people`, `relens search "dog
/// -leash"`. Pictures whose files are missing, as on a drive that is unplugged, are left out.
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

    /// Leave out pictures that fit with a lower estimated probability, 0 to 1.
    #[arg(long, value_name = "PROBABILITY", value_parser = probability, conflicts_with = "image")]
    min_fit: Option<f32>,

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

    /// Print a JSON array of {"path", "score", "similarity", "fits"}, best first: what ranks, the cosine of query and
    /// picture, and the estimated probability that the picture is what was asked for; with --missing, {"missing": true}
    /// where a file is.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Score,
    Date,
}

fn probability(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("expected a probability of 0 to 1, found `{text}`"))
}

impl SearchArguments {
    pub(crate) fn run(self) -> Result<()> {
        let (filter, words) = self.filter.split(&self.query.join(" "))?;
        // Checked here and not by clap, which would print a query of any length back.
        let query = self.image.is_none().then(|| Query::new(&words)).transpose().map_err(usage_error)?;
        let library = self.library.open()?;
        let is_empty = library.catalog().image_count()? == 0;
        if is_empty {
            progress::note(
                "the library is empty; `relens index DIR` fills it with the pictures of a directory",
            );
        }
        if let Some(path) = &self.contact_sheet {
            drawing_format(path)?;
            let folders = library.catalog().folders()?;
            check_output(path, &folders.iter().map(|folder| folder.path.as_path()).collect::<Vec<_>>())?;
        }
        let retriever = Arc::new(self.long_text.apply(model_choice::of_library(
            &library,
            self.model.as_deref(),
            &self.precision,
        )?));
        let k = self.k.or(settings()?.results.filter(|k| *k > 0)).unwrap_or(SHOWN) as usize;
        let index = library.index_among(retriever.fingerprint(), &filter)?;
        if index.is_empty() && !is_empty {
            progress::note("no picture in the library meets these conditions");
        }
        let selected = match (&query, &self.image) {
            (Some(query), _) => {
                let pipeline = self.enhancer.open(retriever.clone())?;
                self.ensure_estimated(&pipeline)?;
                let search = |wanted| pipeline.search(query, wanted, retriever.as_ref(), &index);
                let selected = self.select(&library, k, index.len(), search)?;
                tell_language(&selected.ranking.enhanced, &retriever);
                tell_rewritten(query, &selected.ranking.enhanced);
                model_choice::tell_truncated(&retriever)?;
                selected
            }
            (None, Some(image)) => {
                let vector = embed_images(&retriever, &[image])?;
                let search = |wanted| -> relens::error::Result<Ranking> {
                    let hits = index.search(&vector, wanted)?.pop().unwrap_or_default();
                    Ok(Ranking { hits, ..Ranking::default() })
                };
                self.select(&library, k, index.len(), search)?
            }
            (None, None) => Selected::default(),
        };
        let Selected { mut found, mut line, .. } = selected;
        if line == Some(0) && !index.is_empty() {
            progress::note("probably nothing in the library fits");
        }
        if let Some(best) = found.first() {
            tell_negative(best);
        }
        if self.sort == Order::Date {
            found.sort_by_key(|found| std::cmp::Reverse(found.image.date()));
            line = None;
        }
        self.show(&found, line)?;
        if let Some(path) = &self.contact_sheet {
            let pictures: Vec<&Path> = found.iter().map(|found| found.image.path.as_path()).collect();
            contact_sheet::draw(&pictures, path)?;
        }
        let opened = usize::from(self.open.unwrap_or_default());
        found.iter().take(opened).try_for_each(|found| desktop::open(&found.image.path))
    }

    /// The best `k` of what `search` finds among `everything`, without those that are not to be shown.
    fn select(
        &self,
        library: &Library,
        k: usize,
        everything: usize,
        search: impl Fn(usize) -> relens::error::Result<Ranking>,
    ) -> Result<Selected> {
        let selection = HitSelection { k, with_missing: self.missing, min_fit: self.min_fit };
        let selected = selection.search(everything, search, |ranking| library.resolve_ranking(ranking))?;
        if selected.missing > 0 {
            let pictures = counted(selected.missing, "picture");
            let files = by_number(&selected.missing, "file is", "files are");
            let them = by_number(&selected.missing, "it", "them");
            progress::note(&format!("left out: {pictures} whose {files} missing (--missing shows {them})"));
        }
        Ok(selected)
    }

    /// Refuses to leave out by an estimate that there is not.
    fn ensure_estimated(&self, pipeline: &Pipeline) -> Result<()> {
        if self.min_fit.is_some() && pipeline.fit.is_none() {
            let name = pipeline.name();
            bail!("--min-fit: expected an enhancer with a fitted estimate ([fit]), found `{name}` without");
        }
        Ok(())
    }

    fn show(&self, found: &[FoundImage], line: Option<usize>) -> Result<()> {
        // Without --missing, what is shown was looked for on the disk when it was chosen.
        let title = |found: &FoundImage| (self.missing && !found.image.path.exists()).then_some("(missing)");
        let found: Vec<ShownImage<'_>> = found.iter().map(|found| shown(found, title(found))).collect();
        let mut output = Output::new();
        match (self.json, output.for_people) {
            (true, _) => ranking_output::write_json(&mut output, &found),
            (false, false) => ranking_output::write_lines(&mut output, &found),
            (false, true) => ranking_output::write_list(&mut output, &found, "", line),
        }
    }
}

/// Says why even the best score is below 0, which a cosine of what fits hardly is.
fn tell_negative(best: &FoundImage) {
    let similarity = best.evidence.map_or(best.score, |evidence| evidence.similarity);
    if best.score < 0.0 {
        progress::note(&format!(
            "even the best score is below 0: it is the similarity, {similarity:.3}, less what a picture has in common \
             with every query; what is not wanted lowers the similarity itself"
        ));
    }
}

/// Says what was searched for if that is not what was typed: the text that counts most, and what is taken away.
fn tell_rewritten(query: &Query, enhanced: &EnhancedQuery) {
    let heaviest =
        enhanced.texts.iter().reduce(|best, text| if text.weight > best.weight { text } else { best });
    let Some(text) = heaviest.filter(|text| text.text != query.text()) else { return };
    let excluded = enhanced.trace.iter().filter_map(|step| match step {
        TraceEntry::Excluded { text } => Some(text.as_str()),
        _ => None,
    });
    let excluded: Vec<&str> = excluded.collect();
    let without =
        if excluded.is_empty() { String::new() } else { format!(", without: {}", excluded.join(", ")) };
    let language = enhanced.trace.iter().find_map(|step| match step {
        TraceEntry::ReadWordByWord { language, .. } => {
            Some(format!("this looks like {language} and was read word by word; "))
        }
        _ => None,
    });
    let language = language.unwrap_or_default();
    progress::note(&format!(
        "{language}searched for: {}{without} (--enhancer identity searches as typed)",
        text.text
    ));
}

/// Says that a query is in a language that neither the model nor the knowledge base reads.
fn tell_language(enhanced: &EnhancedQuery, retriever: &Retriever) {
    let (name, _) = Retriever::model_and_precision(retriever.name());
    let language = enhanced.trace.iter().find_map(|step| match step {
        TraceEntry::NotRead { language } => Some(language),
        _ => None,
    });
    // What models that are not bundled read is not known.
    if let Some(language) = language.filter(|_| !name.contains(':')) {
        progress::note(&format!(
            "this looks like {language}; {name} reads English. A multilingual model reads other languages: \
             `relens index DIR --model hf-hub:… --library OTHER`"
        ));
    }
}

fn shown<'a>(found: &'a FoundImage, title: Option<&'a str>) -> ShownImage<'a> {
    ShownImage { path: &found.image.path, score: found.score, evidence: found.evidence, title }
}
