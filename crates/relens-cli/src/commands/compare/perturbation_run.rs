//! Measures what perturbations of captions cost, and how much of it an enhancer brings back.

use std::path::Path;

use anyhow::{Result, bail};
use relens::dataset::{AskedQueries, Dataset, DatasetImage};
use relens::enhancer::EnhancedQuery;
use relens::error::Error;
use relens::progress::Progress;
use relens::ranking::Pipeline;

use super::fitting::Embedded;
use super::perturbation_table::{BothWays, PerturbationRow, PerturbationTable};
use crate::interrupt;
use crate::perturbed_captions::{PerturbationEffect, PerturbationList, PerturbedCaptions, Perturber};
use crate::reporter::Reporter;

/// The fields of a file of captions that went through another language and back.
const BACK_TRANSLATED_FIELDS: [&str; 2] = ["caption", "query"];
/// How captions that come from such a file are called.
const BACK_TRANSLATION: &str = "back-translation";

/// What is measured.
pub(super) struct PerturbationRun<'a> {
    pub(super) measured: &'a Embedded,
    pub(super) pipeline: &'a Pipeline,
    pub(super) perturber: Perturber,
    pub(super) seed: u64,
}

impl PerturbationRun<'_> {
    /// Measures each perturbation, and the captions of `back_translated` if there is such a file.
    pub(super) fn table(
        &self,
        perturbations: &PerturbationList,
        back_translated: Option<&Path>,
    ) -> Result<PerturbationTable> {
        let captions = &self.measured.dataset;
        let back_translated = back_translated.map(|path| translated(path, captions)).transpose()?;
        let extra = back_translated.as_ref().map_or(0, |(before, _)| 2 * before.caption_count());
        let captions_in_all = (perturbations.0.len() + 1) * captions.caption_count() + extra;
        // Each of them as typed and enhanced.
        let (mut progress, mut done) = (Reporter::default(), 0);
        progress.begin("queries", 2 * captions_in_all as u64);
        let mut watch = |enhanced: Vec<EnhancedQuery>| {
            done += enhanced.len() as u64;
            progress.advance(done);
        };
        let before = self.both_ways(captions, &mut watch)?;
        let mut rows = Vec::new();
        for &perturbation in &perturbations.0 {
            let PerturbedCaptions { dataset, effect } = self.perturber.perturb(captions, perturbation);
            let after = self.both_ways(&dataset, &mut watch)?;
            rows.push(PerturbationRow::new(effect, &before, &after)?);
        }
        if let Some((originals, translated)) = back_translated {
            let of_originals = self.both_ways(&originals, &mut watch)?;
            let after = self.both_ways(&translated.dataset, &mut watch)?;
            rows.push(PerturbationRow::new(translated.effect, &of_originals, &after)?);
        }
        progress.end();
        PerturbationTable::new(self.seed, &before, rows)
    }

    fn both_ways(&self, captions: &Dataset, watch: &mut dyn FnMut(Vec<EnhancedQuery>)) -> Result<BothWays> {
        let mut run = |pipeline: &Pipeline| {
            if interrupt::requested() {
                return Err(Error::Cancelled.into());
            }
            self.measured.run(captions, pipeline, watch)
        };
        Ok(BothWays { as_typed: run(&Pipeline::default())?, enhanced: run(self.pipeline)? })
    }
}

/// The captions of a file before and after they went through another language.
fn translated(path: &Path, captions: &Dataset) -> Result<(Dataset, PerturbedCaptions)> {
    let fields = BACK_TRANSLATED_FIELDS.map(str::to_owned);
    let mut asked = AskedQueries::open(path, captions, &fields)?;
    let [before, after] = BACK_TRANSLATED_FIELDS.map(|field| asked.kinds.remove(field));
    let (Some(before), Some(after)) = (before, after) else {
        bail!("{}: expected `caption` and `query` in every line, found no such line", path.display());
    };
    let same =
        |(before, after): (&DatasetImage, &DatasetImage)| before.captions.len() == after.captions.len();
    if !before.images.iter().zip(&after.images).all(same) {
        bail!(
            "{}: expected a text in `caption` and in `query` of every line, found empty ones",
            path.display()
        );
    }
    let changed = before.captions().zip(after.captions()).filter(|(before, after)| before != after).count();
    let effect = PerturbationEffect { perturbation: BACK_TRANSLATION.to_owned(), changed };
    Ok((before, PerturbedCaptions { dataset: after, effect }))
}
