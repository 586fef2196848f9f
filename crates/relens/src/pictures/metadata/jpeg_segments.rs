//! The segments of a JPEG file that hold XMP and IPTC.

use std::io::{BufReader, Read};
use std::path::Path;

use relens_models::regular_file;

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
/// Bytes before the picture itself that are looked at; a segment has 64 KiB, and few files have ten.
const LONGEST_HEAD: u64 = 4 << 20;

/// What was found.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Segments {
    pub(super) xmp: Option<Vec<u8>>,
    /// Photoshop's resources, one of which is IPTC.
    pub(super) iptc: Option<Vec<u8>>,
}

/// The segments of a file; none if it is no JPEG.
pub(super) fn read(path: &Path) -> Segments {
    let file = regular_file::open(path).ok();
    file.and_then(|file| segments(BufReader::new(file).take(LONGEST_HEAD))).unwrap_or_default()
}

fn segments(mut reader: impl Read) -> Option<Segments> {
    let mut found = Segments::default();
    let mut start = [0; 2];
    reader.read_exact(&mut start).ok()?;
    if start != [0xff, 0xd8] {
        return None;
    }
    // What was found before a file breaks off counts.
    while let Some((marker, payload)) = next(&mut reader) {
        match marker {
            0xe1 if payload.starts_with(XMP) => found.xmp = payload.get(XMP.len()..).map(<[u8]>::to_vec),
            0xed if payload.starts_with(PHOTOSHOP) => {
                found.iptc = payload.get(PHOTOSHOP.len()..).map(<[u8]>::to_vec);
            }
            // The picture itself begins.
            0xda | 0xd9 => break,
            _ => {}
        }
    }
    Some(found)
}

fn next(reader: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    reader.read_exact(&mut head).ok()?;
    let [0xff, marker, high, low] = head else { return None };
    let length = usize::from(u16::from_be_bytes([high, low])).checked_sub(2)?;
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload).ok()?;
    Some((marker, payload))
}
