//! Words that show nothing.

use super::candidates::Rewording;
use crate::english::article::indefinite;
use crate::english::words::is_listed;
use crate::enhancer::Query;

/// Beginnings that ask for a picture instead of saying what it shows, the longest first.
const REQUESTS: &[&str] = &[
    "i am looking for",
    "i'm looking for",
    "can you find me",
    "can you show me",
    "please show me",
    "please find",
    "looking for",
    "search for",
    "i want to see",
    "i want",
    "show me",
    "find me",
    "find",
    "a close up picture of",
    "a close-up of",
    "a photograph of",
    "a picture of",
    "an image of",
    "a photo of",
    "pictures of",
    "picture of",
    "images of",
    "image of",
    "photos of",
    "photo of",
    "snapshots of",
    "snapshot of",
    "pics of",
    "pic of",
    "a view of",
    "some kind of",
    "there is",
    "there are",
    "this is",
    "here is",
];

/// Words that judge or stress, and leave no trace in a picture.
const FILLER: &str = "\
    absolutely actually amazing apparently awesome basically beautiful certainly clearly cool definitely extremely \
    fantastic famous gorgeous great interesting just kinda lovely nice obviously perfect please possibly pretty \
    probably quite rather really seemingly simply so some somewhat stunning such super totally truly typical very \
    wonderful";

/// The text without what shows nothing.
pub(super) fn without_filler(text: &str) -> (String, Vec<Rewording>) {
    let (rest, mut changes) = without_request(text.trim());
    let mut kept = Vec::new();
    let mut articles_to_mend = false;
    for word in rest.split_whitespace() {
        if is_listed(FILLER, word.to_lowercase().as_str()) {
            changes.push(Rewording::Dropped { words: word.to_owned() });
            articles_to_mend = true;
            continue;
        }
        if articles_to_mend && let Some(article) = kept.last_mut() {
            mend(article, word);
        }
        articles_to_mend = false;
        kept.push(word.to_owned());
    }
    if kept.is_empty() {
        return (text.to_owned(), Vec::new());
    }
    // "A very nice picture of" asks for a picture once "very nice" is gone.
    let kept = kept.join(" ");
    let (rest, requests) = without_request(&kept);
    changes.extend(requests);
    (rest.to_owned(), changes)
}

/// The same for `text`, which `query` became; all of it where some of what shows nothing is to be kept.
pub(super) fn without_unkept_filler(text: &str, query: &Query) -> (String, Vec<Rewording>) {
    match without_filler(text) {
        (_, dropped) if dropped.iter().any(|change| change.drops_kept(query)) => {
            (text.to_owned(), Vec::new())
        }
        cleaned => cleaned,
    }
}

/// What is left when all requests at the beginning are taken off.
fn without_request(text: &str) -> (&str, Vec<Rewording>) {
    let mut changes = Vec::new();
    let mut rest = text;
    while let Some((request, after)) =
        REQUESTS.iter().find_map(|request| Some((request, after(rest, request)?)))
    {
        changes.push(Rewording::Dropped { words: (*request).to_owned() });
        rest = after;
    }
    (rest, changes)
}

/// What follows `request` at the beginning of `text`, if something does.
fn after<'a>(text: &'a str, request: &str) -> Option<&'a str> {
    let beginning = text.get(..request.len())?;
    let rest = text.get(request.len()..)?;
    let follows = rest.starts_with(char::is_whitespace) && !rest.trim().is_empty();
    (beginning.eq_ignore_ascii_case(request) && follows).then(|| rest.trim_start())
}

/// Makes "a" or "an" fit the word that now follows.
pub(super) fn mend(article: &mut String, next: &str) {
    if matches!(article.as_str(), "a" | "an") {
        *article = indefinite(next).to_owned();
    }
}
