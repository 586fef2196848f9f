//! A word-piece vocabulary in a new order: what a rewriter may write comes first.
//!
//! A trunk reads tens of thousands of word pieces, and captions consist of a few thousand. With these in front, a
//! decoder's table and its softmax are those few thousand rows, and one tokenizer serves both sides.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::{Result, TrainingError};

/// What fills batches elsewhere and starts the decoder here: the first token.
const PAD: &str = "[PAD]";
/// What ends a text: the second token.
const END: &str = "[SEP]";
/// Tokens that stand for no text.
const SILENT: [&str; 3] = ["[UNK]", "[CLS]", "[MASK]"];

/// The vocabulary in its new order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WritableVocabulary {
    /// `tokenizer.json`.
    pub tokenizer: Vec<u8>,
    /// At the place of every new id the old one.
    pub order: Vec<u32>,
    /// How many tokens may be written: the ids below.
    pub writable: usize,
}

/// Puts the tokens of `texts`, and all single letters and digits, in front of `tokenizer_json`, a BERT's.
///
/// # Errors
/// A tokenizer that is no BERT's, or whose ids have gaps.
pub fn reorder<'a>(
    tokenizer_json: &[u8],
    texts: impl IntoIterator<Item = &'a str>,
) -> Result<WritableVocabulary> {
    let refuse =
        |found: String| TrainingError::argument("writable_vocabulary", "a BERT's tokenizer.json", found);
    let mut json: Value =
        serde_json::from_slice(tokenizer_json).map_err(|error| refuse(error.to_string()))?;
    let words: HashMap<String, u32> = json
        .pointer("/model/vocab")
        .and_then(|vocabulary| serde_json::from_value(vocabulary.clone()).ok())
        .ok_or_else(|| refuse("no `model.vocab`".to_owned()))?;
    let id = |word: &str| words.get(word).copied().ok_or_else(|| refuse(format!("no token {word}")));
    let (pad, end) = (id(PAD)?, id(END)?);
    let all: BTreeSet<u32> = words.values().copied().collect();
    if all.len() != words.len() || all.last().map(|&last| last as usize + 1) != Some(words.len()) {
        return Err(refuse("ids with gaps or of two tokens".to_owned()));
    }
    let mut writable = tokens_of(tokenizer_json, texts).map_err(|error| refuse(error.to_string()))?;
    let single = ('a'..='z').chain('0'..='9').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    writable.extend(single.filter_map(|piece| words.get(&piece).copied()));
    let silent: Vec<u32> = SILENT.iter().filter_map(|word| words.get(*word).copied()).collect();
    writable.retain(|id| ![pad, end].contains(id) && !silent.contains(id));
    let mut order = vec![pad, end];
    order.extend(&writable);
    let count = order.len();
    order.extend(all.iter().filter(|id| ![pad, end].contains(id) && !writable.contains(id)));
    let mut new_id = vec![0u32; order.len()];
    for (new, &old) in order.iter().enumerate() {
        new_id[old as usize] = new as u32;
    }
    renumber(&mut json, &new_id);
    let tokenizer = serde_json::to_vec(&json).map_err(|error| refuse(error.to_string()))?;
    Ok(WritableVocabulary { tokenizer, order, writable: count })
}

/// The ids of all tokens of texts, without special ones.
fn tokens_of<'a>(
    tokenizer_json: &[u8],
    texts: impl IntoIterator<Item = &'a str>,
) -> tokenizers::Result<BTreeSet<u32>> {
    let mut tokenizer = Tokenizer::from_bytes(tokenizer_json)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    let mut found = BTreeSet::new();
    for text in texts {
        found.extend(tokenizer.encode(text, false)?.get_ids());
    }
    Ok(found)
}

/// Puts the new ids wherever a `tokenizer.json` has the old ones.
fn renumber(json: &mut Value, new_id: &[u32]) {
    let renumbered = |value: &mut Value| {
        if let Some(new) = value.as_u64().and_then(|old| new_id.get(old as usize)) {
            *value = Value::from(*new);
        }
    };
    if let Some(words) = json.pointer_mut("/model/vocab").and_then(Value::as_object_mut) {
        words.values_mut().for_each(renumbered);
    }
    if let Some(added) = json.pointer_mut("/added_tokens").and_then(Value::as_array_mut) {
        added.iter_mut().filter_map(|token| token.get_mut("id")).for_each(renumbered);
    }
    if let Some(special) = json.pointer_mut("/post_processor/special_tokens").and_then(Value::as_object_mut) {
        let ids = special.values_mut().filter_map(|token| token.get_mut("ids")?.as_array_mut());
        ids.flatten().for_each(renumbered);
    }
    // A `BertProcessing` names its tokens as pairs of text and id.
    for name in ["sep", "cls"] {
        if let Some(id) = json.pointer_mut(&format!("/post_processor/{name}/1")) {
            renumbered(id);
        }
    }
    if let Some(id) = json.pointer_mut("/padding/pad_id") {
        renumbered(id);
    }
}

#[cfg(test)]
mod tests {
    use relens_models::tokenizer::Tokenizer;
    use serde_json::json;

    use super::*;

    fn bert() -> Value {
        let words = ["[PAD]", "a", "[UNK]", "[CLS]", "[SEP]", "pooch", "dog", "##s", "runs", "b"];
        let vocabulary: HashMap<&str, usize> =
            words.iter().enumerate().map(|(id, &word)| (word, id)).collect();
        let added = |id: usize| {
            json!({"id": id, "content": words[id], "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        json!({
            "version": "1.0", "truncation": null,
            "padding": null,
            "added_tokens": [added(0), added(2), added(3), added(4)],
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                           "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [3], "tokens": ["[CLS]"]},
                                   "[SEP]": {"id": "[SEP]", "ids": [4], "tokens": ["[SEP]"]}}},
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": vocabulary},
        })
    }

    #[test]
    fn what_is_written_comes_first_and_texts_are_cut_as_before() {
        let json = bert().to_string().into_bytes();
        let found = reorder(&json, ["Dogs runs"]).unwrap();
        // The two that start and end, then a, dog, ##s, runs, b in the old order; the others are only read.
        assert_eq!((found.writable, found.order), (7, vec![0, 4, 1, 6, 7, 8, 9, 2, 3, 5]));
        let tokenizer = Tokenizer::from_bytes(&found.tokenizer, "memory".as_ref(), 16).unwrap();
        let ids = tokenizer.encode_batch(&["a pooch runs"]).unwrap();
        assert_eq!(ids.sequence(0).unwrap(), [8, 2, 9, 5, 1]);
        assert_eq!(tokenizer.decode(&[2, 3, 4, 5, 1]).unwrap(), "a dogs runs");
    }

    #[test]
    fn what_is_no_bert_is_refused() {
        let mut without_end = bert();
        without_end["model"]["vocab"].as_object_mut().unwrap().remove("[SEP]");
        for (json, expected) in [
            (without_end.to_string(), "no token [SEP]"),
            ("{}".to_owned(), "no `model.vocab`"),
            ("[".to_owned(), "EOF"),
        ] {
            let error = reorder(json.as_bytes(), ["a"]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
