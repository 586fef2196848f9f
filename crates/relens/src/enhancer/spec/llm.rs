//! Opens `llm`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::Settings;
use crate::enhancer::baselines::llm::RecordedLlm;
use crate::enhancer::mix::Mix;
use crate::error::Result;

/// Settings of `llm`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LlmSpec {
    /// Files of recorded replies; at least one.
    pub records: Vec<PathBuf>,
    /// The kinds of rewrites that are used; default: all.
    pub kinds: Vec<String>,
    /// How much the query itself counts.
    pub mix: Mix,
}

pub(super) fn open(settings: &Settings) -> Result<RecordedLlm> {
    let spec: LlmSpec = settings.parse()?;
    spec.mix.ensure_valid(&settings.name)?;
    settings.required(spec.records.first(), "records")?;
    let records: Vec<PathBuf> = spec.records.iter().map(|path| settings.path(path)).collect();
    let records: Vec<&Path> = records.iter().map(PathBuf::as_path).collect();
    RecordedLlm::open(&records, &spec.kinds, spec.mix)
}
