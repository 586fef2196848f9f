//! Files that are there whole or stay as they were, and never take the place of what they are made from.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use image::ImageFormat;
use relens::error::Error;
use relens::pictures::formats::is_picture;
use relens_models::atomic_file::AtomicFile;

/// Endings of files that a command reads from a folder it is given: none of them is replaced by an output.
const READ_FROM_FOLDERS: [&str; 8] =
    ["txt", "xmp", "jsonl", "toml", "safetensors", "tar", "parquet", "frames"];

/// Refuses an output before the work for it begins: one that would take the place of something that the command reads,
/// under any spelling of its path, or that cannot be written.
///
/// `inputs` are files and folders; of a folder, pictures and what else is read from folders are safe.
pub(crate) fn check_output(path: &Path, inputs: &[&Path]) -> Result<()> {
    let named = || format!("{}: cannot be written", path.display());
    if path.is_dir() {
        bail!("{}: expected the name of a file to write, found a directory", path.display());
    }
    if path.exists() {
        for input in inputs {
            if same_file::is_same_file(path, input).unwrap_or(false) {
                let (path, input) = (path.display(), input.display());
                bail!("{path}: would replace {input}, which the command reads; name another file to write");
            }
            if input.is_dir() && is_read_from(input, path)? {
                let (path, input) = (path.display(), input.display());
                bail!("{path}: would replace a file in {input}, which the command reads; name another file");
            }
        }
        // A link that leads to a device, or a pipe, is no place that a file could take.
        drop(relens_models::regular_file::open(path)?);
    }
    // Dropped at once, it leaves nothing.
    AtomicFile::create(path).map(drop).with_context(named)
}

/// Whether `path` lies below `folder` and is of a kind that is read from folders.
fn is_read_from(folder: &Path, path: &Path) -> Result<bool> {
    if !fs_err::canonicalize(path)?.starts_with(fs_err::canonicalize(folder)?) {
        return Ok(false);
    }
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_known = |known: &&str| ending.eq_ignore_ascii_case(known);
    Ok(is_picture(path) || READ_FROM_FOLDERS.iter().any(is_known))
}

/// The format of a drawing that the name's ending asks for.
pub(crate) fn drawing_format(path: &Path) -> Result<ImageFormat> {
    match ImageFormat::from_path(path) {
        Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP)) => Ok(format),
        _ => bail!("{}: expected a name that ends in .png, .jpg or .webp", path.display()),
    }
}

/// Writes a file under another name, then renames it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_streaming(path, |writer| Ok(writer.write_all(bytes)?))
}

/// The same, a piece at a time.
pub(crate) fn write_streaming(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<AtomicFile>) -> Result<()>,
) -> Result<()> {
    let named = || format!("{}: cannot be written", path.display());
    let mut writer = BufWriter::new(AtomicFile::create(path).with_context(named)?);
    write(&mut writer).map_err(|error| match error.downcast_ref() {
        // It could be written, but is not wanted any more.
        Some(Error::Cancelled) => error,
        _ => error.context(named()),
    })?;
    let file = writer.into_inner().map_err(std::io::IntoInnerError::into_error).with_context(named)?;
    file.commit().with_context(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_never_takes_the_place_of_an_input() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs_err::create_dir(at("pictures")).unwrap();
        for name in ["captions.txt", "pictures/a.JPG", "pictures/a.txt", "pictures/result.json", "old.json"] {
            fs_err::write(at(name), "kept").unwrap();
        }
        fs_err::hard_link(at("captions.txt"), at("hard.json")).unwrap();
        let (captions, pictures) = (at("captions.txt"), at("pictures"));
        let inputs = [captions.as_path(), pictures.as_path()];
        let mut refused =
            vec!["captions.txt", "pictures/../captions.txt", "hard.json", "pictures/a.JPG", "pictures/a.txt"];
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("captions.txt"), at("soft.json")).unwrap();
            std::os::unix::fs::symlink(at("pictures"), at("other name")).unwrap();
            refused.extend(["soft.json", "other name/a.JPG"]);
        }
        for name in refused {
            let message = check_output(&at(name), &inputs).unwrap_err().to_string();
            assert!(message.contains("would replace"), "{name}: {message}");
        }
        for name in ["old.json", "new.json", "pictures/new.json", "pictures/result.json", "pictures/new.png"]
        {
            check_output(&at(name), &inputs).unwrap();
        }
        assert!(check_output(&at("none/a.json"), &inputs).is_err());
        assert!(check_output(&pictures, &[]).unwrap_err().to_string().contains("found a directory"));
        assert_eq!(fs_err::read_dir(directory.path()).unwrap().count(), if cfg!(unix) { 6 } else { 4 });
    }
}
