//! `relens mine judged`: what people marked right, as a dataset.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use relens::judgements::{self, HitJudgement, JUDGEMENTS_FILE};
use relens::library::Library;
use serde_json::{Value, json};

use crate::library_location::{self, LibraryArguments};
use crate::output_file::write_whole;
use crate::progress;
use relens::counted::{by_number, counted};

/// Make a dataset of the hits that were marked right in `relens serve`.
///
/// The pictures are those of the library, and compete; the captions of a picture are the queries for which it was marked
/// right, and for which nothing took that back. All that reads a dataset reads the file: `relens mine compose` and the
/// other strategies make rewrites of its queries, which `relens train sft`, `pro` and `ppo` learn from.
///
/// Example: relens mine judged --output judged.json
#[derive(Debug, Args)]
pub(crate) struct JudgedArguments {
    #[command(flatten)]
    library: LibraryArguments,

    /// The judgements. Default: those of RELENS_HOME, where `relens serve` keeps them.
    #[arg(long, value_name = "FILE")]
    judgements: Option<PathBuf>,

    /// Where the dataset is written to.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl JudgedArguments {
    pub(crate) fn run(self) -> Result<()> {
        let file = match self.judgements {
            Some(file) => file,
            None => library_location::home()?.join(JUDGEMENTS_FILE),
        };
        let judgements = judgements::read(&file).context("nothing was judged yet, or it cannot be read")?;
        let library = Library::open(&self.library.directory()?)?;
        let paths: BTreeSet<PathBuf> = library.catalog().images_under(Path::new("/"))?.into_keys().collect();
        let queries = right_queries(&judgements);
        let used: usize =
            paths.iter().filter_map(|path| queries.get(&*path.to_string_lossy())).map(BTreeSet::len).sum();
        if used == 0 {
            bail!("{}: expected a picture of the library that was marked right, found none", file.display());
        }
        let root = common_directory(&paths);
        write_whole(&self.output, dataset(&paths, &queries, &root).to_string().as_bytes())?;
        let total: usize = queries.values().map(BTreeSet::len).sum();
        if used < total {
            let (marks, are) = (counted(total - used, "mark"), by_number(&(total - used), "is", "are"));
            progress::note(&format!("{marks} {are} of pictures that the library does not have"));
        }
        progress::note(&format!(
            "{}, {}; next: relens mine compose --annotations {} --images {} --output DIR",
            counted(used, "query"),
            counted(paths.len(), "picture"),
            self.output.display(),
            root.display()
        ));
        Ok(())
    }
}

/// The queries for which each picture is right, by the last word on both.
fn right_queries(judgements: &[HitJudgement]) -> BTreeMap<String, BTreeSet<String>> {
    let mut right: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for judgement in judgements {
        let of_picture = right.entry(judgement.path.clone()).or_default();
        match judgement.right {
            Some(true) => of_picture.insert(judgement.query.clone()),
            Some(false) | None => of_picture.remove(&judgement.query),
        };
    }
    right.retain(|_, queries| !queries.is_empty());
    right
}

/// The directory that all of them are below.
fn common_directory(paths: &BTreeSet<PathBuf>) -> PathBuf {
    let parents = paths.iter().filter_map(|path| path.parent()).map(Path::to_owned);
    let common = parents.reduce(|one, other| {
        one.components()
            .zip(other.components())
            .take_while(|(left, right)| left == right)
            .map(|(left, _)| left)
            .collect()
    });
    common.unwrap_or_default()
}

/// Karpathy's form, which keeps pictures without captions.
fn dataset(paths: &BTreeSet<PathBuf>, queries: &BTreeMap<String, BTreeSet<String>>, root: &Path) -> Value {
    let images = paths.iter().map(|path| {
        let sentences = queries.get(&*path.to_string_lossy()).into_iter().flatten();
        let sentences: Vec<Value> = sentences.map(|query| json!({ "raw": query })).collect();
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
        json!({ "filename": name, "split": "train", "sentences": sentences })
    });
    json!({ "dataset": "judged", "images": images.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use relens::dataset::Dataset;

    use super::*;

    #[test]
    fn the_last_word_makes_a_dataset_that_can_be_opened() {
        let said = |query: &str, path: &str, right| HitJudgement {
            query: query.to_owned(),
            path: path.to_owned(),
            right,
            at: 0,
        };
        let queries = right_queries(&[
            said("a dog", "/p/a/1.jpg", Some(true)),
            said("a dog", "/p/b/2.jpg", Some(true)),
            said("a dog", "/p/b/2.jpg", Some(false)),
            said("a pet", "/p/a/1.jpg", Some(true)),
            said("a cat", "/p/a/1.jpg", Some(true)),
            said("a cat", "/p/a/1.jpg", None),
        ]);
        let paths: BTreeSet<PathBuf> = ["/p/a/1.jpg", "/p/b/2.jpg"].map(PathBuf::from).into();
        let root = common_directory(&paths);
        assert_eq!(root, Path::new("/p"));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), dataset(&paths, &queries, &root).to_string()).unwrap();
        let opened = Dataset::open(file.path(), &root).unwrap();
        let captions: Vec<&[String]> = opened.images.iter().map(|image| image.captions.as_slice()).collect();
        assert_eq!(captions, [&["a dog".to_owned(), "a pet".to_owned()][..], &[]]);
        assert_eq!(opened.relative_name(&opened.images[1]), "b/2.jpg");
    }
}
