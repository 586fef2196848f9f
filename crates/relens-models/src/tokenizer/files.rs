//! The files in which models keep their tokenizers.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::TextCleaning;
use crate::regular_file::{self, FileKind};
use crate::{ModelError, Result};

const TOKENIZER: &str = "tokenizer.json";
const VOCABULARY: &str = "vocab.json";
const MERGES: &str = "merges.txt";
const WORD_PIECES: &str = "vocab.txt";
const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// All files that a tokenizer may be read from.
pub(crate) const TOKENIZER_FILES: [&str; 6] =
    [TOKENIZER, VOCABULARY, MERGES, WORD_PIECES, CONFIG, SPECIAL_TOKENS];

/// CLIP's pieces of a text: endings, words, single digits, runs of anything else.
const CLIP_PIECES: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// What a model expects of its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenizerConfig {
    /// Which library's rules hold where they differ.
    pub flavour: TokenizerFlavour,
    /// Most tokens of a text, special ones included.
    pub context_length: usize,
    /// What happens to a text before it is cut.
    pub cleaning: TextCleaning,
    /// Whether every text is filled up to the context length.
    pub pad_to_context: bool,
}

/// Which library's rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerFlavour {
    /// `tokenizer.json` as it is; else CLIP's byte pairs (`vocab.json`, `merges.txt`) or BERT's word pieces
    /// (`vocab.txt`), as Hugging Face transformers would use them.
    HuggingFace,
    /// open_clip's own tokenizer: the same byte pairs, other normalisation. A control token that is spelt out in a
    /// text stays text, which is the one departure.
    OpenClip,
}

/// The tokenizer files of a model directory: those that are there, in a fixed order.
pub fn tokenizer_files(directory: &Path) -> Vec<PathBuf> {
    TOKENIZER_FILES.iter().map(|name| directory.join(name)).filter(|path| path.is_file()).collect()
}

/// The content of a `tokenizer.json`, read or made from the older files; and what errors call it.
pub(super) fn read(directory: &Path, flavour: TokenizerFlavour) -> Result<(Vec<u8>, PathBuf)> {
    let path = |name: &str| directory.join(name);
    let (whole, vocabulary, pieces) = (path(TOKENIZER), path(VOCABULARY), path(WORD_PIECES));
    if flavour == TokenizerFlavour::HuggingFace && whole.is_file() {
        return Ok((regular_file::read(&whole, FileKind::Vocabulary)?, whole));
    }
    let (json, source) = if vocabulary.is_file() {
        let merges = regular_file::read_to_string(&path(MERGES), FileKind::Vocabulary)?;
        let lines = merges.lines().filter(|line| !line.is_empty() && !line.starts_with("#version"));
        let merges = Value::from(lines.collect::<Vec<_>>());
        (clip(&vocabulary, &object(&vocabulary)?, &merges, flavour)?, vocabulary)
    } else if flavour == TokenizerFlavour::OpenClip && whole.is_file() {
        let mut content = object(&whole)?;
        let mut part =
            |name: &str| content.get_mut("model").and_then(|model| model.get_mut(name)).map(Value::take);
        let (Some(Value::Object(words)), Some(merges)) = (part("vocab"), part("merges")) else {
            return Err(refuse(&whole, "expected a byte-pair model with `vocab` and `merges`".into()));
        };
        (clip(&whole, &words, &merges, flavour)?, whole)
    } else if flavour == TokenizerFlavour::HuggingFace && pieces.is_file() {
        (bert(&pieces, &path(CONFIG))?, pieces)
    } else {
        let expected = match flavour {
            TokenizerFlavour::HuggingFace => "tokenizer.json, vocab.json with merges.txt, or vocab.txt",
            TokenizerFlavour::OpenClip => "vocab.json with merges.txt, or tokenizer.json",
        };
        return Err(refuse(directory, format!("expected {expected}, found none")));
    };
    Ok((json.to_string().into_bytes(), source))
}

/// The token that `tokenizer_config.json` or `special_tokens_map.json` calls the padding.
pub(super) fn padding_token(directory: &Path, tokenizer: &Path) -> Result<String> {
    for file in [CONFIG, SPECIAL_TOKENS] {
        let path = directory.join(file);
        if !path.is_file() {
            continue;
        }
        let content = object(&path)?;
        let token = content.get("pad_token");
        if let Some(token) = token.and_then(|token| token.as_str().or_else(|| token.get("content")?.as_str()))
        {
            return Ok(token.to_owned());
        }
    }
    let reason = format!("expected `pad_token` in {CONFIG} or {SPECIAL_TOKENS} beside it, found none");
    Err(refuse(tokenizer, reason))
}

/// CLIP's byte pairs.
fn clip(path: &Path, words: &Map<String, Value>, merges: &Value, flavour: TokenizerFlavour) -> Result<Value> {
    let token = |names: [&'static str; 2]| {
        let found = names.into_iter().find_map(|name| Some((name, words.get(name)?.as_u64()?)));
        found.ok_or_else(|| {
            refuse(path, format!("expected the token {:?} in the vocabulary, found none", names[0]))
        })
    };
    let (start, start_id) = token(["<|startoftext|>", "<start_of_text>"])?;
    let (end, end_id) = token(["<|endoftext|>", "<end_of_text>"])?;
    let hugging_face = flavour == TokenizerFlavour::HuggingFace;
    let added = |name: &str, id: u64| {
        json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    // open_clip cleans texts in code of its own, before they come here.
    let (added_tokens, normalizer) = if hugging_face {
        let normalizers = json!([
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]);
        let added_tokens = json!([added(start, start_id), added(end, end_id)]);
        (added_tokens, json!({"type": "Sequence", "normalizers": normalizers}))
    } else {
        (json!([]), Value::Null)
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added_tokens,
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": CLIP_PIECES}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": hugging_face},
        ]},
        "post_processor": {"type": "RobertaProcessing", "sep": [end, end_id], "cls": [start, start_id],
                           "trim_offsets": false, "add_prefix_space": false},
        "model": {"type": "BPE", "unk_token": end, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
                  "fuse_unk": false, "vocab": words, "merges": merges},
    }))
}

/// BERT's word pieces, one a line.
fn bert(path: &Path, config: &Path) -> Result<Value> {
    let content = regular_file::read_to_string(path, FileKind::Vocabulary)?;
    let words: Map<String, Value> =
        content.lines().enumerate().map(|(id, word)| (word.to_owned(), Value::from(id))).collect();
    let settings = if config.is_file() { object(config)? } else { Map::new() };
    let lowercase = settings.get("do_lower_case").and_then(Value::as_bool).unwrap_or(true);
    let id = |name: &str| {
        let id = words.get(name).and_then(Value::as_u64);
        id.ok_or_else(|| {
            refuse(path, format!("expected the token {name:?} on a line of its own, found none"))
        })
    };
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let added: Vec<Value> = special
        .iter()
        .filter_map(|&name| Some((name, words.get(name)?)))
        .map(|(name, id)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": lowercase},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", id("[SEP]")?], "cls": ["[CLS]", id("[CLS]")?]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": words},
    }))
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    let content = regular_file::read_to_string(path, FileKind::Vocabulary)?;
    serde_json::from_str(&content).map_err(|error| refuse(path, error.to_string()))
}

fn refuse(path: &Path, reason: String) -> ModelError {
    ModelError::Tokenizer { path: path.to_owned(), reason }
}
