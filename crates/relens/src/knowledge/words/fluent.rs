//! Of several English words for each word of a query, those that captions would put beside each other.
//!
//! A beam search over meanings, with the counts of pairs of words in captions as the language model: the noisy channel of
//! statistical machine translation (Brown et al., 1993) with bigrams, where a meaning costs by its rank among those of
//! its form. An article may be put before a word, words that captions seldom have may be left out, and where adjectives
//! stand behind nouns, neighbours may change places: `dos perros negros` reads `two black dogs`, `Hund am Strand` `a dog
//! on the beach`. The costs were chosen by recall on training captions.

use super::reading::Stretch;
use crate::english::word_pairs::{Context, EDGE};

/// Meanings of a stretch that are tried.
const MEANINGS: usize = 4;
/// What each rank among the meanings costs.
const RANK_COST: f64 = 0.3;
/// What an article costs that was not typed.
const ARTICLE_COST: f64 = 0.5;
/// What it costs to let two words change places.
const EXCHANGE_COST: f64 = 1.0;
/// What it costs to leave a word out.
const OMISSION_COST: f64 = 2.0;
/// Readings that are kept at each word, each with another word at its end.
const BEAM: usize = 12;
/// Articles.
const ARTICLES: [&str; 3] = ["a", "an", "the"];
/// What other languages say and captions mostly do not: "a dog who runs".
const OMITTED: [&str; 10] =
    ["who", "that", "some", "themselves", "itself", "himself", "herself", "there", "is", "are"];

/// A reading of the beginning of a query.
#[derive(Debug, Clone)]
struct Reading<'a> {
    /// The logarithm of its likelihood, less its costs.
    score: f64,
    words: Vec<&'a str>,
}

impl<'a> Reading<'a> {
    fn last(&self) -> &'a str {
        self.words.last().copied().unwrap_or(EDGE)
    }

    fn with(&self, text: &'a str, cost: f64, captions: &Context<'_>) -> Self {
        let mut reading = self.clone();
        reading.score -= cost;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            reading.score += captions.likelihood_behind(reading.last(), word);
            reading.words.push(word);
        }
        reading
    }
}

/// The likeliest reading of all stretches.
pub(super) fn fluent(stretches: &[Stretch], noun_first: bool, captions: &Context<'_>) -> String {
    let mut here = vec![Reading { score: 0.0, words: Vec::new() }];
    let mut next: Vec<Reading<'_>> = Vec::new();
    for (place, stretch) in stretches.iter().enumerate() {
        let behind = stretches
            .get(place + 1)
            .filter(|behind| noun_first && !stretch.meanings.is_empty() && !behind.meanings.is_empty());
        let mut after_next = Vec::new();
        for reading in best(here) {
            let omitted = stretch.meanings.first().is_some_and(|first| OMITTED.contains(&first.as_str()));
            if omitted {
                next.push(reading.with("", OMISSION_COST, captions));
            }
            for begun in with_article(reading, captions) {
                next.extend(meanings(stretch).map(|(meaning, cost)| begun.with(meaning, cost, captions)));
                for (second, cost) in behind.into_iter().flat_map(meanings) {
                    let exchanged = begun.with(second, cost + EXCHANGE_COST, captions);
                    let whole = meanings(stretch).map(|(first, cost)| exchanged.with(first, cost, captions));
                    after_next.extend(whole);
                }
            }
        }
        here = std::mem::replace(&mut next, after_next);
    }
    let finished = here.into_iter().map(|reading| reading.with(EDGE, 0.0, captions));
    let likeliest = finished.max_by(|one, other| one.score.total_cmp(&other.score));
    let words = likeliest.map(|reading| reading.words).unwrap_or_default();
    words.strip_suffix(&[EDGE]).unwrap_or(&words).join(" ")
}

/// What a stretch may mean, and what each meaning costs; what is unknown means itself.
fn meanings(stretch: &Stretch) -> impl Iterator<Item = (&str, f64)> {
    let itself = stretch.meanings.is_empty().then_some((stretch.typed.as_str(), 0.0));
    let known = stretch.meanings.iter().take(MEANINGS).enumerate();
    known.map(|(rank, meaning)| (meaning.as_str(), rank as f64 * RANK_COST)).chain(itself)
}

/// The reading as it is, and with each article behind it that may stand there.
fn with_article<'a>(reading: Reading<'a>, captions: &Context<'_>) -> Vec<Reading<'a>> {
    let mut begun = Vec::with_capacity(3);
    if !ARTICLES.contains(&reading.last()) {
        begun.extend(["a", "the"].map(|article| reading.with(article, ARTICLE_COST, captions)));
    }
    begun.push(reading);
    begun
}

/// The best readings, each with another word at its end: what follows depends on that word alone.
fn best(mut readings: Vec<Reading<'_>>) -> Vec<Reading<'_>> {
    readings.sort_by(|one, other| other.score.total_cmp(&one.score));
    let mut kept: Vec<Reading<'_>> = Vec::with_capacity(BEAM);
    for reading in readings {
        if kept.len() < BEAM && kept.iter().all(|known| known.last() != reading.last()) {
            kept.push(reading);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::lexicon::tests::lexicon;
    use crate::english::Vocabulary;
    use crate::english::word_pairs::{Context, WordPairs, write_pairs};

    fn read(language: &str, lines: &str, query: &str) -> String {
        let captions = ["a dog on the beach", "two black dogs run", "a man opens the door", "an old car"];
        let captions = || captions.iter().copied().cycle().take(200);
        let file = tempfile::NamedTempFile::new().unwrap();
        write_pairs(captions(), &mut file.as_file()).unwrap();
        let (vocabulary, pairs) =
            (Vocabulary::of_captions(captions()), WordPairs::open(file.path()).unwrap());
        let context = Context::new(&vocabulary, &pairs);
        lexicon(language, lines).english_of_captions(query, &context).text
    }

    #[test]
    fn meanings_articles_and_order_are_those_of_captions() {
        let german = "dog\thund\nupon\tam\nbeach\tstrand\non\tauf\tam\n";
        assert_eq!(read("de", german, "Hund am Strand"), "a dog on the beach");
        assert_eq!(read("de", german, "Hund am Xyz"), "a dog on xyz");
        let spanish = "two\tdos\ndogs\tperros\nblack\tnegros\nrun\tcorren\nwho\tque\n";
        assert_eq!(read("es", spanish, "dos perros negros que corren"), "two black dogs run");
        let french = "carries\tporte\ndoor\tfenêtre\tporte\nman\thomme\nopens\touvre\nthe\tla\na\tun\n";
        assert_eq!(read("fr", french, "un homme ouvre la porte"), "a man opens the door");
    }

    #[test]
    fn nothing_reads_as_nothing_and_strangers_stay() {
        let german = "dog\thund\n";
        assert_eq!(read("de", german, ""), "");
        assert_eq!(read("de", german, "xyz"), "xyz");
        assert_eq!(read("pt", "is\té\n", "é"), "is");
    }
}
