//! Ways of rewriting queries.

use std::path::PathBuf;
use std::sync::Arc;

use pyo3::prelude::*;
use relens::embed::TextEmbedder;
use relens::enhancer::open::EnhancerContext;
use relens::enhancer::{Combination, Query};
use relens::home;
use relens::ranking::Pipeline;

use crate::fault::{Fault, Result};
use crate::retriever::Retriever;
use crate::work;

/// A pipeline, from a query to what is searched for.
#[pyclass(frozen, module = "relens._relens")]
pub(crate) struct Enhancer {
    pub(crate) pipeline: Arc<Pipeline>,
}

#[pymethods]
impl Enhancer {
    /// Opens what `spec` says: a name, the path of a TOML file or of a rewriter, or a dictionary with what such a file
    /// holds, whose paths are relative to `directory`.
    #[new]
    fn new(
        py: Python<'_>,
        spec: Bound<'_, PyAny>,
        retriever: &Retriever,
        directory: PathBuf,
        combine: Option<&str>,
        keep_history: bool,
    ) -> Result<Self> {
        let combine = combine.map(combination).transpose()?;
        let embedder: Arc<dyn TextEmbedder> = retriever.encoder.clone();
        let context = EnhancerContext {
            home: home::directory(),
            embedder: Some(embedder),
            forgetful: !keep_history,
            ..EnhancerContext::default()
        };
        let name: Option<String> = spec.extract().ok();
        let table: Option<toml::Table> = match name {
            Some(_) => None,
            None => Some(pythonize::depythonize(&spec).map_err(|error| Fault::Argument {
                name: "enhancer",
                expected: "a name, a path, or a dictionary of what a TOML file would hold".to_owned(),
                found: error.to_string(),
            })?),
        };
        let pipeline = work::run(py, None, move |_| {
            Ok(match (name, table) {
                (Some(name), _) => Pipeline::open(&name, &context)?,
                (None, table) => {
                    Pipeline::open_table(table.unwrap_or_default(), "the dictionary", &directory, &context)?
                }
            })
        })?;
        let combine = combine.or(pipeline.combine);
        Ok(Self { pipeline: Arc::new(Pipeline { combine, ..pipeline }) })
    }

    #[getter]
    fn name(&self) -> String {
        self.pipeline.name()
    }

    /// What queries become: for each `{"texts": [{"text", "weight"}], "combination", "trace": [steps]}`.
    fn rewrite<'py>(&self, py: Python<'py>, queries: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let pipeline = self.pipeline.clone();
        let enhanced = work::run(py, None, move |_| {
            let queries = queries.iter().map(|query| Query::new(query));
            Ok(pipeline.enhance(&queries.collect::<relens::error::Result<Vec<_>>>()?, None)?)
        })?;
        Ok(pythonize::pythonize(py, &enhanced)?)
    }
}

fn combination(name: &str) -> Result<Combination> {
    let read: Result<Combination, serde_json::Error> = serde_json::from_value(name.into());
    read.map_err(|error| Fault::Argument {
        name: "combine",
        expected: "a way of combining, such as \"mean_embedding\"".to_owned(),
        found: error.to_string(),
    })
}
