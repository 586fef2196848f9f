//! Vectors on disk: a header, then the ids and the vectors as they lie in memory, so that opening is a mapping.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0–7 | `relensvx` |
//! | 8–11 | format version |
//! | 12–15 | dimension |
//! | 16–23 | number of vectors |
//! | 24–27 | length of the model's fingerprint |
//! | 28–31 | CRC-32 of all that follows the header |
//! | 32–35 | CRC-32 of bytes 0–31 |
//! | 36–63 | zeros |
//! | 64– | fingerprint, zeros up to a multiple of 64; ids (u64), zeros likewise; vectors (f32) |
//!
//! Numbers are little-endian.

use std::io::Write;
use std::path::Path;

use memmap2::Mmap;
use relens_models::atomic_file::AtomicFile;
use relens_models::regular_file;

use crate::error::{Error, Result};
use crate::storage_error::write_error;

const MAGIC: &[u8; 8] = b"relensvx";
const VERSION: u32 = 1;
const HEADER: usize = 64;
/// Where ids and vectors may begin: a cache line.
const ALIGNMENT: usize = 64;

/// Vectors in memory, or in a mapped file until the first change.
#[derive(Debug)]
pub(super) struct Vectors {
    mapped: Option<MappedRange>,
    memory: Vec<f32>,
}

#[derive(Debug)]
struct MappedRange {
    file: Mmap,
    start: usize,
    end: usize,
}

impl Vectors {
    pub(super) fn in_memory(memory: Vec<f32>) -> Self {
        Self { mapped: None, memory }
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        match &self.mapped {
            None => &self.memory,
            Some(mapped) => mapped.as_slice(),
        }
    }

    /// The values for a change: a mapped file is copied, never written to.
    pub(super) fn to_mut(&mut self) -> &mut Vec<f32> {
        if let Some(mapped) = self.mapped.take() {
            self.memory = mapped.as_slice().to_vec();
        }
        &mut self.memory
    }
}

impl MappedRange {
    /// Alignment and length were checked when the file was opened.
    fn as_slice(&self) -> &[f32] {
        bytemuck::try_cast_slice(self.file.get(self.start..self.end).unwrap_or(&[])).unwrap_or(&[])
    }
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct VectorFile {
    pub(super) dim: usize,
    pub(super) fingerprint: String,
    pub(super) ids: Vec<u64>,
    pub(super) vectors: Vectors,
}

/// Writes a file beside `path`, flushes it to the disk and puts it in the place of `path`.
pub(super) fn write(path: &Path, fingerprint: &str, dim: usize, ids: &[u64], vectors: &[f32]) -> Result<()> {
    let (name, id_bytes) = (fingerprint.as_bytes(), bytemuck::cast_slice::<u64, u8>(ids));
    let vector_bytes = bytemuck::cast_slice::<f32, u8>(vectors);
    let body = [name, padding(name.len()), id_bytes, padding(id_bytes.len()), vector_bytes];
    let mut checksum = crc32fast::Hasher::new();
    body.iter().for_each(|part| checksum.update(part));
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(MAGIC);
    for number in [VERSION, number_u32("dimension", dim)?] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    for number in [number_u32("fingerprint length", fingerprint.len())?, checksum.finalize()] {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
    header.resize(HEADER, 0);

    let write = || -> std::io::Result<()> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(&header)?;
        for part in body {
            file.write_all(part)?;
        }
        file.commit()
    };
    write().map_err(|error| write_error(path, &error))
}

/// Maps a file and checks all of it.
pub(super) fn open(path: &Path) -> Result<VectorFile> {
    let corrupt = |expected: String, found: String| Error::Corrupt { path: path.to_owned(), expected, found };
    let file = regular_file::open(path)?;
    let length = file.metadata()?.len();
    if length < HEADER as u64 {
        return Err(corrupt(format!("a header of {HEADER} bytes"), format!("a file of {length} bytes")));
    }
    // SAFETY: relens replaces such files by renaming and never writes into one, so the mapping stays as it is.
    let map = unsafe { Mmap::map(file.file()) }?;
    let header = map.get(..HEADER).unwrap_or(&[]);
    if !header.starts_with(MAGIC) {
        return Err(corrupt("a file of vectors (`relensvx`)".to_owned(), "another beginning".to_owned()));
    }
    let version = u32_at(header, 8);
    if version > VERSION {
        return Err(Error::NewerFormat { path: path.to_owned(), found: version, supported: VERSION });
    }
    if header.get(..32).map(crc32fast::hash) != Some(u32_at(header, 32)) {
        return Err(corrupt("a header that fits its checksum".to_owned(), "another checksum".to_owned()));
    }
    let dim = u32_at(header, 12) as usize;
    let rows = u64::from(u32_at(header, 16)) | u64::from(u32_at(header, 20)) << 32;
    let name_length = u32_at(header, 24) as usize;
    let layout = Layout::new(dim, rows, name_length).filter(|layout| layout.end == map.len());
    let layout = layout.ok_or_else(|| {
        let expected = format!("a file that holds {rows} vectors of {dim} components");
        corrupt(expected, format!("{} bytes", map.len()))
    })?;
    if crc32fast::hash(&map[HEADER..]) != u32_at(header, 28) {
        return Err(corrupt("vectors that fit their checksum".to_owned(), "another checksum".to_owned()));
    }
    let fingerprint = String::from_utf8_lossy(&map[HEADER..HEADER + name_length]).into_owned();
    let ids = map[layout.ids..layout.ids_end]
        .chunks_exact(8)
        .map(|bytes| u64::from(u32_at(bytes, 0)) | u64::from(u32_at(bytes, 4)) << 32)
        .collect();
    let mapped = MappedRange { start: layout.vectors, end: layout.end, file: map };
    Ok(VectorFile { dim, fingerprint, ids, vectors: Vectors { mapped: Some(mapped), memory: Vec::new() } })
}

/// Where the parts of a file lie.
struct Layout {
    ids: usize,
    ids_end: usize,
    vectors: usize,
    end: usize,
}

impl Layout {
    /// `None` if the numbers, which come from a file, are beyond any file.
    fn new(dim: usize, rows: u64, name_length: usize) -> Option<Self> {
        let rows = usize::try_from(rows).ok().filter(|_| dim > 0)?;
        let ids = HEADER.checked_add(name_length)?.checked_next_multiple_of(ALIGNMENT)?;
        let ids_end = ids.checked_add(rows.checked_mul(8)?)?;
        let vectors = ids_end.checked_next_multiple_of(ALIGNMENT)?;
        let end = vectors.checked_add(rows.checked_mul(dim)?.checked_mul(4)?)?;
        Some(Self { ids, ids_end, vectors, end })
    }
}

/// Zeros from `length` up to the alignment.
fn padding(length: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
    &ZEROS[..length.next_multiple_of(ALIGNMENT) - length]
}

/// The number at `offset` of bytes whose length was checked.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn number_u32(what: &'static str, number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| Error::Argument {
        operation: "ExactIndex::save",
        expected: format!("a {what} below 2^32"),
        found: number.to_string(),
    })
}
