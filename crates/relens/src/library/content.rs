//! Whether two files are the same picture, wherever they lie and whatever they are called.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use relens_models::regular_file;

use crate::error::Result;

/// What is read of the beginning, and of the end.
const PART: u64 = 64 << 10;
/// Formats that are often not compressed: two such files of one size may differ in the middle alone.
const READ_WHOLE: [&str; 8] = ["bmp", "dng", "pbm", "pgm", "pnm", "ppm", "tif", "tiff"];

/// The fingerprint of a file's content: the hash of its size, its beginning and its end; of all of it where the format
/// is in doubt. A folder of frames has none.
///
/// # Errors
/// The file cannot be read.
pub(super) fn fingerprint(path: &Path) -> Result<Option<[u8; 32]>> {
    if path.is_dir() {
        return Ok(None);
    }
    let mut file = regular_file::open(path)?;
    let length = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes());
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if length <= 2 * PART || READ_WHOLE.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        hasher.update_reader(file.take(length))?;
    } else {
        hasher.update_reader((&mut file).take(PART))?;
        file.seek(SeekFrom::End(-i64::try_from(PART).unwrap_or(0)))?;
        hasher.update_reader(file.take(PART))?;
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_counts_and_not_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str, content: &[u8]| {
            let path = directory.path().join(name);
            fs_err::write(&path, content).unwrap();
            fingerprint(&path).unwrap().unwrap()
        };
        let mut large = vec![1; 200_000];
        let first = of("a.jpg", &large);
        assert_eq!(first, of("b.jpg", &large));
        assert_ne!(first, of("c.jpg", &large[1..]));
        for changed in [0, 199_999] {
            large[changed] = 2;
            assert_ne!(first, of("d.jpg", &large));
            large[changed] = 1;
        }
        let plain = of("a.bmp", &large);
        large[100_000] = 2;
        assert_ne!(plain, of("b.bmp", &large));
        assert_eq!(fingerprint(directory.path()).unwrap(), None);
    }
}
