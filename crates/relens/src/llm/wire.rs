//! The protocol's JSON: requests as they are sent, replies as they come.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::LlmError;
use super::image_part;
use super::request::{ChatRequest, Message, Part, ReplyForm};
use super::settings::{ClientConfig, JsonMode};

/// The body of a request.
pub(super) fn body(request: &ChatRequest, settings: &ClientConfig) -> Result<Vec<u8>, LlmError> {
    let messages = request
        .messages
        .iter()
        .map(|message| wire_message(message, settings))
        .collect::<Result<Vec<_>, _>>()?;
    let mut body = Map::from_iter([
        ("model".to_owned(), json!(settings.model)),
        ("messages".to_owned(), Value::Array(messages)),
        ("temperature".to_owned(), json!(request.temperature)),
        ("seed".to_owned(), json!(request.seed)),
        ("max_tokens".to_owned(), json!(request.max_tokens)),
        ("stream".to_owned(), json!(false)),
    ]);
    if let ReplyForm::Json { name, schema } = &request.form {
        let format = match settings.json {
            JsonMode::Schema => Some(json!({
                "type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": true},
            })),
            JsonMode::ObjectWithSchema => Some(json!({"type": "json_object", "schema": schema})),
            JsonMode::Object => Some(json!({"type": "json_object"})),
            JsonMode::Prompt => None,
        };
        body.extend(format.map(|format| ("response_format".to_owned(), format)));
    }
    Ok(Value::Object(body).to_string().into_bytes())
}

fn wire_message(message: &Message, settings: &ClientConfig) -> Result<Value, LlmError> {
    let role = message.role.name();
    // Servers without pictures often know plain strings only.
    if let [Part::Text(text)] = message.parts.as_slice() {
        return Ok(json!({"role": role, "content": text}));
    }
    let mut content = Vec::with_capacity(message.parts.len());
    for part in &message.parts {
        content.push(match part {
            Part::Text(text) => json!({"type": "text", "text": text}),
            Part::Image(path) => {
                json!({"type": "image_url", "image_url": {"url": image_part::url(path, settings.images)?}})
            }
        });
    }
    Ok(json!({"role": role, "content": content}))
}

/// More tokens than any model reads or writes at once. A larger count is no money spent, but a fault of the endpoint.
const MOST_COUNTED_TOKENS: u64 = 100_000_000;

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
struct Choice {
    message: ReplyMessage,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ReplyMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct TokenCounts {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) content: String,
    pub(super) refusal: Option<String>,
    pub(super) finish_reason: String,
    /// `None` where the endpoint does not count.
    pub(super) tokens: Option<(u64, u64)>,
}

/// Reads the body of a reply.
pub(super) fn received(body: &[u8]) -> Result<Received, String> {
    let completion: Completion = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if let Some(counts) = &completion.usage
        && counts.prompt_tokens.max(counts.completion_tokens) > MOST_COUNTED_TOKENS
    {
        let TokenCounts { prompt_tokens, completion_tokens } = counts;
        return Err(format!(
            "expected at most {MOST_COUNTED_TOKENS} tokens in `usage`, found {prompt_tokens} and {completion_tokens}"
        ));
    }
    let choice = completion.choices.into_iter().next().ok_or("no choices in it")?;
    Ok(Received {
        content: choice.message.content.unwrap_or_default(),
        // Some servers always send the field, empty.
        refusal: choice.message.refusal.filter(|refusal| !refusal.is_empty()),
        finish_reason: choice.finish_reason.unwrap_or_default(),
        tokens: completion.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens)),
    })
}

/// What an endpoint says of an error: the message in its JSON, or the beginning of the body.
pub(super) fn error_message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let message = json.as_ref().and_then(|json| {
        // Servers that call themselves compatible do not agree on how an error looks.
        let error = json.get("error").or_else(|| json.get("detail")).unwrap_or(json);
        error.get("message").unwrap_or(error).as_str().map(str::to_owned)
    });
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let mut shown: String = text.chars().filter(|character| !character.is_control()).take(300).collect();
    if shown.is_empty() {
        shown.push_str("without a message");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Role;

    #[test]
    fn a_request_looks_as_the_protocol_says() {
        let directory = tempfile::tempdir().unwrap();
        let picture = directory.path().join("a.jpg");
        fs_err::write(&picture, [0xff, 0xd8, 0xff, 0xe0]).unwrap();
        let mut request = ChatRequest::new("test", "What is it?");
        request.messages.insert(0, Message::text(Role::System, "Be short."));
        request.messages[1].parts.push(Part::Image(picture));
        request.form = ReplyForm::Json { name: "answer".into(), schema: json!({"type": "object"}) };
        let settings = ClientConfig::new("http://localhost/v1/", "m");
        let value: Value = serde_json::from_slice(&body(&request, &settings).unwrap()).unwrap();
        let expected = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be short."},
                {"role": "user", "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4A=="}},
                ]},
            ],
            "temperature": 0.0, "seed": 0, "max_tokens": 512, "stream": false,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true},
            },
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn replies_are_read_and_errors_quoted() {
        let reply = br#"{"choices":[{"message":{"role":"assistant","content":null,"refusal":"no"}}]}"#;
        let read = received(reply).unwrap();
        assert_eq!((read.content.as_str(), read.refusal.as_deref(), read.tokens), ("", Some("no"), None));
        assert!(received(br#"{"choices":[]}"#).is_err());
        for count in ["18446744073709551616", "18446744073709551615", "100000001", "-1", "1e30"] {
            let reply = format!(r#"{{"choices":[{{"message":{{}}}}],"usage":{{"prompt_tokens":{count}}}}}"#);
            assert!(received(reply.as_bytes()).is_err(), "{count}");
        }
        assert!(received(br#"{"choices":[{"mess"#).is_err());
        assert_eq!(error_message(br#"{"error":{"message":"slow down"}}"#), "slow down");
        assert_eq!(error_message(br#"{"error":"no model"}"#), "no model");
        assert_eq!(error_message(b"<html>\nbad"), "<html>bad");
        assert_eq!(error_message(b""), "without a message");
    }
}
