//! IPTC's captions inside of Photoshop's image resources.

/// The resource that holds IPTC's records.
const IPTC: u16 = 0x0404;
/// Record 2: the headline, the title, and the caption.
const CAPTION_FIELDS: [u8; 3] = [105, 5, 120];

/// The captions in a segment of Photoshop's resources; those before the first fault.
pub(super) fn captions(resources: &[u8]) -> Vec<String> {
    let mut rest = resources;
    while let Some((id, data, after)) = resource(rest) {
        if id == IPTC {
            return fields(data);
        }
        rest = after;
    }
    Vec::new()
}

/// `8BIM`, a number, a name of even length with its length before it, a length, the data, filled to an even length.
fn resource(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"8BIM")?;
    let (id, rest) = rest.split_first_chunk::<2>()?;
    let name = usize::from(*rest.first()?) + 1;
    let (length, rest) = rest.get(name.next_multiple_of(2)..)?.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let data = rest.get(..length)?;
    Some((u16::from_be_bytes(*id), data, rest.get(length.next_multiple_of(2)..).unwrap_or_default()))
}

/// `1C`, record, field, a length, a text.
fn fields(mut data: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((&[0x1c, record, field, high, low], rest)) = data.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some(text) = rest.get(..length) else { break };
        if record == 2 && CAPTION_FIELDS.contains(&field) {
            found.push(String::from_utf8_lossy(text).into_owned());
        }
        data = rest.get(length..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_captions_are_read_and_faults_end_it() {
        let field = |number: u8, text: &str| {
            [&[0x1c, 2, number], &(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
        };
        let data =
            [field(5, "Title"), field(25, "keyword"), field(120, "A café"), vec![0x1c, 2, 120, 0xff, 0xff]]
                .concat();
        let resource = |id: u16, data: &[u8]| {
            let mut bytes =
                [b"8BIM", &id.to_be_bytes()[..], &[0, 0], &(data.len() as u32).to_be_bytes(), data].concat();
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            bytes
        };
        let resources = [resource(0x0400, &[1, 2, 3]), resource(IPTC, &data)].concat();
        assert_eq!(captions(&resources), ["Title", "A café"]);
        for cut in 0..resources.len() {
            captions(&resources[..cut]);
        }
        assert!(captions(b"8BIM\x04\x04\0\0\xff\xff\xff\xff").is_empty());
    }
}
