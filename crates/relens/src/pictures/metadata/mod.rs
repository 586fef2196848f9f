//! What a picture's file tells beside the picture: when, where and by which camera it was taken, and captions.
//!
//! Read from EXIF, from XMP inside the file or beside it, from IPTC, and from a text beside the picture. Everything is
//! bounded, and what makes no sense is left out: a picture is never refused for what is told of it.

mod iptc;
mod jpeg_segments;
mod xmp;

use std::io::BufReader;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use exif::{Exif, In, Tag, Value};
use relens_models::regular_file::{self, FileKind};

/// Larger files are not searched for EXIF: the reader takes TIFF whole.
const LARGEST_SEARCHED: u64 = 256 << 20;
/// The most captions that are kept of one picture, and the most characters of each.
const MOST_CAPTIONS: usize = 32;
const LONGEST_CAPTION: usize = 2000;

/// Of the earth as a sphere, in kilometres.
pub(crate) const EARTH_RADIUS: f64 = 6371.0;

/// A place on the earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Degrees, north positive, −90 to 90.
    pub latitude: f64,
    /// Degrees, east positive, −180 to 180.
    pub longitude: f64,
}

impl Place {
    /// The place, if there is such a one; nought and nought is what devices write that do not know where they are.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_place =
            latitude.abs() <= 90.0 && longitude.abs() <= 180.0 && (latitude, longitude) != (0.0, 0.0);
        is_place.then_some(Self { latitude, longitude })
    }

    /// Where it lies as seen from the earth's centre, at a distance of 1: exact to a metre.
    pub(crate) fn direction(self) -> [f32; 3] {
        let (north, east) = (self.latitude.to_radians(), self.longitude.to_radians());
        [north.cos() * east.cos(), north.cos() * east.sin(), north.sin()].map(|part| part as f32)
    }
}

/// What is told of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PictureMetadata {
    /// When it was taken: seconds since 1970 by the camera's own clock, whatever its time zone.
    pub taken: Option<i64>,
    /// The camera, its maker first.
    pub camera: Option<String>,
    /// Where it was taken.
    pub place: Option<Place>,
    /// What people wrote about it.
    pub captions: Vec<String>,
}

/// What is told of the picture at `path`; nothing where nothing can be read.
pub(crate) fn read(path: &Path) -> PictureMetadata {
    let mut metadata = PictureMetadata::default();
    if let Some(exif) = read_exif(path) {
        metadata.taken = [Tag::DateTimeOriginal, Tag::DateTimeDigitized, Tag::DateTime]
            .into_iter()
            .find_map(|tag| exif_date(&text(&exif, tag)?));
        metadata.camera = camera(text(&exif, Tag::Make), text(&exif, Tag::Model));
        metadata.place = exif_place(&exif);
        metadata.captions.extend(text(&exif, Tag::ImageDescription));
    }
    let segments = jpeg_segments::read(path);
    metadata.captions.extend(segments.iptc.as_deref().map(iptc::captions).unwrap_or_default());
    // The sidecar is what a person edited last.
    let sidecars = sidecars(path, "xmp").filter_map(|path| regular_file::read(&path, FileKind::Sidecar).ok());
    for packet in segments.xmp.into_iter().chain(sidecars) {
        let described = xmp::read(&packet);
        metadata.taken = described.taken.or(metadata.taken);
        metadata.camera = metadata.camera.or(described.camera);
        metadata.place = described.place.or(metadata.place);
        metadata.captions.extend(described.captions);
    }
    for path in sidecars_of_text(path) {
        let text = regular_file::read_to_string(&path, FileKind::Sidecar).unwrap_or_default();
        metadata.captions.extend(text.lines().map(str::to_owned));
    }
    metadata.captions = cleaned(metadata.captions);
    metadata
}

/// `NAME.ENDING` and `NAME.jpg.ENDING`, both of which programs write.
fn sidecars(path: &Path, ending: &'static str) -> impl Iterator<Item = PathBuf> {
    let mut whole = path.as_os_str().to_owned();
    whole.push(".");
    whole.push(ending);
    [path.with_extension(ending), PathBuf::from(whole)].into_iter().filter(|path| path.is_file())
}

fn sidecars_of_text(path: &Path) -> impl Iterator<Item = PathBuf> {
    sidecars(path, "txt")
}

fn cleaned(captions: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for caption in captions {
        let visible = caption.chars().map(|character| if character.is_control() { ' ' } else { character });
        let caption: String = visible.take(LONGEST_CAPTION).collect();
        let caption = caption.trim().to_owned();
        if !caption.is_empty() && !kept.contains(&caption) && kept.len() < MOST_CAPTIONS {
            kept.push(caption);
        }
    }
    kept
}

fn read_exif(path: &Path) -> Option<Exif> {
    let file = regular_file::open(path).ok()?;
    if file.metadata().ok()?.len() > LARGEST_SEARCHED {
        return None;
    }
    let mut reader = BufReader::new(file.into_file());
    // The reader is other people's code on strangers' bytes.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut options = exif::Reader::new();
        options.continue_on_error(true);
        match options.read_from_container(&mut reader) {
            Ok(exif) => Some(exif),
            Err(error) => error.distill_partial_result(|_| {}).ok(),
        }
    }))
    .ok()
    .flatten()
}

fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let Value::Ascii(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
    let text = String::from_utf8_lossy(parts.first()?).trim_matches(['\0', ' ']).to_owned();
    (!text.is_empty()).then_some(text)
}

/// `2023:06:15 12:30:00`.
fn exif_date(text: &str) -> Option<i64> {
    seconds(NaiveDateTime::parse_from_str(text.get(..19)?, "%Y:%m:%d %H:%M:%S").ok()?)
}

/// Of a time after the first photograph and before a clock has gone wrong.
fn seconds(time: NaiveDateTime) -> Option<i64> {
    use chrono::Datelike;
    (1826..=2200).contains(&time.year()).then(|| time.and_utc().timestamp())
}

/// Makers often stand at the beginning of the model's name already.
fn camera(maker: Option<String>, model: Option<String>) -> Option<String> {
    let name = match (maker, model) {
        (Some(maker), Some(model)) => {
            let first = maker.split_whitespace().next().unwrap_or_default().to_lowercase();
            if model.to_lowercase().starts_with(&first) { model } else { format!("{maker} {model}") }
        }
        (maker, model) => maker.or(model)?,
    };
    cleaned(vec![name]).pop().map(|name| name.chars().take(80).collect())
}

fn exif_place(exif: &Exif) -> Option<Place> {
    let degrees = |tag, reference, negative: &str| {
        let Value::Rational(parts) = &exif.get_field(tag, In::PRIMARY)?.value else { return None };
        let part = |index: usize| parts.get(index).map_or(0.0, exif::Rational::to_f64);
        let value = part(0) + part(1) / 60.0 + part(2) / 3600.0;
        let sign = if text(exif, reference)?.eq_ignore_ascii_case(negative) { -1.0 } else { 1.0 };
        value.is_finite().then_some(sign * value)
    };
    Place::new(
        degrees(Tag::GPSLatitude, Tag::GPSLatitudeRef, "S")?,
        degrees(Tag::GPSLongitude, Tag::GPSLongitudeRef, "W")?,
    )
}
