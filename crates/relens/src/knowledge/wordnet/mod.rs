//! WordNet 3.0 from its dictionary files: `index.noun`, `data.noun` and `noun.exc`.
//!
//! Source: Fellbaum, "WordNet: An Electronic Lexical Database" (1998); the formats are those of its manual pages wndb(5)
//! and morphy(7). Nouns only: definitions for the entities of queries, and the words above them.

mod dictionary;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::english::lemma;
use crate::error::{Error, Result};
use dictionary::{IndexEntry, Synset, index_entry, synset};
use relens_models::regular_file::{self, FileKind};

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
        let exceptions = dictionary::exceptions(
            &exceptions_path,
            &regular_file::read_to_string(&exceptions_path, FileKind::Vocabulary)?,
        )?;
        Ok(Self {
            index: regular_file::read(&directory.join("index.noun"), FileKind::Vocabulary)?,
            data: regular_file::read(&directory.join("data.noun"), FileKind::Vocabulary)?,
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
        let line = if key.is_empty() { None } else { dictionary::find_line(&self.index, key.as_bytes()) };
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

#[cfg(test)]
pub(crate) mod tests;
