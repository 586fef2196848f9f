//! Queries as people ask for the pictures of a dataset: what retrieval is measured on beside captions.
//!
//! JSON Lines, one query a line: `{"image": PATH, "query": TEXT, "kind": NAME?}`. Files that hold several wordings of one
//! caption in fields of their own (`{"imgid": 7, "caption": …, "rare": …, "chatty": …}`) are read by naming the fields.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value};

use super::Dataset;
use super::caption_groups::cleaned_caption;
use super::text_lines::{broken_line, excerpt, for_each_line};
use crate::error::{Error, Result};

/// The field that holds the query where none is named, and the kind of a query that has none.
const QUERY: &str = "query";
/// How many fields of a line an error names.
const FIELDS_IN_ERRORS: usize = 12;
const EXPECTED: &str = "an object with `image` (a path) or `imgid` (a number), and a query";

/// Queries for the pictures of a dataset, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedQueries {
    /// The dataset's pictures with a kind's queries in the captions' place, by the kind's name: all pictures compete,
    /// and those that nobody asked for have no query.
    pub kinds: BTreeMap<String, Dataset>,
    /// Lines about pictures that are not in the dataset.
    pub of_other_images: usize,
}

impl AskedQueries {
    /// Reads `path` for the pictures of `dataset`. A picture is named by its path as in the annotations, by the name of
    /// its file, or by its number (`imgid`). With `fields`, each of them is a kind; without, the kind is what `kind` says.
    ///
    /// # Errors
    /// [`Error::Dataset`] with the line that is broken, lacks one of `fields`, or names an ambiguous picture;
    /// [`Error::Argument`] if no line asks for a picture of the dataset; [`Error::Io`].
    pub fn open(path: &Path, dataset: &Dataset, fields: &[String]) -> Result<Self> {
        let images = ImageNames::of(dataset);
        let without_captions = {
            let mut dataset = dataset.clone();
            dataset.images.iter_mut().for_each(|image| image.captions.clear());
            dataset
        };
        let mut kinds: BTreeMap<String, Dataset> = BTreeMap::new();
        let mut of_other_images = 0;
        for_each_line(path, |number, line| {
            let broken = |expected: &str, found: &str| broken_line(path, number, expected, found);
            let line: Map<String, Value> =
                serde_json::from_str(line).map_err(|error| broken(EXPECTED, &error.to_string()))?;
            let Some(image) = images.position(&line).map_err(|found| broken(EXPECTED, &found))? else {
                of_other_images += 1;
                return Ok(());
            };
            for (kind, text) in
                queries(&line, fields).map_err(|(expected, found)| broken(&expected, &found))?
            {
                let asked = kinds.entry(kind).or_insert_with(|| without_captions.clone());
                asked.images[image].captions.extend(cleaned_caption(text, path, || format!("line {number}")));
            }
            Ok(())
        })?;
        if kinds.values().all(|asked| asked.caption_count() == 0) {
            return Err(Error::Argument {
                operation: "AskedQueries::open",
                expected: format!("queries for pictures of {}", dataset.name),
                found: format!("{of_other_images} lines about other pictures in {}", path.display()),
            });
        }
        Ok(Self { kinds, of_other_images })
    }
}

/// The queries of a line, each with its kind.
fn queries<'a>(
    line: &'a Map<String, Value>,
    fields: &[String],
) -> std::result::Result<Vec<(String, &'a str)>, (String, String)> {
    let text = |field: &str| match line.get(field) {
        Some(Value::String(text)) => Ok(text.as_str()),
        None => Err((format!("a text in `{field}`"), among(line))),
        other => Err((format!("a text in `{field}`"), found(other))),
    };
    if fields.is_empty() {
        let kind = if line.contains_key("kind") { text("kind")? } else { QUERY };
        return Ok(vec![(kind.to_owned(), text(QUERY)?)]);
    }
    fields.iter().map(|field| Ok((field.clone(), text(field)?))).collect()
}

/// What a line has in place of a field: whoever names the wrong one sees the right one.
fn among(line: &Map<String, Value>) -> String {
    let names: Vec<String> = line.keys().take(FIELDS_IN_ERRORS).map(|name| excerpt(name)).collect();
    format!("only {}", names.join(", "))
}

fn found(value: Option<&Value>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| excerpt(&value.to_string()))
}

/// Where the pictures of a dataset are, by all that they are called.
struct ImageNames {
    by_id: HashMap<u64, usize>,
    /// By path as in the annotations and by file name; `None` where two pictures share a name.
    by_name: HashMap<String, Option<usize>>,
}

impl ImageNames {
    fn of(dataset: &Dataset) -> Self {
        let mut by_name: HashMap<String, Option<usize>> = HashMap::new();
        for (position, image) in dataset.images.iter().enumerate() {
            let relative = image.path.strip_prefix(&dataset.images_directory).unwrap_or(&image.path);
            let names =
                [Some(relative.to_string_lossy()), image.path.file_name().map(|name| name.to_string_lossy())];
            for name in names.into_iter().flatten() {
                let known = by_name.entry(name.into_owned()).or_insert(Some(position));
                if *known != Some(position) {
                    *known = None;
                }
            }
        }
        let by_id = dataset.images.iter().enumerate().map(|(position, image)| (image.id, position)).collect();
        Self { by_id, by_name }
    }

    /// The position of the picture that a line is about; `None` if it is not in the dataset.
    fn position(&self, line: &Map<String, Value>) -> std::result::Result<Option<usize>, String> {
        match (line.get("image"), line.get("imgid")) {
            (Some(Value::String(name)), _) => match self.by_name.get(name) {
                Some(None) => Err(format!("{}, the name of several pictures", excerpt(name))),
                known => Ok(known.copied().flatten()),
            },
            (None, Some(Value::Number(id))) => Ok(id.as_u64().and_then(|id| self.by_id.get(&id)).copied()),
            (image, id) => Err(found(image.or(id))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{DatasetImage, Split};

    fn dataset() -> Dataset {
        let images = [("a/dog.jpg", 7), ("b/dog.jpg", 8), ("cat.jpg", 9)].map(|(path, id)| DatasetImage {
            id,
            path: Path::new("pictures").join(path),
            split: Split::Val,
            captions: vec!["a caption".to_owned()],
        });
        Dataset { name: "three".to_owned(), images_directory: "pictures".into(), images: images.into() }
    }

    fn open(lines: &str, fields: &[&str]) -> Result<AskedQueries> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("asked.jsonl");
        std::fs::write(&path, lines).unwrap();
        AskedQueries::open(
            &path,
            &dataset(),
            &fields.iter().map(|&field| field.to_owned()).collect::<Vec<_>>(),
        )
    }

    fn captions(dataset: &Dataset) -> Vec<(usize, &str)> {
        dataset.captions().collect()
    }

    #[test]
    fn every_kind_asks_for_all_pictures() {
        let asked = open(
            "{\"image\": \"cat.jpg\", \"query\": \"moggy\", \"kind\": \"rare\"}\n\
             {\"image\": \"a/dog.jpg\", \"query\": \"show me a dog\", \"kind\": \"chatty\"}\n\
             {\"image\": \"bird.jpg\", \"query\": \"a bird\"}\n\
             {\"image\": \"b/dog.jpg\", \"query\": \"hound\", \"kind\": \"rare\"}\n",
            &[],
        )
        .unwrap();
        assert_eq!(asked.of_other_images, 1);
        assert_eq!(captions(&asked.kinds["rare"]), [(1, "hound"), (2, "moggy")]);
        assert_eq!(captions(&asked.kinds["chatty"]), [(0, "show me a dog")]);
        assert!(asked.kinds.values().all(|asked| asked.images.len() == 3));
    }

    #[test]
    fn fields_are_kinds_and_numbers_name_pictures() {
        let lines = "{\"imgid\": 8, \"caption\": \"a dog\", \"rare\": \"a hound\", \"vague\": \"pets\"}\n";
        let asked = open(lines, &["rare", "vague"]).unwrap();
        assert_eq!(captions(&asked.kinds["rare"]), [(1, "a hound")]);
        assert_eq!(captions(&asked.kinds["vague"]), [(1, "pets")]);
        for fields in [&["chatty"][..], &[]] {
            let error = open(lines, fields).unwrap_err().to_string();
            let field = fields.first().copied().unwrap_or("query");
            assert!(error.contains("line 1") && error.contains(&format!("`{field}`")), "{error}");
            assert!(error.contains("`rare`, `vague`"), "{error}");
        }
    }

    #[test]
    fn broken_lines_and_ambiguous_names_are_refused() {
        for (lines, named) in [
            ("{\"image\": \"dog.jpg\", \"query\": \"a dog\"}", "several pictures"),
            ("{\"image\": 5, \"query\": \"a dog\"}", "`5`"),
            ("{\"query\": \"a dog\"}", "found none"),
            ("{\"image\": \"cat.jpg\", \"query\": [\"a cat\"]}", "`query`"),
            ("[1]", "line 1"),
            ("{\"image\": \"bird.jpg\", \"query\": \"a bird\"}", "1 lines about other pictures"),
            ("", "0 lines"),
        ] {
            let error = open(lines, &[]).unwrap_err().to_string();
            assert!(error.contains(named), "{lines}: {error}");
        }
    }
}
