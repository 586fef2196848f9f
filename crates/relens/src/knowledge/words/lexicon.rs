//! The words of another language with what English captions call the same: a query in that language, word by word.
//!
//! A lexicon is a text file: an English word, a tab, and what people type for it, inflected forms included, the
//! commonest first. There is no grammar: the longest phrase that is known becomes its English word, what is unknown
//! stays. `dos perros negros` reads `two dogs black`, which a retriever of English captions mostly understands.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::Word;
use crate::dataset::text_lines::{broken_line, excerpt, for_each_line};
use crate::error::Result;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// Where the bundled knowledge base has the files of languages, each under its ISO 639-1 code.
pub const DIRECTORY: &str = "languages";
/// The most words of a phrase that a lexicon has.
const LONGEST: usize = 4;
/// Languages that are written without spaces between words.
const UNSPACED: [&str; 2] = ["ja", "zh"];
/// The shortest part of a compound: shorter ones are found in words that they are no part of.
const SHORTEST_PART: usize = 4;
/// Languages that write compounds as one word.
const COMPOUNDING: [&str; 2] = ["de", "nl"];

/// One language's words.
#[derive(Debug, Clone, Default)]
pub struct Lexicon {
    language: String,
    /// From what is typed, in lower case, to English.
    english: HashMap<String, String>,
    /// The same from forms without accents, as hurried people type them.
    without_accents: HashMap<String, String>,
    /// From an English word to its forms, the commonest first.
    forms: HashMap<String, Vec<String>>,
    /// Characters of the longest form.
    longest: usize,
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

/// A query in English words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordByWord {
    /// The text; empty where nothing was left.
    pub text: String,
    /// Stretches of the query that the lexicon has.
    pub known: usize,
    /// Stretches that it does not have.
    pub unknown: usize,
}

impl Lexicon {
    /// The lexicon of a language that comes with relens; none where there is none.
    ///
    /// # Errors
    /// Those of [`Lexicon::open`]; the bundled knowledge base is missing.
    pub fn bundled(language: &str) -> Result<Option<Self>> {
        let plain = !language.is_empty() && language.bytes().all(|byte| byte.is_ascii_lowercase());
        let directory = bundled::model(knowledge_base::BUNDLED)?.join(DIRECTORY);
        let file = directory.join(format!("{language}.tsv"));
        if plain && file.is_file() { Self::open(&file, language).map(Some) } else { Ok(None) }
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

    fn of_rows(language: &str, rows: Vec<(String, Vec<String>)>) -> Self {
        let mut lexicon = Self { language: language.to_owned(), ..Self::default() };
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
            match word.meanings.into_iter().next() {
                Some(meaning) => {
                    self.longest = self.longest.max(form.chars().count());
                    self.without_accents.insert(unaccented(&form), meaning.text.clone());
                    self.english.insert(form, meaning.text);
                }
                None => {
                    self.without_accents.remove(&unaccented(&form));
                    self.english.remove(&form);
                }
            }
        }
        self
    }

    fn add(&mut self, form: &str, word: &str) {
        let form = normalised(form);
        self.longest = self.longest.max(form.chars().count());
        self.without_accents.entry(unaccented(&form)).or_insert_with(|| word.to_owned());
        self.english.entry(form).or_insert_with(|| word.to_owned());
    }

    /// The language, as ISO 639-1 abbreviates it.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// All forms with what they mean, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut all: Vec<(&str, &str)> =
            self.english.iter().map(|(form, meaning)| (form.as_str(), meaning.as_str())).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// What people type for an English word, the commonest first.
    pub fn forms(&self, english: &str) -> &[String] {
        self.forms.get(english).map_or(&[], Vec::as_slice)
    }

    /// What a form means, with or without its accents.
    pub fn meaning(&self, form: &str) -> Option<&str> {
        let form = normalised(form);
        let found = self.english.get(&form).or_else(|| self.without_accents.get(&unaccented(&form)));
        found.map(String::as_str)
    }

    /// A query word by word: the longest known phrases first, from left to right.
    pub fn english(&self, query: &str) -> WordByWord {
        let query = normalised(query);
        let mut found = WordByWord { text: String::new(), known: 0, unknown: 0 };
        if UNSPACED.contains(&self.language.as_str()) {
            self.unspaced(&query, &mut found);
        } else {
            self.spaced(&query, &mut found);
        }
        found
    }

    fn spaced(&self, query: &str, found: &mut WordByWord) {
        // Vowel signs of Hindi are no letters to every table, so that only spaces and signs part words.
        let parts = |character: char| character.is_whitespace() || ".,!?;:\"()¿¡…«»„“”।".contains(character);
        let words: Vec<&str> = query.split(parts).filter(|word| !word.is_empty()).collect();
        let mut place = 0;
        while place < words.len() {
            let longest = LONGEST.min(words.len() - place);
            let phrase = (1..=longest).rev().find_map(|length| {
                let phrase = words.get(place..place + length)?.join(" ");
                self.meaning(&phrase).map(|meaning| (length, meaning.to_owned()))
            });
            let word = words.get(place).copied().unwrap_or_default();
            match phrase.or_else(|| self.compound(word).map(|meaning| (1, meaning))) {
                Some((length, meaning)) => {
                    found.push(&meaning, true);
                    place += length;
                }
                None => {
                    found.push(word, false);
                    place += 1;
                }
            }
        }
    }

    /// A compound of two words that are known: "strandball" is a beach ball.
    fn compound(&self, word: &str) -> Option<String> {
        if !COMPOUNDING.contains(&self.language.as_str()) {
            return None;
        }
        let cuts = word.char_indices().map(|(place, _)| place);
        // The longest head first.
        cuts.filter(|&cut| cut >= SHORTEST_PART && word.len() - cut >= SHORTEST_PART).find_map(|cut| {
            let (before, head) = word.split_at_checked(cut)?;
            let joints = [before, before.strip_suffix('s').unwrap_or(before)];
            let before = joints.into_iter().find_map(|before| self.english.get(before))?;
            Some(format!("{before} {}", self.english.get(head)?))
        })
    }

    fn unspaced(&self, query: &str, found: &mut WordByWord) {
        let characters: Vec<char> = query.chars().filter(|character| character.is_alphanumeric()).collect();
        let mut place = 0;
        let mut stranger = String::new();
        while place < characters.len() {
            let longest = self.longest.min(characters.len() - place);
            let known = (1..=longest).rev().find_map(|length| {
                let form: String = characters.get(place..place + length)?.iter().collect();
                self.english.get(&form).map(|meaning| (length, meaning.clone()))
            });
            match known {
                Some((length, meaning)) => {
                    found.push_stranger(&mut stranger);
                    found.push(&meaning, true);
                    place += length;
                }
                None => {
                    stranger.extend(characters.get(place));
                    place += 1;
                }
            }
        }
        found.push_stranger(&mut stranger);
    }
}

impl WordByWord {
    fn push(&mut self, text: &str, known: bool) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        *(if known { &mut self.known } else { &mut self.unknown }) += 1;
    }

    /// What an unspaced script has beside known words: English names stay, the others are left out, for an English
    /// retriever has no word for them.
    fn push_stranger(&mut self, stranger: &mut String) {
        let text = std::mem::take(stranger);
        if text.is_ascii() && !text.is_empty() {
            self.push(&text, false);
        } else if !text.is_empty() {
            self.unknown += 1;
        }
    }

    /// The share of the query that the lexicon has, 0 to 1.
    pub fn share_known(&self) -> f32 {
        self.known as f32 / (self.known + self.unknown).max(1) as f32
    }
}

/// Lower case, each letter with its accents in one character where there is one.
fn normalised(text: &str) -> String {
    icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(&text.to_lowercase()).into_owned()
}

/// Without accents and other marks upon letters.
fn unaccented(text: &str) -> String {
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    decomposed.chars().filter(|character| !matches!(character, '\u{300}'..='\u{36F}')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;
    use crate::knowledge::words::{Meaning, MeaningKind};

    fn lexicon(language: &str, lines: &str) -> Lexicon {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), lines).unwrap();
        Lexicon::open(file.path(), language).unwrap()
    }

    fn german() -> Lexicon {
        lexicon(
            "de",
            "dog\thund\thündin\nbeach\tstrand\nball\tball\nman\tmann\nin front of\tvor\nthe\tder\tdie\tdem\n\
             car\tauto\twagen\ncarriage\twagen\na\tein\teine\nplays with\tspielt mit\n",
        )
    }

    #[test]
    fn the_longest_phrases_become_english_and_the_unknown_stays() {
        let english = |query: &str| german().english(query).text;
        assert_eq!(english("Ein Hund spielt mit dem Strandball."), "a dog plays with the beach ball");
        assert_eq!(english("hundin vor Udo"), "dog in front of udo");
        assert_eq!(english("hu\u{308}ndin"), "dog");
        assert_eq!(english(" … "), "");
        let found = german().english("ein mann vor Udo");
        assert_eq!((found.known, found.unknown), (3, 1));
        assert!((found.share_known() - 0.75).abs() < 1e-6);
    }

    #[test]
    fn a_form_of_two_words_belongs_to_the_one_that_it_is_commonest_for() {
        assert_eq!(german().meaning("Wagen"), Some("carriage"));
        assert_eq!(german().forms("car"), ["auto", "wagen"]);
        assert_eq!(german().forms("zebra"), [] as [&str; 0]);
        assert_eq!(german().iter().next(), Some(("auto", "car")));
    }

    #[test]
    fn scripts_without_spaces_are_cut_at_the_longest_words() {
        let chinese = lexicon("zh", "dog\t狗\tblack dog\nblack dog\t黑狗\nruns\t跑\n");
        assert_eq!(chinese.english("黑狗在跑 frisbee").text, "black dog runs frisbee");
        assert_eq!(chinese.english("在").text, "");
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
