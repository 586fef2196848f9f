//! Contractions that are typed without their apostrophe: "dont" means "don't", and neither "dot" nor "done".

use super::spelling::Correction;
use super::words::words;

/// Contractions without the apostrophe, those that are no other word.
const CONTRACTIONS: [(&str, &str); 18] = [
    ("arent", "aren't"),
    ("couldnt", "couldn't"),
    ("didnt", "didn't"),
    ("doesnt", "doesn't"),
    ("dont", "don't"),
    ("hadnt", "hadn't"),
    ("hasnt", "hasn't"),
    ("havent", "haven't"),
    ("isnt", "isn't"),
    ("shouldnt", "shouldn't"),
    ("thats", "that's"),
    ("theres", "there's"),
    ("theyre", "they're"),
    ("wasnt", "wasn't"),
    ("werent", "weren't"),
    ("whats", "what's"),
    ("wouldnt", "wouldn't"),
    ("youre", "you're"),
];

/// The text with the apostrophes that its contractions lack.
pub(crate) fn with_apostrophes(text: &str) -> (String, Vec<Correction>) {
    let mut result = String::with_capacity(text.len());
    let mut corrections = Vec::new();
    let mut copied = 0;
    for word in words(text) {
        let Ok(found) = CONTRACTIONS.binary_search_by(|(typed, _)| (*typed).cmp(word.text.as_ref())) else {
            continue;
        };
        let Some((_, meant)) = CONTRACTIONS.get(found) else { continue };
        result.push_str(text.get(copied..word.range.start).unwrap_or_default());
        result.push_str(meant);
        copied = word.range.end;
        let from = text.get(word.range.clone()).unwrap_or_default().to_owned();
        corrections.push(Correction { from, to: (*meant).to_owned() });
    }
    result.push_str(text.get(copied..).unwrap_or_default());
    (result, corrections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contractions_get_their_apostrophe_and_nothing_else_does() {
        let (text, corrections) = with_apostrophes("Dogs that dont bark, and whats left");
        assert_eq!((text.as_str(), corrections.len()), ("Dogs that don't bark, and what's left", 2));
        for text in ["a dog doesn't bark", "they don’t", "the dot", "wont", ""] {
            assert_eq!(with_apostrophes(text), (text.to_owned(), Vec::new()));
        }
        assert!(CONTRACTIONS.is_sorted());
    }
}
