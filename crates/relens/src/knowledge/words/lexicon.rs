//! The words of another language with what English captions call the same.
//!
//! A lexicon is a text file: an English word, a tab, and what people type for it, inflected forms included, the
//! commonest first. A form may stand behind several words: `Wagen` is a car and a carriage.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::Word;
use crate::dataset::text_lines::{broken_line, excerpt, for_each_line};
use crate::error::Result;

/// Where the bundled knowledge base has the files of languages, each under its ISO 639-1 code.
pub const DIRECTORY: &str = "languages";
/// The fewest letters at the beginning that two forms of a word share.
const SHORTEST_STEM: usize = 5;
/// The most letters behind that: of what is typed, and of the form that it is read as.
const LONGEST_ENDING: usize = 3;
const ENDING: usize = 2;
/// Forms on each side, in alphabetical order, that a word is compared with.
const NEIGHBOURS: usize = 6;

/// One language's words.
#[derive(Debug, Clone, Default)]
pub struct Lexicon {
    language: String,
    /// From what is typed, in lower case, to English, the likeliest word first.
    english: HashMap<String, Vec<String>>,
    /// The same from forms without accents, as hurried people type them.
    without_accents: HashMap<String, Vec<String>>,
    /// From an English word to its forms, the commonest first.
    forms: HashMap<String, Vec<String>>,
    /// Characters of the longest form.
    pub(super) longest: usize,
    /// Single words among the forms, without accents, sorted; made for the first word that is not among them.
    sorted: OnceLock<Vec<String>>,
}

/// Writes English words and what they are in another language, as [`Lexicon::open`] reads them.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
pub fn write(rows: &[(String, Vec<String>)], writer: &mut impl Write) -> Result<()> {
    for (word, forms) in rows {
        writeln!(writer, "{word}\t{}", forms.join("\t"))?;
    }
    Ok(())
}

impl Lexicon {
    /// Without any word yet.
    pub fn new(language: &str) -> Self {
        Self { language: language.to_owned(), ..Self::default() }
    }

    /// Reads a file of a language.
    ///
    /// # Errors
    /// [`Error::Dataset`](crate::error::Error::Dataset) naming a line without forms;
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn open(path: &Path, language: &str) -> Result<Self> {
        let mut rows: Vec<(String, Vec<String>)> = Vec::new();
        for_each_line(path, |number, line| {
            let mut fields = line.split('\t').map(|field| field.trim().to_lowercase());
            let word = fields.next().unwrap_or_default();
            let forms: Vec<String> = fields.filter(|form| !form.is_empty()).collect();
            if word.is_empty() || forms.is_empty() {
                let expected = "an English word and what it is in the other language, parted by tabs";
                return Err(broken_line(path, number, expected, &excerpt(line)));
            }
            rows.push((word, forms));
            Ok(())
        })?;
        Ok(Self::of_rows(language, rows))
    }

    /// An English word and its forms each, the commonest first.
    pub fn of_rows(language: &str, rows: Vec<(String, Vec<String>)>) -> Self {
        let mut lexicon = Self::new(language);
        // A form of several words belongs to that one for which it is the commonest.
        let most = rows.iter().map(|(_, forms)| forms.len()).max().unwrap_or(0);
        for rank in 0..most {
            for (word, forms) in &rows {
                if let Some(form) = forms.get(rank) {
                    lexicon.add(form, word);
                }
            }
        }
        lexicon.forms.extend(rows);
        lexicon
    }

    /// The same with a person's words before those that are there.
    #[must_use]
    pub fn with(mut self, words: impl IntoIterator<Item = Word>) -> Self {
        for word in words.into_iter().filter(|word| word.language == self.language) {
            let form = normalised(&word.word);
            let meanings: Vec<String> = word.meanings.into_iter().map(|meaning| meaning.text).collect();
            if meanings.is_empty() {
                self.without_accents.remove(&unaccented(&form));
                self.english.remove(&form);
            } else {
                self.longest = self.longest.max(form.chars().count());
                self.without_accents.insert(unaccented(&form), meanings.clone());
                self.english.insert(form, meanings);
            }
        }
        self
    }

    fn add(&mut self, form: &str, word: &str) {
        let form = normalised(form);
        self.longest = self.longest.max(form.chars().count());
        let plain = unaccented(&form);
        for meanings in
            [self.without_accents.entry(plain).or_default(), self.english.entry(form).or_default()]
        {
            if meanings.iter().all(|known| known != word) {
                meanings.push(word.to_owned());
            }
        }
    }

    /// The language, as ISO 639-1 abbreviates it.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// All forms with what they mean, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let mut all: Vec<(&str, &[String])> =
            self.english.iter().map(|(form, meanings)| (form.as_str(), meanings.as_slice())).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// What people type for an English word, the commonest first.
    pub fn forms(&self, english: &str) -> &[String] {
        self.forms.get(english).map_or(&[], Vec::as_slice)
    }

    /// What a form means, with or without its accents, the likeliest first; nothing where it is unknown.
    pub fn meanings(&self, form: &str) -> &[String] {
        let form = normalised(form);
        let found = self.english.get(&form).or_else(|| self.without_accents.get(&unaccented(&form)));
        found.map_or(&[], Vec::as_slice)
    }

    /// What the form means that begins most like `word`, where only their endings differ: "verschneitem" is known by
    /// "verschneite".
    pub(super) fn meanings_of_another_form(&self, word: &str) -> &[String] {
        let word = unaccented(&normalised(word));
        let forms = self.sorted.get_or_init(|| {
            let words = self.without_accents.keys().filter(|form| !form.contains(' '));
            let mut words: Vec<String> = words.cloned().collect();
            words.sort_unstable();
            words
        });
        let length = word.chars().count();
        let common =
            |form: &str| form.chars().zip(word.chars()).take_while(|(one, other)| one == other).count();
        let place = forms.partition_point(|form| *form < word);
        let near = forms.get(place.saturating_sub(NEIGHBOURS)..(place + NEIGHBOURS).min(forms.len()));
        let alike = near.unwrap_or_default().iter().filter(|form| {
            let (common, of_form) = (common(form), form.chars().count());
            common >= SHORTEST_STEM && common + LONGEST_ENDING >= length && common + ENDING >= of_form
        });
        // Of those with as much in common the shortest, which is likely the plain form.
        let best = alike.max_by_key(|form| (common(form), std::cmp::Reverse(form.len())));
        best.and_then(|form| self.without_accents.get(form)).map_or(&[], Vec::as_slice)
    }

    /// What a form means exactly as it is written, in lower case.
    pub(super) fn meanings_as_written(&self, form: &str) -> &[String] {
        self.english.get(form).map_or(&[], Vec::as_slice)
    }
}

/// Lower case, each letter with its accents in one character where there is one.
pub(super) fn normalised(text: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(&text.to_lowercase()).into_owned()
}

/// Without accents and other marks upon letters.
pub(super) fn unaccented(text: &str) -> String {
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    decomposed.chars().filter(|character| !matches!(character, '\u{300}'..='\u{36F}')).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::knowledge::Source;
    use crate::knowledge::words::{Meaning, MeaningKind};

    pub(in super::super) fn lexicon(language: &str, lines: &str) -> Lexicon {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), lines).unwrap();
        Lexicon::open(file.path(), language).unwrap()
    }

    pub(in super::super) fn german() -> Lexicon {
        lexicon(
            "de",
            "dog\thund\thündin\nbeach\tstrand\nball\tball\nman\tmann\nin front of\tvor\nthe\tder\tdie\tdem\n\
             car\tauto\twagen\ncarriage\twagen\na\tein\teine\nplays with\tspielt mit\nstreet\tstraße\n",
        )
    }

    #[test]
    fn a_form_of_two_words_means_first_the_one_that_it_is_commonest_for() {
        assert_eq!(german().meanings("Wagen"), ["carriage", "car"]);
        assert_eq!(german().meanings("hundin"), ["dog"]);
        assert_eq!(german().forms("car"), ["auto", "wagen"]);
        assert_eq!(german().forms("zebra"), [] as [&str; 0]);
        assert_eq!(german().iter().next(), Some(("auto", &["car".to_owned()][..])));
    }

    #[test]
    fn a_persons_words_go_first() {
        let meaning =
            |text: &str| Meaning { text: text.to_owned(), kind: MeaningKind::Name, source: Source::Person };
        let word = |word: &str, language: &str, meanings: Vec<Meaning>| Word {
            word: word.to_owned(),
            language: language.to_owned(),
            meanings,
        };
        let edited = german().with([
            word("dackel", "de", vec![meaning("small brown dog")]),
            word("hund", "fr", vec![meaning("nothing")]),
            word("mann", "de", Vec::new()),
        ]);
        assert_eq!(edited.english("hund dackel mann").text, "dog small brown dog mann");
    }

    #[test]
    fn a_line_without_forms_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for wrong in ["dog", "\thund", "dog\t \t"] {
            fs_err::write(file.path(), format!("cat\tkatze\n{wrong}\n")).unwrap();
            let error = Lexicon::open(file.path(), "de").unwrap_err().to_string();
            assert!(error.contains("line 2"), "{wrong}: {error}");
        }
    }
}
