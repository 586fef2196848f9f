//! A query in another language, word by word: the longest phrases that are known, from left to right; what is unknown
//! stays. There is no grammar but what captions say of the words beside each other ([`super::fluent`]).

use super::fluent::fluent;
use super::lexicon::{Lexicon, normalised};
use crate::english::word_pairs::Context;

/// The most words of a phrase that a lexicon has.
const LONGEST: usize = 4;
/// Languages that are written without spaces between words.
const UNSPACED: [&str; 2] = ["ja", "zh"];
/// The shortest part of a compound, in letters: shorter ones are found in words that they are no part of.
const SHORTEST_PART: usize = 3;
/// Languages that write compounds as one word.
const COMPOUNDING: [&str; 2] = ["de", "nl"];
/// Languages whose adjectives mostly stand behind their nouns.
const NOUN_FIRST: [&str; 4] = ["es", "fr", "it", "pt"];
/// Meanings of each part of a compound that are tried.
const MEANINGS_OF_PARTS: usize = 2;
/// What is written together with the word behind it, and what it is short for.
const ELISIONS: [(&str, &[(&str, &str)]); 2] = [
    (
        "fr",
        &[
            ("l'", "le"),
            ("d'", "de"),
            ("qu'", "que"),
            ("s'", "se"),
            ("n'", "ne"),
            ("c'", "ce"),
            ("j'", "je"),
            ("jusqu'", "jusque"),
            ("lorsqu'", "lorsque"),
        ],
    ),
    (
        "it",
        &[
            ("l'", "il"),
            ("d'", "di"),
            ("un'", "una"),
            ("dell'", "della"),
            ("nell'", "nella"),
            ("all'", "alla"),
            ("sull'", "sulla"),
            ("dall'", "dalla"),
            ("c'", "ci"),
        ],
    ),
];
/// How German is typed where there are no umlauts.
pub(super) const WITHOUT_UMLAUTS: [(&str, &str); 4] = [("ae", "ä"), ("oe", "ö"), ("ue", "ü"), ("ss", "ß")];

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

/// A stretch of a query, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stretch {
    /// As it was typed, in lower case.
    pub(super) typed: String,
    /// In English, the likeliest first; none where the lexicon lacks it.
    pub(super) meanings: Vec<String>,
}

impl Lexicon {
    /// A query word by word, each in its likeliest meaning.
    pub fn english(&self, query: &str) -> WordByWord {
        read(&self.stretches(query), |stretches| {
            let words = stretches.iter().map(|stretch| stretch.meanings.first().unwrap_or(&stretch.typed));
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        })
    }

    /// The same, in the meanings and with the articles that captions would have.
    pub(crate) fn english_of_captions(&self, query: &str, captions: &Context<'_>) -> WordByWord {
        let noun_first = NOUN_FIRST.contains(&self.language());
        let read = read(&self.stretches(query), |stretches| fluent(stretches, noun_first, captions));
        // Where captions would leave all words out ("é"), they are what there is.
        if read.text.is_empty() { self.english(query) } else { read }
    }

    fn stretches(&self, query: &str) -> Vec<Stretch> {
        let query = normalised(query);
        if UNSPACED.contains(&self.language()) { self.unspaced(&query) } else { self.spaced(&query) }
    }

    fn spaced(&self, query: &str) -> Vec<Stretch> {
        let query = query.replace('\u{2019}', "'");
        // Vowel signs of Hindi are no letters to every table, so that only spaces and signs part words.
        let parts = |character: char| character.is_whitespace() || ".,!?;:\"()¿¡…«»„“”।".contains(character);
        let typed = query.split(parts).filter(|word| !word.is_empty());
        let words: Vec<String> = typed.flat_map(|word| self.parted(word)).collect();
        let mut stretches = Vec::new();
        let mut place = 0;
        while place < words.len() {
            let longest = LONGEST.min(words.len() - place);
            let phrase = (1..=longest).rev().find_map(|length| {
                let phrase = words.get(place..place + length)?.join(" ");
                let meanings = self.meanings_without_umlauts(&phrase);
                (!meanings.is_empty()).then_some((length, phrase, meanings))
            });
            let word = words.get(place).cloned().unwrap_or_default();
            let (length, typed, meanings) = phrase.unwrap_or_else(|| {
                let compound = self.compound(&word);
                let meanings = match compound.is_empty() {
                    true => self.meanings_of_another_form(&word).to_vec(),
                    false => compound,
                };
                (1, word, meanings)
            });
            stretches.push(Stretch { typed, meanings });
            place += length;
        }
        stretches
    }

    /// What a language writes together that the lexicon has apart: elisions, and words with hyphens.
    fn parted(&self, word: &str) -> Vec<String> {
        if !self.meanings(word).is_empty() {
            return vec![word.to_owned()];
        }
        let elisions = ELISIONS.iter().find(|(language, _)| *language == self.language());
        let elided = elisions.into_iter().flat_map(|(_, elisions)| *elisions).find_map(|(short, long)| {
            let rest = word.strip_prefix(short).filter(|rest| !rest.is_empty())?;
            Some(vec![(*long).to_owned(), rest.to_owned()])
        });
        if let Some(parts) = elided {
            return parts;
        }
        if !word.contains('-') {
            return vec![word.to_owned()];
        }
        let together = word.replace('-', "");
        match self.meanings(&together).is_empty() {
            true => word.split('-').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            false => vec![together],
        }
    }

    fn meanings_without_umlauts(&self, phrase: &str) -> Vec<String> {
        let as_typed = self.meanings(phrase);
        if !as_typed.is_empty() || self.language() != "de" {
            return as_typed.to_vec();
        }
        let umlauts = |phrase: &str, pairs: &[(&str, &str)]| {
            pairs.iter().fold(phrase.to_owned(), |phrase, (typed, meant)| phrase.replace(typed, meant))
        };
        let (vowels, sharp) = WITHOUT_UMLAUTS.split_at(3);
        let spellings = [umlauts(phrase, vowels), umlauts(phrase, sharp), umlauts(phrase, &WITHOUT_UMLAUTS)];
        let known = spellings.iter().map(|spelling| self.meanings(spelling)).find(|known| !known.is_empty());
        known.unwrap_or_default().to_vec()
    }

    /// What a compound of two words that are known means, the longest head first: "strandball" is a beach ball.
    fn compound(&self, word: &str) -> Vec<String> {
        if !COMPOUNDING.contains(&self.language()) {
            return Vec::new();
        }
        let cuts = word.char_indices().map(|(place, _)| place).skip(SHORTEST_PART);
        let split = cuts.filter_map(|cut| word.split_at_checked(cut)).find_map(|(before, head)| {
            let heads = self.meanings_as_written(head);
            if heads.is_empty() || head.chars().count() < SHORTEST_PART {
                return None;
            }
            let without = |joint: &str| before.strip_suffix(joint).map(str::to_owned);
            // "Landungsbrücke", "Sonnenbrille", "Schulhof".
            let forms = [Some(before.to_owned()), without("s"), without("n"), without("en")];
            let forms = forms.into_iter().flatten().chain([format!("{before}e")]);
            let mut known = forms.filter(|form| form.chars().count() >= SHORTEST_PART).map(|form| {
                self.meanings_as_written(&form).iter().take(MEANINGS_OF_PARTS).collect::<Vec<_>>()
            });
            known.find(|known| !known.is_empty()).map(|known| (known, heads))
        });
        let Some((befores, heads)) = split else { return Vec::new() };
        let heads = heads.iter().take(MEANINGS_OF_PARTS);
        heads.flat_map(|head| befores.iter().map(move |before| format!("{before} {head}"))).collect()
    }

    /// The longest words of a text without spaces. English names in it stay; other strangers have no text, for an English
    /// retriever has no word for them.
    fn unspaced(&self, query: &str) -> Vec<Stretch> {
        let characters: Vec<char> = query.chars().filter(|character| character.is_alphanumeric()).collect();
        let mut stretches = Vec::new();
        let mut stranger = String::new();
        let mut place = 0;
        while place < characters.len() {
            let longest = self.longest.min(characters.len() - place);
            let known = (1..=longest).rev().find_map(|length| {
                let form: String = characters.get(place..place + length)?.iter().collect();
                let meanings = self.meanings_as_written(&form).to_vec();
                (!meanings.is_empty()).then_some((length, Stretch { typed: form, meanings }))
            });
            match known {
                Some((length, stretch)) => {
                    push_stranger(&mut stretches, &mut stranger);
                    stretches.push(stretch);
                    place += length;
                }
                None => {
                    stranger.extend(characters.get(place));
                    place += 1;
                }
            }
        }
        push_stranger(&mut stretches, &mut stranger);
        stretches
    }
}

fn push_stranger(stretches: &mut Vec<Stretch>, stranger: &mut String) {
    let typed = std::mem::take(stranger);
    if !typed.is_empty() {
        let typed = if typed.is_ascii() { typed } else { String::new() };
        stretches.push(Stretch { typed, meanings: Vec::new() });
    }
}

fn read(stretches: &[Stretch], in_english: impl Fn(&[Stretch]) -> String) -> WordByWord {
    let known = stretches.iter().filter(|stretch| !stretch.meanings.is_empty()).count();
    let says_something = |stretch: &&Stretch| !stretch.meanings.is_empty() || !stretch.typed.is_empty();
    let said: Vec<Stretch> = stretches.iter().filter(says_something).cloned().collect();
    WordByWord { text: in_english(&said), known, unknown: stretches.len() - known }
}

impl WordByWord {
    /// The share of the query that the lexicon has, 0 to 1.
    pub fn share_known(&self) -> f32 {
        self.known as f32 / (self.known + self.unknown).max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::tests::{german, lexicon};

    #[test]
    fn the_longest_phrases_become_english_and_the_unknown_stays() {
        let english = |query: &str| german().english(query).text;
        assert_eq!(english("Ein Hund spielt mit dem Strandball."), "a dog plays with the beach ball");
        assert_eq!(english("hundin vor Udo"), "dog in front of udo");
        assert_eq!(english("hu\u{308}ndin und Huendin"), "dog und dog");
        assert_eq!(english("Hund-Auto auf der Strasse"), "dog car auf the street");
        assert_eq!(english(" … "), "");
        let found = german().english("ein mann vor Udo");
        assert_eq!((found.known, found.unknown), (3, 1));
        assert!((found.share_known() - 0.75).abs() < 1e-6);
    }

    #[test]
    fn what_is_elided_is_read_as_the_word_that_it_is() {
        let french = lexicon("fr", "grass\therbe\nthe\tle\tla\nof\tde\na\tun\n");
        assert_eq!(french.english("l'herbe d’un").text, "the grass of a");
        assert_eq!(french.english("l'").text, "l'");
        let whole = lexicon("fr", "someone\tquelqu'un\n");
        assert_eq!(whole.english("Quelqu'un").text, "someone");
    }

    #[test]
    fn an_ending_that_the_lexicon_lacks_is_read_as_one_that_it_has() {
        let german =
            lexicon("de", "beige\tbeige\ndalmatian\tdalmatiner\nsnowy\tverschneite\nshow\tspektakel\n");
        assert_eq!(german.english("Dalmatinern verschneitem").text, "dalmatian snowy");
        assert_eq!(german.english("spektralblau beig").text, "spektralblau beig");
    }

    #[test]
    fn scripts_without_spaces_are_cut_at_the_longest_words() {
        let chinese = lexicon("zh", "dog\t狗\tblack dog\nblack dog\t黑狗\nruns\t跑\n");
        assert_eq!(chinese.english("黑狗在跑 frisbee").text, "black dog runs frisbee");
        let unknown = chinese.english("在");
        assert_eq!((unknown.text.as_str(), unknown.known, unknown.unknown), ("", 0, 1));
    }
}
