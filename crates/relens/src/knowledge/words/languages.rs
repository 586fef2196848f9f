//! Which language is a query in? Queries are too short for statistics of letters alone, so that words count first: the
//! language that has most of them, if English has fewer. Where two have as many, the letters decide. Other scripts tell by
//! themselves.
//!
//! A list of words with their languages decides; only the [`Lexicon`] of the language that it tells is opened.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use whatlang::{Detector, Lang, Script, detect, detect_script};

use super::Word;
use super::lexicon::{DIRECTORY, Lexicon, normalised, unaccented};
use super::reading::WITHOUT_UMLAUTS;
use crate::english::SortedLines;
use crate::error::Result;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

/// The list of words with their languages, inside the bundled knowledge base's directory.
pub const BUNDLED_FILE: &str = "other-languages.tsv";
/// Languages in Latin letters that the bundled knowledge base has words of, with their names for the letters' opinion.
const LATIN: [(&str, Lang); 8] = [
    ("de", Lang::Deu),
    ("es", Lang::Spa),
    ("fr", Lang::Fra),
    ("it", Lang::Ita),
    ("nl", Lang::Nld),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("tr", Lang::Tur),
];
/// Of a query in Latin letters, the least share of words that are no English.
const LEAST_STRANGE: f32 = 0.3;
/// The least share of its words that a language must have.
const LEAST_KNOWN: f32 = 0.5;

/// The language of a query that is not in English.
#[derive(Debug, Clone)]
pub struct ForeignLanguage {
    /// Its English name.
    pub name: String,
    /// Its words; none for a language that the knowledge base does not know.
    pub lexicon: Option<Arc<Lexicon>>,
}

/// Tells the languages of queries, and opens the lexica of those that it tells.
#[derive(Debug, Default)]
pub struct Languages {
    /// The knowledge base's directory; none for no languages but those that scripts tell.
    directory: Option<PathBuf>,
    /// Words that a person taught, of any language.
    taught: Vec<Word>,
    /// The list, once a query may need it.
    list: OnceLock<SortedLines>,
    opened: Mutex<BTreeMap<String, Option<Arc<Lexicon>>>>,
}

impl Languages {
    /// The bundled languages, with a person's words before theirs.
    ///
    /// # Errors
    /// The bundled knowledge base is missing.
    pub fn bundled(taught: Vec<Word>) -> Result<Self> {
        Ok(Self::of_directory(&bundled::model(knowledge_base::BUNDLED)?, taught))
    }

    /// The languages of a knowledge base's directory, which may lack them, with a person's words before theirs.
    pub fn of_directory(directory: &Path, taught: Vec<Word>) -> Self {
        Self { directory: Some(directory.to_owned()), taught, ..Self::default() }
    }

    /// The language of a query that is not in English; `is_english` knows English words in lower case.
    ///
    /// # Errors
    /// Those of the files of words.
    pub fn of_query(
        &self,
        query: &str,
        is_english: impl Fn(&str) -> bool,
    ) -> Result<Option<ForeignLanguage>> {
        let codes: &[&str] = match detect_script(query) {
            None => return Ok(None),
            Some(Script::Latin) => return self.latin(query, is_english),
            // Where most letters are those of Chinese, a single one of its own makes it Japanese.
            Some(Script::Hiragana | Script::Katakana | Script::Mandarin) if query.contains(is_kana) => {
                &["ja"]
            }
            Some(Script::Mandarin) => &["zh", "ja"],
            Some(Script::Cyrillic) => &["ru"],
            Some(Script::Devanagari) => &["hi"],
            Some(_) => &[],
        };
        let mut best: Option<(usize, Arc<Lexicon>)> = None;
        for code in codes {
            let Some(lexicon) = self.lexicon(code)? else { continue };
            let known = lexicon.english(query).known;
            if known > best.as_ref().map_or(0, |(known, _)| *known) {
                best = Some((known, lexicon));
            }
        }
        let by_letters = || detect(query).map(|info| info.lang().eng_name().to_owned());
        Ok(match best {
            Some((_, lexicon)) => {
                Some(ForeignLanguage { name: name(lexicon.language()), lexicon: Some(lexicon) })
            }
            None => by_letters().map(|name| ForeignLanguage { name, lexicon: None }),
        })
    }

    fn latin(&self, query: &str, is_english: impl Fn(&str) -> bool) -> Result<Option<ForeignLanguage>> {
        let query = normalised(query);
        let words: Vec<&str> = query
            .split(|character: char| !character.is_alphanumeric() && character != '\'')
            .filter(|word| word.chars().any(char::is_alphabetic))
            .collect();
        let share = |count: usize| count as f32 / words.len().max(1) as f32;
        let english = words.iter().filter(|word| is_english(word)).count();
        if words.is_empty() || share(words.len() - english) < LEAST_STRANGE {
            return Ok(None);
        }
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for word in &words {
            for code in self.languages_of(word)? {
                *known.entry(code).or_default() += 1;
            }
        }
        known.retain(|_, count| *count > english && share(*count) >= LEAST_KNOWN);
        let most = known.values().copied().max().unwrap_or(0);
        let tied: Vec<&str> =
            known.iter().filter(|(_, count)| **count == most).map(|(code, _)| *code).collect();
        let lang = |code: &str| LATIN.iter().find(|(known, _)| *known == code).map(|(_, lang)| *lang);
        let likely = match tied.len() {
            0 | 1 => None,
            _ => Detector::with_allowlist(tied.iter().filter_map(|code| lang(code)).collect())
                .detect_lang(&query),
        };
        let by_letters = tied.iter().find(|code| likely.is_some() && lang(code) == likely);
        let Some(code) = by_letters.or(tied.first()) else { return Ok(None) };
        Ok(Some(ForeignLanguage { name: name(code), lexicon: self.lexicon(code)? }))
    }

    /// The codes of the languages that have a word.
    fn languages_of<'a>(&'a self, word: &'a str) -> Result<Vec<&'a str>> {
        let taught = self.taught.iter().filter(|known| known.word == word && !known.meanings.is_empty());
        let mut codes: Vec<&str> = taught.map(|known| known.language.as_str()).collect();
        let listed = self.list()?;
        let of = |word: &str| listed.get(word).or_else(|| listed.get(&unaccented(word)));
        // "l'acqua" is known by its "acqua".
        let found = of(word).or_else(|| word.split_once('\'').and_then(|(_, rest)| of(rest)));
        codes.extend(found.into_iter().flat_map(|codes| codes.split(',')));
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }

    fn list(&self) -> Result<&SortedLines> {
        if let Some(list) = self.list.get() {
            return Ok(list);
        }
        let file = self.directory.as_ref().map(|directory| directory.join(BUNDLED_FILE));
        let list = match file.filter(|file| file.is_file()) {
            Some(file) => SortedLines::open(&file)?,
            None => SortedLines::default(),
        };
        Ok(self.list.get_or_init(|| list))
    }

    /// The lexicon of a language, a person's words before the others; none where there is neither.
    ///
    /// # Errors
    /// Those of [`Lexicon::open`].
    pub fn lexicon(&self, language: &str) -> Result<Option<Arc<Lexicon>>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(language) {
            return Ok(known.clone());
        }
        let is_code = language.len() == 2 && language.bytes().all(|byte| byte.is_ascii_lowercase());
        let file = self.directory.as_ref().filter(|_| is_code);
        let file = file.map(|directory| directory.join(DIRECTORY).join(format!("{language}.tsv")));
        let bundled = file.filter(|file| file.is_file()).map(|file| Lexicon::open(&file, language));
        let taught = || self.taught.iter().filter(|word| word.language == language).cloned();
        let lexicon = match (bundled.transpose()?, taught().next()) {
            (None, None) => None,
            (Some(lexicon), _) => Some(lexicon.with(taught())),
            (None, Some(_)) => Some(Lexicon::new(language).with(taught())),
        };
        let lexicon = lexicon.map(Arc::new);
        opened.insert(language.to_owned(), lexicon.clone());
        Ok(lexicon)
    }
}

/// Whether a letter is one of Japanese alone.
fn is_kana(character: char) -> bool {
    matches!(character, '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}')
}

/// The English name of a language by its ISO 639-1 code; the code itself where it is none of those with a lexicon.
fn name(code: &str) -> String {
    const OTHERS: [(&str, Lang); 4] =
        [("hi", Lang::Hin), ("ja", Lang::Jpn), ("ru", Lang::Rus), ("zh", Lang::Cmn)];
    let lang = LATIN.iter().chain(&OTHERS).find(|(known, _)| *known == code);
    // "Mandarin" is spoken; what is typed is Chinese.
    match lang {
        Some((_, Lang::Cmn)) => "Chinese".to_owned(),
        Some((_, lang)) => lang.eng_name().to_owned(),
        None => format!("`{code}`"),
    }
}

/// Writes which of the languages in Latin letters have a word, with or without its accents: what [`Languages`] reads. The
/// lexica of other languages are left out.
///
/// # Errors
/// [`Error::Io`](crate::error::Error::Io) when `writer` fails.
pub fn write_list(lexica: &[Lexicon], writer: &mut impl Write) -> Result<()> {
    let mut list: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for lexicon in lexica {
        let Some((code, _)) = LATIN.iter().find(|(code, _)| *code == lexicon.language()) else { continue };
        for (form, _) in lexicon.iter().filter(|(form, _)| !form.contains(' ')) {
            let mut words = vec![form.to_owned(), unaccented(form)];
            if *code == "de" {
                let typed = WITHOUT_UMLAUTS.iter();
                words.push(typed.fold(form.to_owned(), |form, (typed, meant)| form.replace(meant, typed)));
                words.push(form.replace('ß', "ss"));
            }
            for word in words {
                let codes = list.entry(word).or_default();
                if !codes.contains(code) {
                    codes.push(code);
                }
            }
        }
    }
    for (word, mut codes) in list {
        codes.sort_unstable();
        writeln!(writer, "{word}\t{}", codes.join(","))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;
    use crate::knowledge::words::{Meaning, MeaningKind};

    fn language(languages: &Languages, query: &str) -> Option<(String, bool)> {
        let english =
            ["a", "man", "in", "die", "hat", "red", "dog", "the", "la", "on", "car", "is", "dances"];
        let found = languages.of_query(query, |word| english.contains(&word)).unwrap();
        found.map(|found| (found.name, found.lexicon.is_some()))
    }

    #[test]
    fn the_language_that_has_most_words_is_the_querys() {
        let languages = Languages::bundled(Vec::new()).unwrap();
        for (query, expected) in [
            ("Hund", Some("German")),
            ("ein mann mit rotem hut", Some("German")),
            ("Un perro corre en la playa", Some("Spanish")),
            ("un chien court sur la plage", Some("French")),
            ("een man met een rode hoed", Some("Dutch")),
            ("两只狗在草地上跑", Some("Chinese")),
            ("犬が海を走る", Some("Japanese")),
            ("水の中を走る黒い犬", Some("Japanese")),
            ("bambina che esce dall'acqua", Some("Italian")),
            ("grosser Huendin", Some("German")),
            ("собака бежит по пляжу", Some("Russian")),
            ("a man in a red hat", None),
            ("a dog climbign", None),
            ("the man dances on xqzt", None),
            ("xyzzy", None),
            ("", None),
            ("42 ?!", None),
        ] {
            let expected = expected.map(|name| (name.to_owned(), true));
            assert_eq!(language(&languages, query), expected, "{query}");
        }
        assert_eq!(language(&languages, "σκύλος στην παραλία"), Some(("Greek".to_owned(), false)));
        assert_eq!(language(&Languages::default(), "ein mann mit rotem hut"), None);
    }

    #[test]
    fn a_persons_word_of_a_language_counts() {
        let word = |word: &str, language: &str| {
            let meaning = Meaning {
                text: "small brown dog".to_owned(),
                kind: MeaningKind::Name,
                source: Source::Person,
            };
            Word { word: word.to_owned(), language: language.to_owned(), meanings: vec![meaning] }
        };
        let languages = Languages::bundled(vec![word("wauzi", "de"), word("vovve", "sv")]).unwrap();
        for (query, expected) in [
            ("zwei Wauzi", "two small brown dog"),
            ("Wauzi", "small brown dog"),
            ("vovve", "small brown dog"),
        ] {
            let found = languages.of_query(query, |_| false).unwrap().unwrap();
            assert_eq!(found.lexicon.unwrap().english(query).text, expected);
        }
    }

    #[test]
    fn the_bundled_list_is_that_of_the_lexica() {
        let languages = Languages::bundled(Vec::new()).unwrap();
        let lexica = LATIN.map(|(code, _)| Lexicon::clone(&languages.lexicon(code).unwrap().unwrap()));
        let mut written = Vec::new();
        write_list(&lexica, &mut written).unwrap();
        let bundled = bundled::model(knowledge_base::BUNDLED).unwrap().join(BUNDLED_FILE);
        assert!(written == fs_err::read(bundled).unwrap(), "`relens kb build --forms` writes another list");
    }
}
