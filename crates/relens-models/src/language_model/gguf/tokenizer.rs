//! The tokenizer that a GGUF file carries, as a `tokenizer.json`.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value as Field;
use serde_json::{Value, json};

use super::file::{Gguf, integer, shown};
use crate::Result;
use crate::tokenizer::Tokenizer;

/// How the first step splits text in Llama 3, and in Qwen but for the number of digits.
const SPLIT_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Kinds of tokens in llama.cpp's numbering.
const KIND_UNKNOWN: i64 = 2;
const KIND_CONTROL: i64 = 3;
const KIND_USER_DEFINED: i64 = 4;

/// What stands for a space in SentencePiece.
const SPACE: &str = "\u{2581}";

impl Gguf {
    /// The tokenizer for texts of at most `context_length` tokens.
    ///
    /// # Errors
    /// When the file has none, or one of a kind that is not known here.
    pub fn tokenizer(&self, context_length: usize) -> Result<Tokenizer> {
        Tokenizer::from_bytes(self.tokenizer_json()?.to_string().as_bytes(), self.path(), context_length)
    }

    /// The content of the `tokenizer.json` that does the same.
    ///
    /// # Errors
    /// As [`Gguf::tokenizer`].
    pub fn tokenizer_json(&self) -> Result<Value> {
        let tokens = self.strings("tokenizer.ggml.tokens")?;
        let kinds = self.kinds(tokens.len())?;
        match self.text("tokenizer.ggml.model") {
            Some("gpt2") => self.byte_level(&tokens, &kinds),
            Some("llama") => self.sentence_piece(&tokens, &kinds),
            found => {
                let found = found.unwrap_or("missing");
                Err(self.refuse(format!("`tokenizer.ggml.model` is {found}, expected gpt2 or llama")))
            }
        }
    }

    fn strings(&self, name: &str) -> Result<Vec<&str>> {
        let Some(Field::Array(values)) = self.any_field(name) else {
            return Err(self.refuse(format!("`{name}` is {}, expected a list", shown(self.any_field(name)))));
        };
        let mut texts = Vec::with_capacity(values.len());
        for value in values {
            match value {
                Field::String(text) => texts.push(text.as_str()),
                other => {
                    let found = shown(Some(other));
                    return Err(self.refuse(format!("`{name}` holds {found}, expected strings")));
                }
            }
        }
        Ok(texts)
    }

    /// The kind of every token; normal where the file does not say.
    fn kinds(&self, count: usize) -> Result<Vec<i64>> {
        match self.any_field("tokenizer.ggml.token_type") {
            None => Ok(vec![1; count]),
            Some(Field::Array(kinds)) if kinds.len() == count => {
                Ok(kinds.iter().map(|kind| integer(kind).unwrap_or(1)).collect())
            }
            other => Err(self.refuse(format!(
                "`tokenizer.ggml.token_type` is {}, expected a list of {count}",
                shown(other)
            ))),
        }
    }

    /// Byte-pair encoding of bytes, as GPT-2 began it.
    fn byte_level(&self, tokens: &[&str], kinds: &[i64]) -> Result<Value> {
        let merges = self.strings("tokenizer.ggml.merges")?;
        let byte_level = |regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex});
        let split = |digits: &str| {
            json!({
                "type": "Split",
                "pattern": {"Regex": SPLIT_WORDS.replace("DIGITS", digits)},
                "behavior": "Isolated",
                "invert": false
            })
        };
        let sequence = |first: Value, regex: bool| json!({"type": "Sequence", "pretokenizers": [first, byte_level(regex)]});
        let (pre_tokenizer, normalizer) = match self.text("tokenizer.ggml.pre").unwrap_or("default") {
            "default" | "gpt-2" => (byte_level(true), Value::Null),
            "smollm" => (sequence(json!({"type": "Digits", "individual_digits": true}), true), Value::Null),
            "llama-bpe" => (sequence(split("{1,3}"), false), Value::Null),
            "qwen2" => (sequence(split(""), false), json!({"type": "NFC"})),
            other => {
                return Err(self.refuse(format!(
                    "`tokenizer.ggml.pre` is `{other}`, expected default, gpt-2, smollm, llama-bpe or qwen2"
                )));
            }
        };
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added_tokens(tokens, kinds),
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": self.post_processor(tokens),
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": self.text("tokenizer.ggml.pre") == Some("llama-bpe"),
                "vocab": vocabulary(tokens),
                "merges": merges,
            },
        }))
    }

    /// Byte-pair encoding of characters, as SentencePiece does it for Llama 2: the order of the merges follows from
    /// the tokens' scores.
    fn sentence_piece(&self, tokens: &[&str], kinds: &[i64]) -> Result<Value> {
        let scores = match self.any_field("tokenizer.ggml.scores") {
            Some(Field::Array(scores)) if scores.len() == tokens.len() => {
                scores.iter().map(|score| score.to_f32().unwrap_or(0.0)).collect::<Vec<_>>()
            }
            other => {
                let count = tokens.len();
                let found = shown(other);
                return Err(
                    self.refuse(format!("`tokenizer.ggml.scores` is {found}, expected a list of {count}"))
                );
            }
        };
        let unknown = kinds.iter().position(|kind| *kind == KIND_UNKNOWN).map(|id| tokens[id]);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let normalizer = match self.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true) {
            true => {
                json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": SPACE}, replace]})
            }
            false => replace,
        };
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added_tokens(tokens, kinds),
            "normalizer": normalizer,
            "pre_tokenizer": null,
            "post_processor": self.post_processor(tokens),
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": unknown,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": true,
                "byte_fallback": true,
                "ignore_merges": false,
                "vocab": vocabulary(tokens),
                "merges": merges_by_score(tokens, &scores),
            },
        }))
    }

    /// Puts the token that begins a text in front, where the file says so.
    fn post_processor(&self, tokens: &[&str]) -> Value {
        let sentence_piece = self.text("tokenizer.ggml.model") == Some("llama");
        let wanted = self.flag("tokenizer.ggml.add_bos_token").unwrap_or(sentence_piece);
        let begin = self.token_id("tokenizer.ggml.bos_token_id");
        let Some((id, token)) = begin.and_then(|id| Some((id, tokens.get(id as usize)?))).filter(|_| wanted)
        else {
            return Value::Null;
        };
        let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
        let of_text = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        json!({
            "type": "TemplateProcessing",
            "single": [special, of_text("A")],
            "pair": [special, of_text("A"), special, of_text("B")],
            "special_tokens": {*token: {"id": token, "ids": [id], "tokens": [token]}},
        })
    }
}

fn vocabulary(tokens: &[&str]) -> serde_json::Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), json!(id))).collect()
}

/// Control tokens and those that users added: they are found before anything is split.
fn added_tokens(tokens: &[&str], kinds: &[i64]) -> Vec<Value> {
    let added = |kind: i64| matches!(kind, KIND_CONTROL | KIND_USER_DEFINED | KIND_UNKNOWN);
    let tokens = tokens.iter().zip(kinds).enumerate().filter(|(_, (_, kind))| added(**kind));
    tokens
        .map(|(id, (content, kind))| {
            json!({
                "id": id,
                "content": content,
                "single_word": false,
                "lstrip": false,
                "rstrip": false,
                "normalized": false,
                "special": *kind != KIND_USER_DEFINED,
            })
        })
        .collect()
}

/// All ways to make a token of two others, the best token first.
fn merges_by_score(tokens: &[&str], scores: &[f32]) -> Vec<[String; 2]> {
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (*token, id)).collect();
    let mut merges = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        // SentencePiece stores no merges: any two tokens that make a third may be merged, the best-scored result
        // first.
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left_id), Some(right_id)) = (ids.get(left), ids.get(right)) {
                merges.push((*score, *left_id, *right_id, [left.to_owned(), right.to_owned()]));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    merges.into_iter().map(|(.., pair)| pair).collect()
}
