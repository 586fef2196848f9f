//! Small pictures, made once and kept.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use relens::error::{Error, Result};
use relens::library::catalog::CatalogImage;
use relens::pictures::video;
use relens_models::atomic_file::write_atomically;
use relens_models::image_preprocessing::{Interpolation, RgbImage, resize, sides_by_longer};

/// Lengths of the longer side that are offered: few, so that nobody can fill the disk with sizes.
pub(crate) const THUMBNAIL_SIZES: [u32; 4] = [128, 256, 512, 1024];
/// JPEG's, 1 to 100.
const QUALITY: u8 = 82;

/// A directory of thumbnails; a picture that changes gets another one.
pub(crate) struct Thumbnails {
    directory: PathBuf,
}

impl Thumbnails {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The JPEG of a picture whose longer side is `size`, or less if the picture is smaller.
    ///
    /// # Errors
    /// The picture cannot be read. A disk that is full is no error.
    pub(crate) fn jpeg(&self, image: &CatalogImage, size: u32) -> Result<Vec<u8>> {
        let path = self.path(image, size);
        if let Ok(kept) = std::fs::read(&path)
            && kept.starts_with(b"\xff\xd8")
        {
            return Ok(kept);
        }
        let frames = video::read_frames(&image.path)?;
        let first = frames.into_iter().next().ok_or_else(|| Error::Argument {
            operation: "thumbnail",
            expected: "a picture".to_owned(),
            found: "none".to_owned(),
        })?;
        let made = encoded(&scaled_down(first, size)?)?;
        let written = path.parent().map_or(Ok(()), fs_err::create_dir_all);
        if let Err(error) = written.and_then(|()| write_atomically(&path, &made)) {
            tracing::debug!(%error, "a thumbnail is not kept");
        }
        Ok(made)
    }

    /// Named after what it shows, so that libraries can share the directory.
    fn path(&self, image: &CatalogImage, size: u32) -> PathBuf {
        let mut hash = blake3::Hasher::new();
        hash.update(image.path.as_os_str().as_encoded_bytes());
        hash.update(&image.state.size.to_le_bytes());
        hash.update(&image.state.modified.to_le_bytes());
        let name = hash.finalize().to_hex();
        let (folder, name) = name.split_at(2);
        self.directory.join(folder).join(Path::new(&format!("{name}-{size}.jpg")))
    }
}

fn scaled_down(picture: RgbImage, size: u32) -> Result<RgbImage> {
    if picture.width().max(picture.height()) <= size {
        return Ok(picture);
    }
    let (width, height) = sides_by_longer(&picture, size);
    Ok(resize(&picture, width, height, Interpolation::Bilinear)?)
}

fn encoded(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(picture)
        .map_err(|error| Error::Io(std::io::Error::other(error)))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use relens::library::catalog::FileState;

    use super::*;

    #[test]
    fn a_thumbnail_is_made_once_for_every_state_of_its_picture() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("wide.png");
        RgbImage::from_pixel(600, 3, image::Rgb([9, 90, 200])).save(&path).unwrap();
        let state = FileState { size: 1, modified: 1 };
        let image = CatalogImage {
            id: 1,
            path: path.clone(),
            state,
            width: 600,
            height: 3,
            taken: None,
            camera: None,
            place: None,
        };
        let thumbnails = Thumbnails::new(directory.path().join("thumbnails"));
        let made = thumbnails.jpeg(&image, 256).unwrap();
        let decoded = image::load_from_memory(&made).unwrap();
        assert_eq!((decoded.width(), decoded.height()), (256, 1));
        std::fs::remove_file(path).unwrap();
        assert_eq!(thumbnails.jpeg(&image, 256).unwrap(), made);
        let changed = CatalogImage { state: FileState { size: 1, modified: 2 }, ..image };
        assert!(thumbnails.jpeg(&changed, 256).is_err());
    }
}
