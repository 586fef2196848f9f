//! Perturbations of characters.

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt};

use super::PerturbationKind as Kind;

/// The rows of a keyboard; a key's neighbours are those beside it and, roughly, above and below it.
const KEYBOARD: [&[u8]; 3] = [b"qwertyuiop", b"asdfghjkl", b"zxcvbnm"];

/// What optical character recognition reads in place of a character.
const OCR: &[(char, &[char])] = &[
    ('a', &['o', '@']),
    ('b', &['6', 'h']),
    ('c', &['e', 'o']),
    ('d', &['o', 'a']),
    ('e', &['c', 'o']),
    ('f', &['t', 'l']),
    ('g', &['9', 'q']),
    ('h', &['n', 'b']),
    ('i', &['1', 'l', 'j']),
    ('j', &['i']),
    ('k', &['h']),
    ('l', &['1', 'i']),
    ('m', &['n']),
    ('n', &['m', 'r', 'h']),
    ('o', &['0', 'c']),
    ('p', &['q']),
    ('q', &['g', '9']),
    ('r', &['n']),
    ('s', &['5', '8']),
    ('t', &['f', 'l']),
    ('u', &['v']),
    ('v', &['u', 'y']),
    ('w', &['v']),
    ('x', &['y']),
    ('y', &['v']),
    ('z', &['2']),
];

/// One slip of `kind` in each of some words of at least two letters.
pub(super) fn perturb(text: &str, kind: Kind, places: impl Fn(usize) -> usize, rng: &mut impl Rng) -> String {
    let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let long = |word: &String| word.chars().filter(char::is_ascii_alphabetic).count() >= 2;
    let mut candidates: Vec<usize> = (0..words.len()).filter(|&word| long(&words[word])).collect();
    candidates.shuffle(rng);
    for word in candidates.into_iter().take(places(words.len())) {
        words[word] = slip(&words[word], kind, rng);
    }
    words.join(" ")
}

fn slip(word: &str, kind: Kind, rng: &mut impl Rng) -> String {
    let mut characters: Vec<char> = word.chars().collect();
    let letters: Vec<usize> =
        (0..characters.len()).filter(|&place| characters[place].is_ascii_alphabetic()).collect();
    let Some(&place) = letters.choose(rng) else { return word.to_owned() };
    let old = characters[place];
    match kind {
        Kind::CharacterInsert => characters.insert(place, random_letter(rng)),
        Kind::CharacterDelete => {
            characters.remove(place);
        }
        Kind::CharacterSwap => {
            // Equal neighbours would swap unseen.
            let differs = |&place: &usize| {
                characters.get(place + 1).is_some_and(|next| {
                    next.is_ascii_alphabetic() && !next.eq_ignore_ascii_case(&characters[place])
                })
            };
            let swappable: Vec<usize> = letters.iter().copied().filter(differs).collect();
            if let Some(&place) = swappable.choose(rng) {
                characters.swap(place, place + 1);
            }
        }
        Kind::Keyboard => characters[place] = with_case(old, beside(old, rng)),
        Kind::Ocr => {
            let taken_for = OCR.iter().find(|(letter, _)| *letter == old.to_ascii_lowercase());
            let new = taken_for.and_then(|(_, others)| others.choose(rng));
            characters[place] = with_case(old, new.copied().unwrap_or(old));
        }
        _ => {
            let mut new = random_letter(rng);
            while new == old.to_ascii_lowercase() {
                new = random_letter(rng);
            }
            characters[place] = with_case(old, new);
        }
    }
    characters.into_iter().collect()
}

/// A key beside, above or below this one.
fn beside(letter: char, rng: &mut impl Rng) -> char {
    let lower = letter.to_ascii_lowercase() as u8;
    let found = KEYBOARD
        .iter()
        .enumerate()
        .find_map(|(row, keys)| Some((row, keys.iter().position(|&key| key == lower)?)));
    let Some((row, column)) = found else { return letter };
    let near = |row: usize, column: usize| KEYBOARD.get(row).and_then(|keys| keys.get(column)).copied();
    let keys = [
        near(row, column.wrapping_sub(1)),
        near(row, column + 1),
        near(row.wrapping_sub(1), column),
        near(row + 1, column),
    ];
    let keys: Vec<u8> = keys.into_iter().flatten().collect();
    keys.choose(rng).map_or(letter, |&key| char::from(key))
}

fn random_letter(rng: &mut impl Rng) -> char {
    char::from(rng.random_range(b'a'..=b'z'))
}

fn with_case(old: char, new: char) -> char {
    if old.is_ascii_uppercase() { new.to_ascii_uppercase() } else { new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn each_slip_is_what_its_name_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            let slipped = |kind, rng: &mut ChaCha8Rng| slip("Horse,", kind, rng);
            assert_eq!(slipped(Kind::CharacterInsert, &mut rng).len(), 7);
            assert_eq!(slipped(Kind::CharacterDelete, &mut rng).len(), 5);
            let mut swapped: Vec<char> = slipped(Kind::CharacterSwap, &mut rng).chars().collect();
            swapped.sort_unstable();
            assert_eq!(swapped, [',', 'H', 'e', 'o', 'r', 's']);
            for kind in [Kind::Keyboard, Kind::Ocr, Kind::CharacterReplace] {
                let text = slipped(kind, &mut rng);
                let differences = text.chars().zip("Horse,".chars()).filter(|(a, b)| a != b).count();
                assert_eq!((text.chars().count(), differences), (6, 1), "{kind:?}: {text}");
            }
        }
    }

    #[test]
    fn a_slip_on_the_keyboard_hits_a_key_beside() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert!((0..100).all(|_| ['x', 'a'].contains(&beside('z', &mut rng))));
        assert!((0..100).all(|_| ['w', 'a'].contains(&beside('q', &mut rng))));
        assert_eq!(beside('é', &mut rng), 'é');
    }
}
