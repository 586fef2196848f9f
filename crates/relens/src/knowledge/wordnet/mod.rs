//! WordNet 3.0 from its dictionary files: `index.noun`, `data.noun` and `noun.exc`.
//!
//! Source: Fellbaum, "WordNet: An Electronic Lexical Database" (1998); the formats are those of its manual pages wndb(5)
//! and morphy(7). Nouns only: definitions for the entities of queries, and the words above them.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::dataset::text_lines::broken_line;
use crate::english::lemma;
use crate::error::{Error, Result};

/// Where Debian's package `wordnet-base` puts the files.
pub const DEFAULT_DIRECTORY: &str = "/usr/share/wordnet";

/// The nouns of WordNet.
#[derive(Debug)]
pub struct WordNet {
    directory: PathBuf,
    index: Vec<u8>,
    data: Vec<u8>,
    exceptions: HashMap<String, String>,
}

/// One meaning of a noun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The noun as WordNet writes it, underscores replaced by spaces.
    pub lemma: String,
    /// What it means, without examples.
    pub text: String,
    /// The other nouns of this meaning.
    pub synonyms: Vec<String>,
    /// The first noun of each meaning right above it.
    pub hypernyms: Vec<String>,
}

impl WordNet {
    /// Reads the files of a directory.
    ///
    /// # Errors
    /// [`Error::Io`] naming a file that is missing; [`Error::Dataset`] naming the line if `noun.exc` is malformed.
    pub fn open(directory: &Path) -> Result<Self> {
        let exceptions_path = directory.join("noun.exc");
        let exceptions = exceptions(&exceptions_path, &fs_err::read_to_string(&exceptions_path)?)?;
        Ok(Self {
            index: fs_err::read(directory.join("index.noun"))?,
            data: fs_err::read(directory.join("data.noun"))?,
            exceptions,
            directory: directory.to_owned(),
        })
    }

    /// The usual meaning of a noun, which may be in the plural; `None` if WordNet does not know it.
    ///
    /// # Errors
    /// [`Error::Dataset`] naming file and place if the files are damaged.
    pub fn define(&self, noun: &str) -> Result<Option<Definition>> {
        for form in self.forms(&noun.trim().to_lowercase()) {
            if let Some(entry) = self.entry(&form)? {
                return self.definition(&form, &entry).map(Some);
            }
        }
        Ok(None)
    }

    /// The noun itself, then what it may be the plural of (the last of several words is the one in the plural).
    fn forms(&self, noun: &str) -> Vec<String> {
        let (before, last) = noun.rsplit_once(' ').map_or(("", noun), |(before, last)| (before, last));
        let with_before =
            |last: &str| if before.is_empty() { last.to_owned() } else { format!("{before} {last}") };
        let exception = self.exceptions.get(last).map(|base| with_before(base));
        let singulars = lemma::singulars(last).into_iter().map(|base| with_before(&base));
        std::iter::once(noun.to_owned()).chain(exception).chain(singulars).collect()
    }

    fn entry(&self, noun: &str) -> Result<Option<IndexEntry>> {
        let key = noun.replace(' ', "_");
        // Lines of the licence begin with a space: to the search they are entries of no word.
        let line = if key.is_empty() { None } else { find_line(&self.index, key.as_bytes()) };
        line.map(|line| index_entry(&self.directory.join("index.noun"), &key, line)).transpose()
    }

    fn definition(&self, noun: &str, entry: &IndexEntry) -> Result<Definition> {
        let meaning = self.synset(entry.first_synset)?;
        let spaced = |word: &String| word.replace('_', " ");
        let mut hypernyms = Vec::new();
        for &above in &meaning.hypernyms {
            hypernyms.extend(self.synset(above)?.words.first().map(spaced));
        }
        let synonyms =
            meaning.words.iter().map(spaced).filter(|word| !word.eq_ignore_ascii_case(noun)).collect();
        Ok(Definition { lemma: noun.to_owned(), text: meaning.definition, synonyms, hypernyms })
    }

    fn synset(&self, offset: usize) -> Result<Synset> {
        let path = self.directory.join("data.noun");
        let line = self.data.get(offset..).and_then(|rest| rest.split(|&byte| byte == b'\n').next());
        let line = line.filter(|line| line.starts_with(format!("{offset:08} ").as_bytes()));
        let line = line.ok_or_else(|| Error::Dataset {
            path: path.clone(),
            location: format!("byte {offset}"),
            expected: "the meaning that index.noun places there".to_owned(),
            found: "something else".to_owned(),
        })?;
        synset(&path, offset, line)
    }
}

/// What `index.noun` says of a noun.
#[derive(Debug, PartialEq, Eq)]
struct IndexEntry {
    /// Where its most frequent meaning begins in `data.noun`.
    first_synset: usize,
}

/// One meaning: the nouns that share it.
#[derive(Debug, PartialEq, Eq)]
struct Synset {
    words: Vec<String>,
    hypernyms: Vec<usize>,
    definition: String,
}

/// The rest of the line that begins with `key` and a space, in a file whose lines are sorted by bytes. Lines of the
/// licence begin with spaces and so come first.
fn find_line<'a>(file: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
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
fn index_entry(path: &Path, key: &str, line: &[u8]) -> Result<IndexEntry> {
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
fn synset(path: &Path, offset: usize, line: &[u8]) -> Result<Synset> {
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
fn exceptions(path: &Path, text: &str) -> Result<HashMap<String, String>> {
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
