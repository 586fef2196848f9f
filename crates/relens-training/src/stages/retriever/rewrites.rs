//! Rewrites of training captions, from files.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Result, TrainingError};

/// A caption and its rewrites; what mining and `relens rewrite --json` write has more fields, which do not matter here.
#[derive(Deserialize)]
struct RewrittenCaption {
    query: String,
    #[serde(alias = "texts")]
    rewrites: Vec<Rewrite>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Rewrite {
    Text(String),
    Scored { text: String },
}

impl Rewrite {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) | Self::Scored { text } => text,
        }
    }
}

/// The different rewrites of every caption in the files; one that repeats its caption is none.
///
/// # Errors
/// A file that cannot be read; a line that is not of the expected shape, by file and number.
pub(super) fn read(paths: &[PathBuf]) -> Result<HashMap<String, Vec<String>>> {
    let mut rewrites: HashMap<String, Vec<String>> = HashMap::new();
    for path in paths {
        for (number, line) in BufReader::new(fs_err::File::open(path)?).lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let found = parse(path, number + 1, &line)?;
            let known = rewrites.entry(found.query.clone()).or_default();
            for text in found.rewrites.into_iter().map(Rewrite::into_text) {
                if !text.trim().is_empty() && text != found.query && !known.contains(&text) {
                    known.push(text);
                }
            }
        }
    }
    Ok(rewrites)
}

fn parse(path: &Path, number: usize, line: &str) -> Result<RewrittenCaption> {
    serde_json::from_str(line).map_err(|error| TrainingError::Data {
        path: path.to_owned(),
        reason: format!("line {number}: expected {{\"query\": \"…\", \"rewrites\": [\"…\"]}}, {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_of_all_files_meet_under_their_caption() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs_err::write(&path, text).unwrap();
            path
        };
        let texts =
            write("a.jsonl", "{\"query\": \"a dog\", \"rewrites\": [\"a brown dog\", \"a dog\", \" \"]}\n\n");
        let mined = write(
            "b.jsonl",
            r#"{"query": "a dog", "image": 3, "rewrites": [{"text": "a puppy", "rank": 1}, {"text": "a brown dog"}]}"#,
        );
        let rewrites = read(&[texts, mined]).unwrap();
        assert_eq!(rewrites["a dog"], ["a brown dog", "a puppy"]);
        let broken = write("c.jsonl", "{\"query\": \"a\", \"rewrites\": []}\n{\"query\": 3}");
        let error = read(&[broken]).unwrap_err().to_string();
        assert!(error.contains("c.jsonl") && error.contains("line 2"), "{error}");
    }
}
