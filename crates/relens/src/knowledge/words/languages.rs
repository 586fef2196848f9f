//! Which language is a query in? Queries are too short for statistics of letters alone, so that the lexica count first:
//! the language that has most of the words, if English has fewer. Where two have as many, the letters decide.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use whatlang::{Detector, Lang};

use super::lexicon::DIRECTORY;
use super::{Lexicon, Word};
use crate::error::Result;
use crate::knowledge::knowledge_base;
use crate::model_hub::bundled;

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

/// The lexica of languages, each opened when a query first seems to be in it.
#[derive(Debug, Default)]
pub struct Languages {
    /// Where the files are; none for no languages.
    directory: Option<PathBuf>,
    /// Words that a person taught, of any language.
    taught: Vec<Word>,
    opened: Mutex<BTreeMap<&'static str, Option<Arc<Lexicon>>>>,
}

impl Languages {
    /// The bundled lexica, with a person's words before theirs.
    ///
    /// # Errors
    /// The bundled knowledge base is missing.
    pub fn bundled(taught: Vec<Word>) -> Result<Self> {
        let directory = bundled::model(knowledge_base::BUNDLED)?.join(DIRECTORY);
        Ok(Self { directory: Some(directory), taught, opened: Mutex::default() })
    }

    /// The lexicon of a language; none where there is none.
    fn lexicon(&self, language: &'static str) -> Result<Option<Arc<Lexicon>>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(language) {
            return Ok(known.clone());
        }
        let file = self.directory.as_ref().map(|directory| directory.join(format!("{language}.tsv")));
        let lexicon = match file.filter(|file| file.is_file()) {
            Some(file) => Some(Arc::new(Lexicon::open(&file, language)?.with(self.taught.iter().cloned()))),
            None => None,
        };
        opened.insert(language, lexicon.clone());
        Ok(lexicon)
    }

    /// The language of a query that is not in English, if there is a lexicon of it; `is_english` knows English words in
    /// lower case.
    ///
    /// # Errors
    /// Those of the lexica's files.
    pub fn of_query(&self, query: &str, is_english: impl Fn(&str) -> bool) -> Result<Option<Arc<Lexicon>>> {
        if self.directory.is_none() {
            return Ok(None);
        }
        match by_script(query) {
            Script::Latin => self.latin(query, is_english),
            Script::Of(languages) => {
                let mut best: Option<(usize, Arc<Lexicon>)> = None;
                for &language in languages {
                    let Some(lexicon) = self.lexicon(language)? else { continue };
                    let known = lexicon.english(query).known;
                    if known > best.as_ref().map_or(0, |(known, _)| *known) {
                        best = Some((known, lexicon));
                    }
                }
                Ok(best.map(|(_, lexicon)| lexicon))
            }
            Script::Unknown => Ok(None),
        }
    }

    fn latin(&self, query: &str, is_english: impl Fn(&str) -> bool) -> Result<Option<Arc<Lexicon>>> {
        let lower_case = query.to_lowercase();
        let words: Vec<&str> = lower_case
            .split(|character: char| !character.is_alphanumeric() && character != '\'')
            .filter(|word| !word.is_empty())
            .collect();
        let share = |count: usize| count as f32 / words.len().max(1) as f32;
        let english = words.iter().filter(|word| is_english(word)).count();
        if words.is_empty() || share(words.len() - english) < LEAST_STRANGE {
            return Ok(None);
        }
        let mut found: Vec<(usize, Lang, Arc<Lexicon>)> = Vec::new();
        for (language, name) in LATIN {
            let Some(lexicon) = self.lexicon(language)? else { continue };
            let known = words.iter().filter(|word| lexicon.meaning(word).is_some()).count();
            if known > english && share(known) >= LEAST_KNOWN {
                found.push((known, name, lexicon));
            }
        }
        let most = found.iter().map(|(known, ..)| *known).max().unwrap_or(0);
        found.retain(|(known, ..)| *known == most);
        let names = found.iter().map(|(_, name, _)| *name).collect();
        let likely = if found.len() > 1 { Detector::with_allowlist(names).detect_lang(query) } else { None };
        let place = found.iter().position(|(_, name, _)| Some(*name) == likely).unwrap_or(0);
        Ok(found.into_iter().nth(place).map(|(.., lexicon)| lexicon))
    }
}

/// What letters a query is written in.
enum Script {
    Latin,
    /// Letters that these languages are written in.
    Of(&'static [&'static str]),
    Unknown,
}

fn by_script(query: &str) -> Script {
    let has =
        |range: std::ops::RangeInclusive<char>| query.chars().any(|character| range.contains(&character));
    if has('\u{3040}'..='\u{30FF}') {
        Script::Of(&["ja"])
    } else if has('\u{4E00}'..='\u{9FFF}') || has('\u{3400}'..='\u{4DBF}') {
        Script::Of(&["zh", "ja"])
    } else if has('\u{400}'..='\u{4FF}') {
        Script::Of(&["ru"])
    } else if has('\u{900}'..='\u{97F}') {
        Script::Of(&["hi"])
    } else if query.chars().filter(|character| character.is_alphabetic()).all(is_latin) {
        Script::Latin
    } else {
        Script::Unknown
    }
}

fn is_latin(character: char) -> bool {
    matches!(character, 'a'..='z' | 'A'..='Z' | '\u{AA}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' | '\u{300}'..='\u{36F}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knowledge::Source;
    use crate::knowledge::words::{Meaning, MeaningKind};

    fn language(languages: &Languages, query: &str) -> Option<String> {
        let english =
            ["a", "man", "in", "die", "hat", "red", "dog", "the", "la", "on", "car", "is", "dances"];
        let found = languages.of_query(query, |word| english.contains(&word)).unwrap();
        found.map(|lexicon| lexicon.language().to_owned())
    }

    #[test]
    fn the_language_that_has_most_words_is_the_querys() {
        let languages = Languages::bundled(Vec::new()).unwrap();
        for (query, expected) in [
            ("ein mann mit rotem hut", Some("de")),
            ("Un perro corre en la playa", Some("es")),
            ("un chien court sur la plage", Some("fr")),
            ("een man met een rode hoed", Some("nl")),
            ("两只狗在草地上跑", Some("zh")),
            ("犬が海を走る", Some("ja")),
            ("собака бежит по пляжу", Some("ru")),
            ("a man in a red hat", None),
            ("a dog climbign", None),
            ("the man dances on xqzt", None),
            ("σκύλος", None),
            ("", None),
            ("42 ?!", None),
        ] {
            assert_eq!(language(&languages, query).as_deref(), expected, "{query}");
        }
        assert_eq!(language(&Languages::default(), "ein mann mit rotem hut"), None);
    }

    #[test]
    fn a_persons_word_of_a_language_counts() {
        let meanings = vec![Meaning {
            text: "small brown dog".to_owned(),
            kind: MeaningKind::Name,
            source: Source::Person,
        }];
        let word = Word { word: "wauzi".to_owned(), language: "de".to_owned(), meanings };
        let languages = Languages::bundled(vec![word]).unwrap();
        let lexicon = languages.of_query("zwei wauzi", |_| false).unwrap().unwrap();
        assert_eq!(lexicon.english("zwei wauzi").text, "two small brown dog");
    }
}
