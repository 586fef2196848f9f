//! LLMsRewrite: what a prompted, untrained language model made of a query, from its recorded replies.
//!
//! Records are JSON Lines of `{"query", "rewrites": [{"kind", "text"}, …]}`; other fields are allowed. A query is looked
//! up without regard to case, spacing and the full stop at its end. What was never asked stays as it is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::dataset::rewrites::{RecordedRewrite, for_each_record};
use crate::enhancer::mix::{Mix, equally_weighted};
use crate::enhancer::open::EnhancerTable;
use crate::enhancer::{EnhancedQuery, Query, QueryEnhancer, TraceEntry};
use crate::error::Result;
use crate::index::Index;

/// What `llm` can be set to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmConfig {
    /// Files of recorded replies; at least one.
    pub records: Vec<PathBuf>,
    /// The kinds of rewrites that are used; default: all.
    pub kinds: Vec<String>,
    /// How much the query itself counts.
    pub mix: Mix,
}

/// The enhancer.
#[derive(Debug)]
pub struct RecordedLlm {
    rewrites: HashMap<String, Vec<String>>,
    mix: Mix,
}

impl RecordedLlm {
    /// Reads records. With `kinds`, only rewrites of these kinds are used.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming file, line and field; [`Error::Io`](crate::error::Error::Io).
    pub fn open(paths: &[&Path], kinds: &[String], mix: Mix) -> Result<Self> {
        let mut rewrites: HashMap<String, Vec<String>> = HashMap::new();
        for &path in paths {
            for_each_record(path, |place, record| {
                place.refuse_blank_texts(&record)?;
                let wanted = |rewrite: &RecordedRewrite| kinds.is_empty() || kinds.contains(&rewrite.kind);
                let texts = rewrites.entry(key(&record.query)).or_default();
                for rewrite in record.rewrites.into_iter().filter(wanted) {
                    if !texts.contains(&rewrite.text) {
                        texts.push(rewrite.text);
                    }
                }
                Ok(())
            })?;
        }
        Ok(Self { rewrites, mix })
    }

    pub(in crate::enhancer) fn open_table(table: &EnhancerTable) -> Result<Self> {
        let config: LlmConfig = table.parse()?;
        config.mix.ensure_valid(&table.name)?;
        table.required(config.records.first(), "records")?;
        let records: Vec<PathBuf> = config.records.iter().map(|path| table.path(path)).collect();
        let records: Vec<&Path> = records.iter().map(PathBuf::as_path).collect();
        Self::open(&records, &config.kinds, config.mix)
    }

    /// How many queries have a recorded reply.
    pub fn len(&self) -> usize {
        self.rewrites.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rewrites.is_empty()
    }
}

fn key(query: &str) -> String {
    let words = query.to_lowercase();
    let words = words.trim_end_matches(|character: char| character == '.' || character.is_whitespace());
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl QueryEnhancer for RecordedLlm {
    fn name(&self) -> &str {
        "llm"
    }

    fn enhance_batch(&self, queries: &[Query], _: Option<&dyn Index>) -> Result<Vec<EnhancedQuery>> {
        Ok(queries.iter().map(|query| self.enhance(query)).collect())
    }
}

impl RecordedLlm {
    fn enhance(&self, query: &Query) -> EnhancedQuery {
        let Some(texts) = self.rewrites.get(&key(query.text())).filter(|texts| !texts.is_empty()) else {
            return EnhancedQuery::unchanged(query, "no reply to it was recorded");
        };
        let added =
            |text: &String| TraceEntry::TextAdded { text: text.clone(), source: "recorded reply".to_owned() };
        let trace = texts.iter().map(added).collect();
        self.mix.with_rewrites(query, equally_weighted(texts.clone()), trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhancer::enhance_text;

    fn open(text: &str, kinds: &[&str]) -> Result<RecordedLlm> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), text).unwrap();
        let kinds: Vec<String> = kinds.iter().map(|&kind| kind.to_owned()).collect();
        RecordedLlm::open(&[file.path()], &kinds, Mix::default())
    }

    const RECORD: &str = concat!(
        r#"{"imgid": 1, "query": "A dog runs .", "rewrites": [{"kind": "plain", "text": "a running dog"}, "#,
        r#"{"kind": "evd", "text": "a dog with four legs runs"}]}"#,
    );

    #[test]
    fn a_recorded_reply_is_used_and_an_unknown_query_stays() {
        let llm = open(RECORD, &[]).unwrap();
        let texts = |query: &str| enhance_text(&llm, query).texts.len();
        assert_eq!((texts("a dog  runs"), texts("a cat runs"), llm.len()), (3, 1, 1));
        let plain = open(RECORD, &["plain"]).unwrap();
        let enhanced = enhance_text(&plain, "A dog runs");
        assert_eq!(enhanced.texts[1].text, "a running dog");
    }

    #[test]
    fn faults_name_the_line() {
        let message = open(&format!("{RECORD}\n{{\"query\": \"a\"}}"), &[]).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
        let message = open(r#"{"query": "a", "rewrites": [{"text": " "}]}"#, &[]).unwrap_err().to_string();
        assert!(message.contains("expected a text in every rewrite"), "{message}");
    }
}
