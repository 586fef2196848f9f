//! Files of rewrites: JSON Lines of a query and what somebody made of it.
//!
//! ```json
//! {"imgid": 3, "query": "a dog", "rewrites": [{"kind": "plain", "text": "a brown dog"}], "blurred": "an animal"}
//! {"query": "a dog", "texts": ["a brown dog"]}
//! ```
//!
//! Recorded replies of language models, mined queries and `relens rewrite --json` all have this form; fields beyond it
//! are allowed. Answers about a caption are read, too, and a file may mix them:
//!
//! ```json
//! {"imgid": 3, "caption": "A dog .", "concept": "A brown dog .", "plain": "a dog", "rare": "tawny canine"}
//! {"imgid": 3, "caption": "A dog .", "query": "ein Hund"}
//! ```
//!
//! `concept`, `evd` and `plain` are rewrites of the caption; `rare`, `chatty`, `keywords` and `query` ask for its picture
//! in other words. Each of these is a query of its own, whose rewrites are those of the caption and the caption itself.

use std::path::Path;

use serde::Deserialize;

use super::text_lines::{broken_line, for_each_line};
use crate::error::{Error, Result};

/// A query with its rewrites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewrittenQuery {
    /// The data set's number of the image, if it is known.
    pub imgid: Option<u64>,
    /// The data set's number of the caption, if it is known.
    pub sentid: Option<u64>,
    /// The query.
    pub query: String,
    /// The field that held it: `query`, `caption`, `rare`, `chatty` or `keywords`.
    pub wording: &'static str,
    /// Its rewrites.
    pub rewrites: Vec<RecordedRewrite>,
    /// A vaguer query.
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

/// The kind of a rewrite that is the caption which its query asks for in other words; and the wording of that caption.
pub const CAPTION: &str = "caption";
/// The wording of queries that are no caption in other words.
pub const QUERY: &str = "query";
/// The kind of a rewrite in words that a retriever knows, as near to the query as can be.
pub const CONCEPT: &str = "concept";

/// A line of any form; which fields it must have depends on the form.
#[derive(Deserialize)]
struct RewriteLine {
    imgid: Option<u64>,
    sentid: Option<u64>,
    query: Option<String>,
    #[serde(alias = "texts")]
    rewrites: Option<Vec<RecordedRewrite>>,
    blurred: Option<String>,
    caption: Option<String>,
    concept: Option<String>,
    evd: Option<String>,
    plain: Option<String>,
    rare: Option<String>,
    chatty: Option<String>,
    keywords: Option<String>,
}

impl RewriteLine {
    /// The queries of the line; else what was expected and what was found.
    fn queries(self) -> std::result::Result<Vec<RewrittenQuery>, (&'static str, &'static str)> {
        let (imgid, sentid) = (self.imgid, self.sentid);
        let query = |wording: &'static str, query: String, rewrites: Vec<RecordedRewrite>| RewrittenQuery {
            imgid,
            sentid,
            query,
            wording,
            rewrites,
            blurred: None,
        };
        // Lines of the first form may name the caption that the query is, as fields beyond it.
        if let Some(rewrites) = self.rewrites {
            let own = self.query.ok_or(("`query` beside `rewrites`", "none"))?;
            return Ok(vec![RewrittenQuery { blurred: self.blurred, ..query(QUERY, own, rewrites) }]);
        }
        let caption = self.caption.ok_or(("`query` with `rewrites`, or `caption`", "neither"))?;
        let rewrites: Vec<RecordedRewrite> =
            [(CONCEPT, self.concept), ("evd", self.evd), ("plain", self.plain)]
                .into_iter()
                .filter_map(|(kind, text)| Some(RecordedRewrite { kind: kind.to_owned(), text: text? }))
                .collect();
        let itself = RecordedRewrite { kind: CAPTION.to_owned(), text: caption.clone() };
        let asked =
            [(QUERY, self.query), ("rare", self.rare), ("chatty", self.chatty), ("keywords", self.keywords)];
        let of_asked = |(wording, asked): (&'static str, Option<String>)| {
            Some(query(wording, asked?, rewrites.iter().chain([&itself]).cloned().collect()))
        };
        let mut queries: Vec<RewrittenQuery> = asked.into_iter().filter_map(of_asked).collect();
        if !rewrites.is_empty() {
            queries.push(query(CAPTION, caption, rewrites));
        }
        match queries.is_empty() {
            true => Err(("a rewrite or another wording beside `caption`", "none")),
            false => Ok(queries),
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

/// Calls `visit` with every query of a file, in order.
///
/// # Errors
/// [`Error::Dataset`] naming file, line and field; [`Error::Io`]; whatever `visit` returns.
pub fn for_each_record(
    path: &Path,
    mut visit: impl FnMut(RecordPlace<'_>, RewrittenQuery) -> Result<()>,
) -> Result<()> {
    for_each_line(path, |line, text| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let record: RewriteLine =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| Error::Dataset {
                path: path.to_owned(),
                location: format!("line {line}, field `{}`", error.path()),
                expected: "{\"query\": \"…\", \"rewrites\": [{\"kind\": \"…\", \"text\": \"…\"}, …]}"
                    .to_owned(),
                found: error.inner().to_string(),
            })?;
        let place = RecordPlace { path, line };
        let queries = record.queries().map_err(|(expected, found)| place.error(expected, found))?;
        queries.into_iter().try_for_each(|query| visit(place, query))
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
    fn every_wording_of_a_caption_has_the_caption_and_its_rewrites() {
        let asked = |line: &str| -> Vec<(String, Vec<(String, String)>)> {
            let plain = |rewrite: RecordedRewrite| (rewrite.kind, rewrite.text);
            let records = read(line).unwrap();
            assert!(records.iter().all(|record| record.imgid == Some(7)));
            records
                .into_iter()
                .map(|record| (record.query, record.rewrites.into_iter().map(plain).collect()))
                .collect()
        };
        let pair = |query: &str, rewrites: &[(&str, &str)]| {
            let rewrites = rewrites.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned()));
            (query.to_owned(), rewrites.collect::<Vec<_>>())
        };
        let both = [("concept", "A black dog ."), (CAPTION, "A dog .")];
        assert_eq!(
            asked(
                "{\"imgid\": 7, \"caption\": \"A dog .\", \"rare\": \"sable canine\", \"keywords\": \"dog\", \"concept\": \"A black dog .\"}"
            ),
            [pair("sable canine", &both), pair("dog", &both), pair("A dog .", &both[..1])]
        );
        assert_eq!(
            asked("{\"imgid\": 7, \"caption\": \"A dog .\", \"query\": \"ein Hund\"}"),
            [pair("ein Hund", &[(CAPTION, "A dog .")])]
        );
        assert_eq!(
            asked("{\"imgid\": 7, \"caption\": \"A pooch .\", \"plain\": \"dog\"}"),
            [pair("A pooch .", &[("plain", "dog")])]
        );
    }

    #[test]
    fn faults_name_line_and_field() {
        let message = |text: &str| read(text).unwrap_err().to_string();
        assert!(
            message("{\"query\": \"a\", \"rewrites\": []}\n{\"query\": 3}").contains("line 2, field `query`")
        );
        assert!(message("{\"query\": \"a\"}").contains("rewrites"));
        assert!(message("{\"rewrites\": []}").contains("expected `query` beside `rewrites`, found none"));
        assert!(message("{\"caption\": \"a\"}").contains("another wording beside `caption`"));
        assert!(message("{\"caption\": \"a\", \"rare\": \" \"}").contains("an empty one"));
        assert!(message("{\"query\": \"a\", \"rewrites\": [\" \"]}").contains("an empty one"));
    }
}
