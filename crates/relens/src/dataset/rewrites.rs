//! Files of rewrites: JSON Lines of a query and what somebody made of it.
//!
//! ```json
//! {"imgid": 3, "query": "a dog", "rewrites": [{"kind": "plain", "text": "a brown dog"}], "blurred": "an animal"}
//! {"query": "a dog", "texts": ["a brown dog"]}
//! ```
//!
//! Recorded replies of language models, mined queries and `relens rewrite --json` all have this form; fields beyond it
//! are allowed.

use std::path::Path;

use serde::Deserialize;

use super::text_lines::{broken_line, for_each_line};
use crate::error::{Error, Result};

/// A query with its rewrites.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RewrittenQuery {
    /// The data set's number of the image, if it is known.
    #[serde(default)]
    pub imgid: Option<u64>,
    /// The data set's number of the caption, if it is known.
    #[serde(default)]
    pub sentid: Option<u64>,
    /// The query.
    pub query: String,
    /// Its rewrites.
    #[serde(alias = "texts")]
    pub rewrites: Vec<RecordedRewrite>,
    /// A vaguer query.
    #[serde(default)]
    pub blurred: Option<String>,
}

/// A rewrite as it was written down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RewriteForm")]
pub struct RecordedRewrite {
    /// What kind of rewrite it is; empty where nobody said.
    pub kind: String,
    /// The text.
    pub text: String,
}

/// The two forms of a rewrite.
#[derive(Deserialize)]
#[serde(untagged)]
enum RewriteForm {
    Text(String),
    Kind {
        #[serde(default)]
        kind: String,
        text: String,
    },
}

impl From<RewriteForm> for RecordedRewrite {
    fn from(form: RewriteForm) -> Self {
        match form {
            RewriteForm::Text(text) => Self { kind: String::new(), text },
            RewriteForm::Kind { kind, text } => Self { kind, text },
        }
    }
}

/// Where a record stands, for errors about it.
#[derive(Debug, Clone, Copy)]
pub struct RecordPlace<'a> {
    path: &'a Path,
    line: usize,
}

impl RecordPlace<'_> {
    /// The error of a record that is not what its reader needs.
    pub fn error(&self, expected: &str, found: &str) -> Error {
        broken_line(self.path, self.line, expected, found)
    }

    /// Refuses a record with a text that is blank.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming file and line.
    pub fn refuse_blank_texts(&self, record: &RewrittenQuery) -> Result<()> {
        let texts = record.rewrites.iter().map(|rewrite| &rewrite.text);
        if texts.chain([&record.query]).chain(&record.blurred).any(|text| text.trim().is_empty()) {
            return Err(self.error("a text in every rewrite, in `query` and in `blurred`", "an empty one"));
        }
        Ok(())
    }
}

/// Calls `visit` with every record of a file, in order.
///
/// # Errors
/// [`Error::Dataset`] naming file, line and field; [`Error::Io`]; whatever `visit` returns.
pub fn for_each_record(
    path: &Path,
    mut visit: impl FnMut(RecordPlace<'_>, RewrittenQuery) -> Result<()>,
) -> Result<()> {
    for_each_line(path, |line, text| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| Error::Dataset {
            path: path.to_owned(),
            location: format!("line {line}, field `{}`", error.path()),
            expected: "{\"query\": \"…\", \"rewrites\": [{\"kind\": \"…\", \"text\": \"…\"}, …]}".to_owned(),
            found: error.inner().to_string(),
        })?;
        visit(RecordPlace { path, line }, record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<RewrittenQuery>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        let mut records = Vec::new();
        for_each_record(file.path(), |place, record| {
            place.refuse_blank_texts(&record)?;
            records.push(record);
            Ok(())
        })?;
        Ok(records)
    }

    #[test]
    fn all_forms_of_a_record_are_read() {
        let lines = concat!(
            "{\"imgid\": 3, \"query\": \"a dog\", \"rewrites\": [{\"kind\": \"plain\", \"text\": \"a puppy\"}]}\n\n",
            "{\"query\": \"a cat\", \"image\": 1, \"texts\": [\"a kitten\", {\"text\": \"a tomcat\", \"rank\": 2}]}\n",
        );
        let records = read(lines).unwrap();
        assert_eq!((records[0].imgid, records[0].rewrites[0].kind.as_str()), (Some(3), "plain"));
        let texts: Vec<&str> = records[1].rewrites.iter().map(|rewrite| rewrite.text.as_str()).collect();
        assert_eq!(texts, ["a kitten", "a tomcat"]);
    }

    #[test]
    fn faults_name_line_and_field() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(
            message("{\"query\": \"a\", \"rewrites\": []}\n{\"query\": 3}").contains("line 2, field `query`")
        );
        assert!(message("{\"query\": \"a\"}").contains("rewrites"));
        assert!(message("{\"query\": \"a\", \"rewrites\": [\" \"]}").contains("an empty one"));
    }
}
