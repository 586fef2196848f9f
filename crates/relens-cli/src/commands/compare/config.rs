//! What is compared: a TOML file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use relens::enhancer::open::EnhancerContext;
use relens::ranking::Pipeline;
use relens_models::regular_file::{self, FileKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::measured_queries::AskedSource;

/// The configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Comparison {
    /// The split that is measured.
    pub(super) split: String,
    /// What the differences are to; default `identity`.
    pub(super) baseline: Option<RowEnhancer>,
    /// Where shares are fitted.
    pub(super) fit: Option<ShareFitting>,
    /// Queries in the captions' place, for all rows that name none; beside the configuration.
    queries: Option<PathBuf>,
    /// Its fields that hold a query, each of them a kind.
    query_field: Option<QueryFields>,
    /// The rows of the table.
    pub(super) row: Vec<Row>,
}

impl Comparison {
    /// Reads a configuration.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let text = regular_file::read_to_string(path, FileKind::Settings)?;
        toml::from_str(&text).with_context(|| format!("{} cannot be used", path.display()))
    }

    /// What each row asks, where it is not the captions; the rows that name no queries ask `others`, or else those that
    /// all rows have. Paths are taken from `directory`.
    pub(super) fn queries(
        &self,
        others: Option<&AskedSource>,
        directory: &Path,
    ) -> Result<Vec<Option<AskedSource>>> {
        let of = |queries: &Option<PathBuf>, fields: &Option<QueryFields>| match (queries, fields) {
            (Some(path), fields) => {
                let fields = fields.clone().map(QueryFields::names).unwrap_or_default();
                Ok(Some(AskedSource { path: directory.join(path), fields }))
            }
            (None, Some(_)) => {
                bail!("`query_field` says where queries stand in a file, but there is no `queries` beside it")
            }
            (None, None) => Ok(None),
        };
        let of_all = of(&self.queries, &self.query_field)?;
        let of_row = |row: &Row| {
            let own = of(&row.queries, &row.query_field)?;
            Ok(own.or_else(|| others.cloned()).or_else(|| of_all.clone()))
        };
        self.row.iter().map(of_row).collect()
    }
}

/// `"rare"` or `["rare", "chatty"]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum QueryFields {
    One(String),
    Several(Vec<String>),
}

impl QueryFields {
    fn names(self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name],
            Self::Several(names) => names,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShareFitting {
    /// The split, or the part of one, on which shares are fitted.
    pub(super) split: String,
    /// A retriever that has not seen the split, a name or a directory, for rows with `fit = "held_out_retriever"`. One
    /// that has ranks its captions nearly by heart, and anything beside them looks worse than it is.
    pub(super) model: Option<String>,
    /// The shares of the original that are tried.
    pub(super) shares: Vec<f32>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Table")]
pub(super) struct Row {
    /// The row's name; default: the enhancer's.
    pub(super) label: Option<String>,
    /// Whether the share of the original is fitted, and with which retriever.
    pub(super) fit: Option<FitWith>,
    queries: Option<PathBuf>,
    query_field: Option<QueryFields>,
    pub(super) enhancer: RowEnhancer,
}

/// What is measured.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum RowEnhancer {
    /// `enhancer = "…"`: a name or a TOML file beside the configuration.
    Named(String),
    /// What such a file would hold, in the row or baseline itself: `[[row.enhancer]]`, `[row.neighbours]` and so on.
    Inline(toml::Table),
}

impl TryFrom<toml::Table> for Row {
    type Error = toml::de::Error;

    fn try_from(mut table: toml::Table) -> Result<Self, toml::de::Error> {
        let label = taken(&mut table, "label")?;
        let fit = taken(&mut table, "fit")?;
        let queries = taken(&mut table, "queries")?;
        let query_field = taken(&mut table, "query_field")?;
        let enhancer = match table.get("enhancer") {
            Some(toml::Value::String(name)) if table.len() == 1 => RowEnhancer::Named(name.clone()),
            Some(toml::Value::String(name)) => {
                let expected = "expected nothing but `label`, `fit`, `queries` and `query_field` beside";
                return Err(serde::de::Error::custom(format!("{expected} `enhancer = \"{name}\"`")));
            }
            _ => RowEnhancer::Inline(table),
        };
        Ok(Self { label, fit, queries, query_field, enhancer })
    }
}

fn taken<T: DeserializeOwned>(table: &mut toml::Table, key: &str) -> Result<Option<T>, toml::de::Error> {
    table.remove(key).map(toml::Value::try_into).transpose()
}

impl RowEnhancer {
    pub(super) fn open(
        &self,
        label: Option<&str>,
        directory: &Path,
        context: &EnhancerContext,
    ) -> Result<Pipeline> {
        Ok(match self {
            Self::Named(name) => Pipeline::open(&resolved(directory, name), context)?,
            Self::Inline(table) => {
                Pipeline::open_table(table.clone(), label.unwrap_or("[[row]]"), directory, context)?
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FitWith {
    /// The one that `fit.model` names.
    HeldOutRetriever,
    /// The one that is measured: for enhancers with weights that were trained in its space.
    MeasuredRetriever,
}

/// A TOML file is looked for beside the configuration.
fn resolved(directory: &Path, enhancer: &str) -> String {
    if enhancer.ends_with(".toml") {
        directory.join(enhancer).display().to_string()
    } else {
        enhancer.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use relens::ranking::pipeline_config::{self, PipelineConfig};

    use super::*;

    fn rows(text: &str) -> Result<Vec<Row>, String> {
        let text = format!("split = \"val\"\n{text}");
        toml::from_str::<Comparison>(&text).map(|found| found.row).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_names_an_enhancer_or_holds_what_its_file_would() {
        let found = rows(
            "[[row]]\nenhancer = \"concat\"\nfit = \"measured_retriever\"\n[[row]]\nlabel = \"two\"\n\
             combine = \"max_score\"\n[[row.enhancer]]\nname = \"identity\"\n[[row.enhancer]]\nname = \"arithmetic\"\n",
        )
        .unwrap();
        assert_eq!(found[0].enhancer, RowEnhancer::Named("concat".to_owned()));
        assert_eq!(found[0].fit, Some(FitWith::MeasuredRetriever));
        let open = |row: &Row| row.enhancer.open(None, Path::new(""), &EnhancerContext::default());
        assert_eq!(open(&found[1]).unwrap().name(), "identity+arithmetic");
        let refused = rows("[[row]]\nenhancer = \"concat\"\ncombine = \"max_score\"\n").unwrap_err();
        assert!(refused.contains("nothing but `label`, `fit`"), "{refused}");
        let unknown = rows("[[row]]\nmagic = 1\n").unwrap();
        assert!(open(&unknown[0]).unwrap_err().to_string().contains("unknown field `magic`"));
    }

    #[test]
    fn a_row_asks_its_own_queries_before_those_of_all() {
        let comparison: Comparison = toml::from_str(
            "split = \"val\"\nqueries = \"all.jsonl\"\n[[row]]\nenhancer = \"concat\"\n\
             [[row]]\nenhancer = \"concat\"\nqueries = \"own.jsonl\"\nquery_field = \"rare\"\n",
        )
        .unwrap();
        let source = |path: &str, fields: &[&str]| {
            let fields = fields.iter().map(|&field| field.to_owned()).collect();
            Some(AskedSource { path: path.into(), fields })
        };
        let directory = Path::new("configs");
        let own = source("configs/own.jsonl", &["rare"]);
        let found = comparison.queries(None, directory).unwrap();
        assert_eq!(found, [source("configs/all.jsonl", &[]), own.clone()]);
        let typed = source("typed.jsonl", &["chatty"]);
        assert_eq!(comparison.queries(typed.as_ref(), directory).unwrap(), [typed, own]);
        let lost = rows("[[row]]\nenhancer = \"concat\"\nquery_field = [\"rare\"]\n").unwrap();
        let lost = Comparison { row: lost, ..comparison };
        assert!(lost.queries(None, directory).unwrap_err().to_string().contains("no `queries`"));
    }

    #[test]
    fn every_comparison_that_comes_with_relens_can_be_read() {
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let mut directories = vec![configs];
        let mut read = 0;
        while let Some(directory) = directories.pop() {
            for entry in fs_err::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                    continue;
                }
                let text = fs_err::read_to_string(&path).unwrap();
                if !text.contains("[[row]]") || path.extension().is_none_or(|extension| extension != "toml") {
                    continue;
                }
                let found: Comparison =
                    toml::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                for described in found.row.iter().map(|row| &row.enhancer).chain(&found.baseline) {
                    match described {
                        RowEnhancer::Named(name) if name.ends_with(".toml") => {
                            assert!(path.with_file_name(name).is_file(), "{path:?}: {name}");
                        }
                        RowEnhancer::Named(name) => {
                            assert!(pipeline_config::names().contains(&name.as_str()), "{path:?}: {name}");
                        }
                        RowEnhancer::Inline(table) => {
                            let config = toml::Value::Table(table.clone()).try_into::<PipelineConfig>();
                            config.unwrap_or_else(|error| panic!("{path:?}: {error}"));
                        }
                    }
                }
                read += 1;
            }
        }
        assert!(read > 10, "found {read} comparisons");
    }
}
