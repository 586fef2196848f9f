//! Measures the rows of a configuration, each beside the baseline on the same queries.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use relens::dataset::Dataset;
use relens::enhancer::EnhancedQuery;
use relens::enhancer::open::EnhancerContext;
use relens::evaluation::Evaluation;
use relens::progress::Progress;
use relens::ranking::Pipeline;

use super::config::Comparison;
use super::fitting::{Aside, Embedded};
use super::table::ComparedRow;
use crate::measured_queries::{AskedSource, MeasuredQueries};
use crate::reporter::Reporter;

/// Queries, and the rows of the configuration that are measured on them.
pub(super) struct QuerySet {
    source: Option<AskedSource>,
    queries: Vec<MeasuredQueries>,
    rows: Vec<usize>,
}

impl QuerySet {
    /// Each different source of queries once, in the order in which rows name them.
    pub(super) fn of(
        comparison: &Comparison,
        typed: Option<&AskedSource>,
        directory: &Path,
        split: &Dataset,
    ) -> Result<Vec<Self>> {
        let mut sets: Vec<Self> = Vec::new();
        for (row, source) in comparison.queries(typed, directory)?.into_iter().enumerate() {
            match sets.iter_mut().find(|set| set.source == source) {
                Some(set) => set.rows.push(row),
                None => {
                    let queries = MeasuredQueries::of(source.as_ref(), split)?;
                    sets.push(Self { source, queries, rows: vec![row] });
                }
            }
        }
        Ok(sets)
    }

    /// How many queries are run in all, those of the baseline among them.
    fn total(&self) -> u64 {
        let queries: usize = self.queries.iter().map(|queries| queries.dataset.caption_count()).sum();
        (queries * (self.rows.len() + 1)) as u64
    }
}

/// Everything that rows are measured with.
pub(super) struct ComparisonRun<'a> {
    pub(super) comparison: &'a Comparison,
    pub(super) directory: PathBuf,
    pub(super) measured: Embedded,
    pub(super) aside: Option<Aside<'a>>,
    pub(super) context: EnhancerContext,
}

impl ComparisonRun<'_> {
    /// The table: of each kind of queries the baseline, then its rows.
    pub(super) fn rows(&self, sets: &[QuerySet]) -> Result<Vec<ComparedRow>> {
        let baseline = match &self.comparison.baseline {
            Some(baseline) => baseline.open(Some("baseline"), &self.directory, &self.context)?,
            None => Pipeline::default(),
        };
        let (mut progress, mut done) = (Reporter::default(), 0);
        progress.begin("queries", sets.iter().map(QuerySet::total).sum());
        let mut watch = |enhanced: Vec<EnhancedQuery>| {
            done += enhanced.len() as u64;
            progress.advance(done);
        };
        let mut rows = Vec::new();
        for set in sets {
            rows.extend(self.rows_of(set, &baseline, &mut watch)?);
        }
        progress.end();
        Ok(rows)
    }

    fn rows_of(
        &self,
        set: &QuerySet,
        baseline: &Pipeline,
        watch: &mut dyn FnMut(Vec<EnhancedQuery>),
    ) -> Result<Vec<ComparedRow>> {
        let mut run = |queries: &MeasuredQueries, pipeline: &Pipeline| {
            let found = self.measured.run(&queries.dataset, pipeline, watch)?;
            Ok::<_, anyhow::Error>(if queries.image_to_text { found } else { found.text_to_image_only() })
        };
        let before = set.queries.iter().map(|queries| run(queries, baseline));
        let before = before.collect::<Result<Vec<Evaluation>>>()?;
        let of_baseline = set.queries.iter().zip(&before);
        let of_baseline = of_baseline.map(|(queries, before)| {
            Ok(vec![ComparedRow::new(&baseline.name(), None, queries, before, before)?])
        });
        let mut by_kind = of_baseline.collect::<Result<Vec<Vec<ComparedRow>>>>()?;
        for wanted in set.rows.iter().filter_map(|&row| self.comparison.row.get(row)) {
            let label = wanted.label.as_deref();
            let mut pipeline = wanted.enhancer.open(label, &self.directory, &self.context)?;
            let name = pipeline.name();
            let label = label.unwrap_or(&name);
            pipeline.original_share = match (&self.aside, wanted.fit) {
                (Some(aside), Some(with)) => Some(aside.fitted(with, &mut pipeline)?),
                (None, Some(_)) => bail!("`{label}` is to be fitted, but there is no section [fit]"),
                _ => None,
            };
            for ((queries, before), rows) in set.queries.iter().zip(&before).zip(&mut by_kind) {
                let found = run(queries, &pipeline)?;
                rows.push(ComparedRow::new(label, pipeline.original_share, queries, before, &found)?);
            }
        }
        Ok(by_kind.into_iter().flatten().collect())
    }
}
