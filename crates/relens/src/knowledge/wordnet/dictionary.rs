//! The lines of the dictionary files.

use std::collections::HashMap;
use std::path::Path;

use crate::dataset::text_lines::broken_line;
use crate::error::{Error, Result};

/// What `index.noun` says of a noun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// Where its most frequent meaning begins in `data.noun`.
    pub(super) first_synset: usize,
}

/// One meaning: the nouns that share it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Synset {
    pub(super) words: Vec<String>,
    pub(super) hypernyms: Vec<usize>,
    pub(super) definition: String,
}

/// The rest of the line that begins with `key` and a space, in a file whose lines are sorted by bytes. Lines of the
/// licence begin with spaces and so come first.
pub(super) fn find_line<'a>(file: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (mut low, mut high) = (0, file.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = file[..middle].iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let end =
            file[start..].iter().position(|&byte| byte == b'\n').map_or(file.len(), |length| start + length);
        let line = &file[start..end];
        let length = line.iter().position(|&byte| byte == b' ').unwrap_or(line.len());
        match line[..length].cmp(key) {
            std::cmp::Ordering::Equal => return line.get(length + 1..),
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    None
}

/// `pos synset_cnt p_cnt [ptr_symbol …] sense_cnt tagsense_cnt synset_offset …`
pub(super) fn index_entry(path: &Path, key: &str, line: &[u8]) -> Result<IndexEntry> {
    let parse = || {
        let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (_part_of_speech, _synsets) = (fields.next()?, fields.next()?);
        let pointers: usize = fields.next()?.parse().ok()?;
        let first_synset = fields.nth(pointers.checked_add(2)?)?.parse().ok()?;
        Some(IndexEntry { first_synset })
    };
    parse()
        .ok_or_else(|| damaged(path, format!("entry `{key}`"), "`pos count pointers… counts offsets…`", line))
}

/// `offset lex_filenum ss_type w_cnt word lex_id … p_cnt ptr … | gloss`
pub(super) fn synset(path: &Path, offset: usize, line: &[u8]) -> Result<Synset> {
    let parse = || {
        let (fields, gloss) = std::str::from_utf8(line).ok()?.split_once('|')?;
        let mut fields = fields.split_ascii_whitespace().skip(3);
        // The number of words is hexadecimal, the number of pointers decimal.
        let words = usize::from_str_radix(fields.next()?, 16).ok()?;
        let words = (0..words).map(|_| fields.next().zip(fields.next())).map(|pair| Some(pair?.0.to_owned()));
        let words: Vec<String> = words.collect::<Option<_>>()?;
        let pointers: usize = fields.next()?.parse().ok()?;
        let mut hypernyms = Vec::new();
        for _ in 0..pointers {
            let (symbol, target, _part, _words) =
                (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            if matches!(symbol, "@" | "@i") {
                hypernyms.push(target.parse().ok()?);
            }
        }
        Some(Synset { words, hypernyms, definition: definition(gloss) })
    };
    parse().ok_or_else(|| {
        damaged(path, format!("byte {offset}"), "`offset file type words… pointers… | gloss`", line)
    })
}

/// A gloss up to its first example.
fn definition(gloss: &str) -> String {
    gloss.split("; \"").next().unwrap_or(gloss).trim().trim_end_matches(';').to_owned()
}

/// `plural singular …`
pub(super) fn exceptions(path: &Path, text: &str) -> Result<HashMap<String, String>> {
    let mut found = HashMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace().map(|word| word.replace('_', " "));
        let (Some(plural), Some(singular)) = (words.next(), words.next()) else {
            return Err(broken_line(path, number, "`plural singular`", &format!("`{line}`")));
        };
        found.insert(plural, singular);
    }
    Ok(found)
}

fn damaged(path: &Path, location: String, expected: &str, line: &[u8]) -> Error {
    let line = String::from_utf8_lossy(line.get(..60).unwrap_or(line));
    Error::Dataset {
        path: path.to_owned(),
        location,
        expected: expected.to_owned(),
        found: format!("`{line}`"),
    }
}
