//! Features of frozen towers on disk: computed once, found again by all that decides them.
//!
//! A file holds rows of equal width, little-endian, under a name made of the kind and a hash; a small JSON file beside
//! it says how many and with which checksum. While rows are computed they are appended to `NAME.partial`, so a killed
//! run goes on where it was.

use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use relens_models::atomic_file::write_atomically;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::{CacheConfig, FeaturePrecision};
use crate::{Result, TrainingError};
use relens::progress::Progress;

/// Rows of features in memory, in the precision of the cache.
#[derive(Debug, Clone)]
pub(super) struct FeatureRows {
    values: Values,
    width: usize,
}

#[derive(Debug, Clone)]
enum Values {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl FeatureRows {
    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        let length = match &self.values {
            Values::F16(values) => values.len(),
            Values::F32(values) => values.len(),
        };
        length / self.width.max(1)
    }

    /// Features in a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Copies a row into `out`.
    ///
    /// # Panics
    /// The row is out of range, or `out` has another length: a defect of the caller.
    pub(super) fn read(&self, row: usize, out: &mut [f32]) {
        let range = row * self.width..(row + 1) * self.width;
        match &self.values {
            Values::F16(values) => values[range].convert_to_f32_slice(out),
            Values::F32(values) => out.copy_from_slice(&values[range]),
        }
    }

    /// The first `rows` rows as f32.
    pub(super) fn to_f32(&self, rows: Range<usize>) -> Vec<f32> {
        let mut output = vec![0f32; rows.len() * self.width];
        output.par_chunks_mut(self.width.max(1)).zip(rows).for_each(|(out, row)| self.read(row, out));
        output
    }

    #[cfg(test)]
    pub(super) fn from_f32(values: Vec<f32>, width: usize) -> Self {
        Self { values: Values::F32(values), width }
    }
}

/// What identifies a file of the cache, and how large it is.
#[derive(Debug, Clone)]
pub(super) struct CacheKey {
    /// What the rows are, part of the file's name, for instance `image-full`.
    pub(super) kind: String,
    /// Hash of everything that decides the values.
    pub(super) fingerprint: String,
    /// Number of rows.
    pub(super) rows: usize,
    /// Features in a row.
    pub(super) width: usize,
}

/// The file beside the rows.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureCacheHeader {
    kind: String,
    fingerprint: String,
    rows: usize,
    width: usize,
    precision: FeaturePrecision,
    sha256: String,
}

/// The directory of cached features.
#[derive(Debug)]
pub(super) struct FeatureCache {
    directory: PathBuf,
    precision: FeaturePrecision,
}

impl FeatureCache {
    pub(super) fn open(config: &CacheConfig) -> Result<Self> {
        fs_err::create_dir_all(&config.directory)?;
        Ok(Self { directory: config.directory.clone(), precision: config.precision })
    }

    /// The rows of `key`, from disk, or computed `chunk` rows at a time.
    ///
    /// # Errors
    /// Those of `compute`; the disk is full; [`TrainingError::Interrupted`].
    pub(super) fn rows(
        &self,
        key: &CacheKey,
        chunk: usize,
        progress: &mut dyn Progress,
        mut compute: impl FnMut(Range<usize>) -> Result<Vec<f32>>,
    ) -> Result<FeatureRows> {
        let path = self.path(key);
        if let Some(rows) = self.load(key, &path)? {
            return Ok(rows);
        }
        let partial = path.with_extension("partial");
        let row_bytes = key.width * self.element_bytes();
        let mut file =
            fs_err::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&partial)?;
        let mut done = (file.metadata()?.len() / row_bytes.max(1) as u64) as usize;
        done = done.min(key.rows) / chunk * chunk;
        file.set_len((done * row_bytes) as u64)?;
        file.seek(SeekFrom::End(0))?;
        progress.begin(&format!("features: {}", key.kind), key.rows as u64);
        progress.advance(done as u64);
        while done < key.rows {
            let range = done..(done + chunk).min(key.rows);
            let values = compute(range.clone())?;
            check(key, &range, &values)?;
            file.write_all(&self.encode(&values))?;
            file.sync_data()?;
            done = range.end;
            progress.advance(done as u64);
            if progress.cancelled() {
                return Err(TrainingError::Interrupted { step: 0 });
            }
        }
        progress.end();
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut bytes)?;
        self.finish(key, &partial, &path, &bytes)?;
        Ok(self.decode(&bytes, key.width))
    }

    fn finish(&self, key: &CacheKey, partial: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
        let description = FeatureCacheHeader {
            kind: key.kind.clone(),
            fingerprint: key.fingerprint.clone(),
            rows: key.rows,
            width: key.width,
            precision: self.precision,
            sha256: hex(&Sha256::digest(bytes)),
        };
        let text = serde_json::to_vec_pretty(&description).map_err(std::io::Error::from)?;
        // The description first: rows without one would be computed again, one without rows is passed over.
        write_atomically(&path.with_extension("json"), &text)?;
        fs_err::rename(partial, path)?;
        Ok(())
    }

    /// The rows on disk, if they are whole and what `key` asks for.
    fn load(&self, key: &CacheKey, path: &Path) -> Result<Option<FeatureRows>> {
        let description_path = path.with_extension("json");
        if !path.exists() || !description_path.exists() {
            return Ok(None);
        }
        let bytes = fs_err::read(path)?;
        let expected = FeatureCacheHeader {
            kind: key.kind.clone(),
            fingerprint: key.fingerprint.clone(),
            rows: key.rows,
            width: key.width,
            precision: self.precision,
            sha256: hex(&Sha256::digest(&bytes)),
        };
        let found: Option<FeatureCacheHeader> =
            serde_json::from_slice(&fs_err::read(&description_path)?).ok();
        if found.as_ref() != Some(&expected) {
            tracing::warn!(path = %path.display(), "cached features are damaged, computing them again");
            fs_err::remove_file(path)?;
            return Ok(None);
        }
        Ok(Some(self.decode(&bytes, key.width)))
    }

    fn path(&self, key: &CacheKey) -> PathBuf {
        let hash = key.fingerprint.get(..20).unwrap_or(&key.fingerprint);
        let precision = match self.precision {
            FeaturePrecision::F16 => "f16",
            FeaturePrecision::F32 => "f32",
        };
        self.directory.join(format!("{}-{precision}-{hash}.rows", key.kind))
    }

    fn element_bytes(&self) -> usize {
        match self.precision {
            FeaturePrecision::F16 => 2,
            FeaturePrecision::F32 => 4,
        }
    }

    fn encode(&self, values: &[f32]) -> Vec<u8> {
        match self.precision {
            FeaturePrecision::F16 => values
                .iter()
                .flat_map(|&value| {
                    f16::from_f32(value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32())).to_le_bytes()
                })
                .collect(),
            FeaturePrecision::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn decode(&self, bytes: &[u8], width: usize) -> FeatureRows {
        let values = match self.precision {
            FeaturePrecision::F16 => Values::F16(
                bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect(),
            ),
            FeaturePrecision::F32 => Values::F32(
                bytes
                    .chunks_exact(4)
                    .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                    .collect(),
            ),
        };
        FeatureRows { values, width }
    }
}

fn check(key: &CacheKey, range: &Range<usize>, values: &[f32]) -> Result<()> {
    if values.len() != range.len() * key.width {
        return Err(TrainingError::argument(
            "FeatureCache::rows",
            format!("{} rows of width {}", range.len(), key.width),
            format!("{} values", values.len()),
        ));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(position) => Err(TrainingError::argument(
            "FeatureCache::rows",
            format!("finite features of kind {}", key.kind),
            format!("{} in row {}", values[position], range.start + position / key.width.max(1)),
        )),
        None => Ok(()),
    }
}

/// Hash of everything that decides some features, part by part.
#[derive(Debug, Default)]
pub(super) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Takes in a part; its length too, so that two parts cannot be mistaken for others.
    #[must_use]
    pub(super) fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(super) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use relens::progress::Silent;

    fn cache(directory: &Path, precision: FeaturePrecision) -> FeatureCache {
        FeatureCache::open(&CacheConfig { directory: directory.to_owned(), precision }).unwrap()
    }

    fn key() -> CacheKey {
        let fingerprint = Fingerprint::default().with("trunk").with("pictures").finish();
        CacheKey { kind: "image-full".into(), fingerprint, rows: 10, width: 3 }
    }

    fn values(range: Range<usize>) -> Vec<f32> {
        range.flat_map(|row| (0..3).map(move |column| row as f32 + column as f32 * 0.25)).collect()
    }

    #[test]
    fn rows_are_computed_once() {
        for precision in [FeaturePrecision::F16, FeaturePrecision::F32] {
            let directory = tempfile::tempdir().unwrap();
            let cache = cache(directory.path(), precision);
            let mut calls = 0;
            for _ in 0..2 {
                let rows = cache
                    .rows(&key(), 4, &mut Silent, |range| {
                        calls += 1;
                        Ok(values(range))
                    })
                    .unwrap();
                assert_eq!(rows.to_f32(0..10), values(0..10));
            }
            assert_eq!(calls, 3, "4 + 4 + 2 rows, once");
        }
    }

    #[test]
    fn a_killed_computation_goes_on_where_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path(), FeaturePrecision::F32);
        let failed = cache.rows(&key(), 4, &mut Silent, |range| match range.start {
            0 => Ok(values(range)),
            _ => Err(TrainingError::Interrupted { step: 0 }),
        });
        assert!(failed.is_err());
        let mut starts = Vec::new();
        let rows = cache
            .rows(&key(), 4, &mut Silent, |range| {
                starts.push(range.start);
                Ok(values(range))
            })
            .unwrap();
        assert_eq!(starts, [4, 8]);
        assert_eq!(rows.to_f32(0..10), values(0..10));
    }

    #[test]
    fn a_damaged_file_is_computed_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path(), FeaturePrecision::F32);
        let compute = |range| Ok(values(range));
        cache.rows(&key(), 4, &mut Silent, compute).unwrap();
        let path = cache.path(&key());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..20]).unwrap();
        let rows = cache.rows(&key(), 4, &mut Silent, compute).unwrap();
        assert_eq!(rows.to_f32(0..10), values(0..10));
    }

    #[test]
    fn features_that_are_not_numbers_are_refused_with_their_row() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache(directory.path(), FeaturePrecision::F32);
        let error = cache
            .rows(&key(), 4, &mut Silent, |range| {
                let mut values = values(range);
                values[5] = f32::NAN;
                Ok(values)
            })
            .unwrap_err();
        assert!(error.to_string().contains("NaN in row 1"), "{error}");
    }
}
