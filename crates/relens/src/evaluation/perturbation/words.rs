//! Perturbations of words, after "Easy Data Augmentation" (Wei and Zou, 2019) and "An Easier Data Augmentation"
//! (Karimi et al., 2021), which the benchmark takes them from.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};

use super::Synonyms;

/// The marks that [`insert_punctuation`] puts in.
const MARKS: [&str; 6] = [".", ",", "!", "?", ";", ":"];

pub(super) fn replace_by_synonyms(
    text: &str,
    places: impl Fn(usize) -> usize,
    synonyms: &Synonyms,
    rng: &mut impl Rng,
) -> String {
    let mut words = split(text);
    let mut known: Vec<usize> =
        (0..words.len()).filter(|&word| !of(synonyms, &words[word]).is_empty()).collect();
    known.shuffle(rng);
    for word in known.into_iter().take(places(words.len())) {
        if let Some(synonym) = of(synonyms, &words[word]).choose(rng) {
            // Commas and full stops stay where they were.
            words[word] = words[word].replace(bare(&words[word]), synonym);
        }
    }
    words.join(" ")
}

pub(super) fn insert_synonyms(
    text: &str,
    places: impl Fn(usize) -> usize,
    synonyms: &Synonyms,
    rng: &mut impl Rng,
) -> String {
    let mut words = split(text);
    let known: Vec<Vec<String>> = words
        .iter()
        .map(|word| of(synonyms, word).to_vec())
        .filter(|synonyms| !synonyms.is_empty())
        .collect();
    for _ in 0..places(words.len()) {
        let Some(synonym) = known.choose(rng).and_then(|synonyms| synonyms.choose(rng)) else { break };
        words.insert(rng.random_range(0..=words.len()), synonym.clone());
    }
    words.join(" ")
}

pub(super) fn swap(text: &str, places: impl Fn(usize) -> usize, rng: &mut impl Rng) -> String {
    let mut words = split(text);
    for _ in 0..places(words.len()) {
        if words.len() < 2 {
            break;
        }
        let first = rng.random_range(0..words.len());
        let second = (first + rng.random_range(1..words.len())) % words.len();
        words.swap(first, second);
    }
    words.join(" ")
}

/// A word at least is kept.
pub(super) fn delete(text: &str, places: impl Fn(usize) -> usize, rng: &mut impl Rng) -> String {
    let mut words = split(text);
    for _ in 0..places(words.len()) {
        if words.len() < 2 {
            break;
        }
        words.remove(rng.random_range(0..words.len()));
    }
    words.join(" ")
}

pub(super) fn insert_punctuation(text: &str, places: impl Fn(usize) -> usize, rng: &mut impl Rng) -> String {
    let mut words = split(text);
    for _ in 0..places(words.len()) {
        let mark = MARKS.choose(rng).copied().unwrap_or(MARKS[0]);
        words.insert(rng.random_range(0..=words.len()), mark.to_owned());
    }
    words.join(" ")
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn of<'a>(synonyms: &'a Synonyms, word: &str) -> &'a [String] {
    synonyms.of(bare(word))
}

/// The word without what stands around it.
fn bare(word: &str) -> &str {
    let bare = word.trim_matches(|character: char| !character.is_alphanumeric());
    // `replace` of nothing would put the synonym between all characters.
    if bare.is_empty() { word } else { bare }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn synonyms() -> Synonyms {
        [("dog", vec!["hound"]), ("red", vec!["scarlet"])].into_iter().collect()
    }

    #[test]
    fn synonyms_stand_where_the_word_stood() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let all = |words| words;
        assert_eq!(replace_by_synonyms("A Dog, red.", all, &synonyms(), &mut rng), "A hound, scarlet.");
        assert_eq!(replace_by_synonyms("a cat", all, &synonyms(), &mut rng), "a cat");
        let inserted = insert_synonyms("a dog", |_| 1, &synonyms(), &mut rng);
        assert!(inserted.contains("hound") && inserted.split(' ').count() == 3);
    }

    #[test]
    fn swaps_and_deletions_keep_the_other_words() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        for _ in 0..50 {
            let mut swapped = split(&swap("a b c", |_| 1, &mut rng));
            assert_ne!(swapped, ["a", "b", "c"]);
            swapped.sort();
            assert_eq!(swapped, ["a", "b", "c"]);
            assert_eq!(delete("a b c", |_| 9, &mut rng).len(), 1);
            assert_eq!(split(&insert_punctuation("a b", |_| 2, &mut rng)).len(), 4);
        }
        assert_eq!(swap("a", |_| 1, &mut rng), "a");
    }
}
