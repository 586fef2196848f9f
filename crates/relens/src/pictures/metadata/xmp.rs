//! Adobe's XMP: RDF in XML, inside of a picture or beside it.

use chrono::NaiveDateTime;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::{PictureMetadata, Place, camera, seconds};

/// Texts that are captions where they stand in a list of languages.
const CAPTIONS: [&str; 4] =
    ["dc:title", "dc:description", "photoshop:Headline", "Iptc4xmpCore:AltTextAccessibility"];
/// Dates, the one that tells most first.
const DATES: [&str; 3] = ["exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate"];

/// What a packet tells; what comes before a fault in it counts.
pub(super) fn read(packet: &[u8]) -> PictureMetadata {
    let mut described = Packet::default();
    let packet = String::from_utf8_lossy(packet);
    let mut reader = Reader::from_str(&packet);
    reader.config_mut().check_end_names = false;
    let mut path: Vec<String> = Vec::new();
    // Entities are not declared in XMP, and none is expanded: what they would grow to is no danger.
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                described.attributes(&tag);
                path.push(tag.name().as_ref().to_owned());
            }
            Ok(Event::Empty(tag)) => described.attributes(&tag),
            Ok(Event::End(_)) => drop(path.pop()),
            Ok(Event::Text(text)) => {
                described.text(&path, &text);
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
        if path.len() > 64 {
            break;
        }
    }
    described.finish()
}

#[derive(Default)]
struct Packet {
    dates: [Option<i64>; 3],
    maker: Option<String>,
    model: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    captions: Vec<String>,
}

impl Packet {
    fn attributes(&mut self, tag: &quick_xml::events::BytesStart<'_>) {
        for attribute in tag.attributes().flatten() {
            self.value(attribute.key.as_ref(), &attribute.value);
        }
    }

    /// A text belongs to the nearest element around it that is no part of RDF's lists.
    fn text(&mut self, path: &[String], text: &str) {
        if let Some(name) = path.iter().rev().find(|name| !name.starts_with("rdf:")) {
            self.value(name, text);
        }
    }

    fn value(&mut self, name: &str, value: &str) {
        let value = value.trim();
        if value.is_empty() {
            return;
        }
        if let Some(position) = DATES.iter().position(|date| *date == name)
            && let Some(slot) = self.dates.get_mut(position)
        {
            *slot = slot.or_else(|| date(value));
        }
        match name {
            "tiff:Make" => self.maker = Some(value.to_owned()),
            "tiff:Model" => self.model = Some(value.to_owned()),
            "exif:GPSLatitude" => self.latitude = degrees(value, 'S'),
            "exif:GPSLongitude" => self.longitude = degrees(value, 'W'),
            name if CAPTIONS.contains(&name) => self.captions.push(value.to_owned()),
            _ => {}
        }
    }

    fn finish(self) -> PictureMetadata {
        let place = self.latitude.zip(self.longitude);
        PictureMetadata {
            taken: self.dates.into_iter().flatten().next(),
            camera: camera(self.maker, self.model),
            place: place.and_then(|(latitude, longitude)| Place::new(latitude, longitude)),
            captions: self.captions,
        }
    }
}

/// `2023-06-15T12:30:00`, with or without seconds, fractions and a zone, or the day alone.
fn date(text: &str) -> Option<i64> {
    let time = text.get(..19).and_then(|text| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok());
    let time = time.or_else(|| {
        let minute = text.get(..16).unwrap_or_default();
        NaiveDateTime::parse_from_str(minute, "%Y-%m-%dT%H:%M").ok()
    });
    let day = || {
        let day = chrono::NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
        day.and_hms_opt(0, 0, 0)
    };
    seconds(time.or_else(day)?)
}

/// `48,51.5N` or `48,51,30N`.
fn degrees(text: &str, negative: char) -> Option<f64> {
    let direction = text.chars().last()?.to_ascii_uppercase();
    let numbers = text.get(..text.len() - direction.len_utf8())?;
    let mut value = 0.0;
    for (number, unit) in numbers.split(',').zip([1.0, 60.0, 3600.0]) {
        value += number.trim().parse::<f64>().ok()? / unit;
    }
    if !value.is_finite() || !direction.is_ascii_alphabetic() {
        return None;
    }
    Some(if direction == negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_elements_are_read_and_markup_is_no_danger() {
        let packet = r#"<?xpacket?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description
            exif:DateTimeOriginal="2021-07-04T10:11:12.5+02:00" tiff:Model="Pixel 7" tiff:Make="Google"
            exif:GPSLatitude="48,51.5S" exif:GPSLongitude="2,21,0E">
            <dc:description><rdf:Alt><rdf:li xml:lang="x-default">A boat</rdf:li></rdf:Alt></dc:description>
            <dc:creator><rdf:Seq><rdf:li>Somebody</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF>"#;
        let described = read(packet.as_bytes());
        assert_eq!(described.taken, Some(1_625_393_472));
        assert_eq!(described.camera.as_deref(), Some("Google Pixel 7"));
        assert_eq!(described.captions, ["A boat"]);
        let place = described.place.unwrap();
        assert!((place.latitude + 48.858_333).abs() < 1e-5 && (place.longitude - 2.35).abs() < 1e-9);
        for packet in
            ["", "<", "<a b='", "<!DOCTYPE x [<!ENTITY a \"&a;&a;\">]><dc:title>&a;</dc:title>", "\0\u{1}"]
        {
            assert!(read(packet.as_bytes()).place.is_none());
        }
        let deep = "<a>".repeat(100_000);
        assert_eq!(read(deep.as_bytes()), PictureMetadata::default());
        assert_eq!(date("0000-00-00T00:00:00"), None);
        assert_eq!(date("9999-01-01T00:00:00"), None);
        assert_eq!(degrees("999,x", 'S'), None);
    }
}
