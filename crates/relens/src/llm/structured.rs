//! Replies that should be one JSON object, read with as much patience as is safe.
//!
//! What is mended here costs nothing: text around the object, code fences, a comma too many, an end that is missing.
//! What is not JSON even then, or of another shape, can be asked for again with [`repair_request`].

use serde::de::DeserializeOwned;

use super::request::{ChatReply, ChatRequest, Message, Role};

/// How a reply could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As it came.
    Valid,
    /// After mending.
    Mended,
}

/// Why a reply cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// The model refused.
    #[error("the model refused: {0}")]
    Refused(String),
    /// There is no JSON object in it.
    #[error("it is no JSON object: {0}")]
    NotJson(String),
    /// The object has another shape.
    #[error("the JSON object is not of the schema: {0}")]
    WrongShape(String),
}

/// How models begin a refusal. Compared in lower case.
const REFUSALS: [&str; 8] =
    ["i'm sorry", "i am sorry", "sorry, ", "i cannot", "i can't", "i can not", "i'm unable", "as an ai"];

/// Reads a reply as a `T`.
///
/// # Errors
/// [`Fault`].
pub fn read<T: DeserializeOwned>(reply: &ChatReply) -> Result<(T, Reading), Fault> {
    if let Some(refusal) = &reply.refusal {
        return Err(Fault::Refused(beginning(refusal)));
    }
    let text = reply.content.trim();
    if text.is_empty() {
        return Err(Fault::Empty);
    }
    let whole = match parse::<T>(text) {
        Ok(value) => return Ok((value, Reading::Valid)),
        Err(fault) => fault,
    };
    let mut last = None;
    for candidate in candidates(text) {
        match parse::<T>(&candidate) {
            Ok(value) => return Ok((value, Reading::Mended)),
            Err(fault) => last = Some(fault),
        }
    }
    // Only without a brace anywhere: an answer may begin with "sorry" and still hold the object.
    let lower = text.to_lowercase();
    if last.is_none() && REFUSALS.iter().any(|refusal| lower.starts_with(refusal)) {
        return Err(Fault::Refused(beginning(text)));
    }
    Err(match (whole, last) {
        // What is wrong with the object found inside says more than that there is text around it.
        (Fault::NotJson(_), Some(fault)) => fault,
        (fault, _) => fault,
    })
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Fault::NotJson(error.to_string()))?;
    if !value.is_object() {
        return Err(Fault::NotJson("expected an object in braces".to_owned()));
    }
    serde_path_to_error::deserialize(value)
        .map_err(|error| Fault::WrongShape(format!("field `{}`: {}", error.path(), error.inner())))
}

/// What may be the object: from the first brace to its partner, and the same with commas and ends mended.
fn candidates(text: &str) -> Vec<String> {
    // A reasoning model thinks aloud first, and braces in its thoughts are not the answer.
    let text = text.rsplit_once("</think>").map_or(text, |(_, answer)| answer);
    let Some(start) = text.find('{') else { return Vec::new() };
    let object = &text[start..];
    let mut found = Vec::new();
    let scan = Scan::of(object);
    if let Some(end) = scan.end {
        // As it is first: only what does not parse is changed.
        found.push(object[..end].to_owned());
        found.push(without_trailing_commas(&object[..end]));
    } else {
        // A reply that was cut at the largest length is closed where it stands: all but its last field may be whole.
        let mut closed = object.trim_end().to_owned();
        if scan.in_string {
            closed.push('"');
        }
        let closed = closed.trim_end().trim_end_matches([',', ':']).to_owned();
        let ends: String = scan.open.iter().rev().collect();
        found.push(without_trailing_commas(&format!("{closed}{ends}")));
    }
    found
}

/// Where an object ends, or what is open at the end of the text.
struct Scan {
    end: Option<usize>,
    open: Vec<char>,
    in_string: bool,
}

impl Scan {
    fn of(object: &str) -> Self {
        let mut scan = Self { end: None, open: Vec::new(), in_string: false };
        let mut escaped = false;
        for (position, character) in object.char_indices() {
            if scan.in_string {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => scan.in_string = false,
                    _ => {}
                }
                continue;
            }
            match character {
                '"' => scan.in_string = true,
                '{' => scan.open.push('}'),
                '[' => scan.open.push(']'),
                '}' | ']' => {
                    scan.open.pop();
                    if scan.open.is_empty() {
                        scan.end = Some(position + character.len_utf8());
                        break;
                    }
                }
                _ => {}
            }
        }
        scan
    }
}

/// Takes out commas that nothing follows, outside of strings.
fn without_trailing_commas(json: &str) -> String {
    let mut result = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_string = false,
                _ => {}
            }
        } else if character == '"' {
            in_string = true;
        } else if matches!(character, '}' | ']') {
            let kept = result.trim_end().trim_end_matches(',').len();
            result.truncate(kept);
        }
        result.push(character);
    }
    result
}

/// Asks again for a reply that could not be used, showing the model what it wrote and what was wrong with it.
pub fn repair_request(request: &ChatRequest, reply: &ChatReply, fault: &Fault) -> ChatRequest {
    let mut repair = request.clone();
    repair.label.push_str(" repair");
    // Some servers refuse empty messages.
    let said = if reply.content.trim().is_empty() { "…" } else { reply.content.trim() };
    repair.messages.push(Message::text(Role::Assistant, said));
    let complaint = format!(
        "This reply cannot be used: {fault}. RewriteReply again with one JSON object of the schema that was asked for, and \
         nothing before or after it."
    );
    repair.messages.push(Message::text(Role::User, complaint));
    repair
}

fn beginning(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct RewriteReply {
        rewrite: String,
        #[serde(default)]
        words: Vec<u32>,
    }

    fn reply(content: &str) -> ChatReply {
        ChatReply {
            content: content.to_owned(),
            refusal: None,
            finish_reason: "stop".to_owned(),
            prompt_tokens: 1,
            completion_tokens: 1,
            cost: 0.0,
            replayed: false,
        }
    }

    #[test]
    fn replies_are_read_as_far_as_they_can_be() {
        let (answer, reading) = read::<RewriteReply>(&reply(" {\"rewrite\": \"a dog\"}\n")).unwrap();
        assert_eq!((answer.rewrite.as_str(), reading), ("a dog", Reading::Valid));
        for text in [
            "Here it is:\n```json\n{\"rewrite\": \"a {dog\", \"words\": [1, 2]}\n```\nGood luck!",
            "{\"rewrite\": \"a {dog\", \"words\": [1, 2,],}",
            "{\"rewrite\": \"a {dog\", \"words\": [1, 2",
            "{\"words\": [1, 2], \"rewrite\": \"a {dog",
            "<think>{\"rewrite\": 3}</think>{\"rewrite\": \"a {dog\", \"words\": [1, 2]}",
        ] {
            let (answer, reading) = read::<RewriteReply>(&reply(text)).unwrap();
            assert_eq!(answer, RewriteReply { rewrite: "a {dog".to_owned(), words: vec![1, 2] }, "{text}");
            assert_eq!(reading, Reading::Mended, "{text}");
        }
    }

    #[test]
    fn every_fault_is_told_apart() {
        let fault = |text: &str| read::<RewriteReply>(&reply(text)).unwrap_err();
        assert_eq!(fault(" \n"), Fault::Empty);
        assert!(matches!(fault("I'm sorry, but no."), Fault::Refused(_)));
        assert!(matches!(fault("a dog"), Fault::NotJson(_)));
        assert!(matches!(fault("[1]"), Fault::NotJson(_)));
        assert_eq!(
            fault("{\"rewrite\": 7}"),
            Fault::WrongShape("field `rewrite`: invalid type: integer `7`, expected a string".into())
        );
        let refused = ChatReply { refusal: Some("no".into()), ..reply("") };
        assert_eq!(read::<RewriteReply>(&refused).unwrap_err(), Fault::Refused("no".into()));
        let request = ChatRequest::new("x", "q");
        let repair = repair_request(&request, &reply("a dog"), &fault("a dog"));
        assert_eq!((repair.messages.len(), repair.label.as_str()), (3, "x repair"));
    }

    proptest! {
        #[test]
        fn no_reply_panics(text in "[{}\\[\\]\",:\\\\a-c1ü \n]{0,60}") {
            let _ = read::<RewriteReply>(&reply(&text));
        }
    }
}
