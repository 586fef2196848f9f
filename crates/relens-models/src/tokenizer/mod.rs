//! Text to token ids, by a model's own `tokenizer.json`, packed: the texts of a batch one after the other, without
//! padding.

mod cleaning;
mod files;
mod mojibake;

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tokenizers::TruncationParams;

use crate::{ModelError, Result};

pub use cleaning::TextCleaning;
pub(crate) use files::TOKENIZER_FILES;
pub use files::{TokenizerConfig, TokenizerFlavour, tokenizer_files};

/// Bytes of one text that are looked at. What lies beyond cannot matter for a context of a few hundred tokens, short
/// of thousands of spaces, and a megabyte pasted by mistake costs no more than this.
const LONGEST_TEXT: usize = 1 << 16;

/// Texts below which a second thread costs more than it saves.
const TEXTS_WORTH_SPLITTING: usize = 16;

/// Longest context that can be asked for.
const LONGEST_CONTEXT: usize = 1 << 20;

/// Splits texts into the tokens that a model was trained on.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    context_length: usize,
    cleaning: TextCleaning,
    /// What fills texts up to the context length, if they must be.
    padding: Option<u32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` (or the one in a directory) for texts of at most `context_length` tokens, special ones
    /// included. The file's own truncation and padding are ignored.
    ///
    /// # Errors
    /// When the file cannot be read or is not a tokenizer, or the context has no room beside the special tokens.
    pub fn open(path: impl AsRef<Path>, context_length: usize) -> Result<Self> {
        let mut path = path.as_ref().to_owned();
        if path.is_dir() {
            path.push("tokenizer.json");
        }
        Self::from_bytes(&fs_err::read(&path)?, &path, context_length)
    }

    /// As [`Tokenizer::open`], from the content of a `tokenizer.json`; `path` names its source in errors.
    ///
    /// # Errors
    /// As [`Tokenizer::open`].
    pub fn from_bytes(bytes: &[u8], path: &Path, context_length: usize) -> Result<Self> {
        let refuse = |reason: String| ModelError::Tokenizer { path: path.to_owned(), reason };
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| refuse(error.to_string()))?;
        let special = inner.get_post_processor().map_or(0, |processor| {
            use tokenizers::PostProcessor;
            processor.added_tokens(false)
        });
        if !(special + 1..=LONGEST_CONTEXT).contains(&context_length) {
            let expected = format!("{} to {LONGEST_CONTEXT}", special + 1);
            return Err(refuse(format!("the context length is {context_length}, expected {expected}")));
        }
        let truncation = TruncationParams { max_length: context_length, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(|error| refuse(error.to_string()))?;
        // Batches are packed; a model that needs padding gets it from `padded`, at its own length.
        inner.with_padding(None);
        let cleaning = TextCleaning::None;
        Ok(Self { inner, path: path.to_owned(), context_length, cleaning, padding: None })
    }

    /// Reads whichever tokenizer files a model directory has, and does what the model was trained with.
    ///
    /// # Errors
    /// When the files are missing or malformed, or the context has no room beside the special tokens.
    pub fn open_directory(directory: &Path, settings: &TokenizerConfig) -> Result<Self> {
        let (content, path) = files::read(directory, settings.flavour)?;
        let mut tokenizer = Self::from_bytes(&content, &path, settings.context_length)?;
        tokenizer.cleaning = settings.cleaning;
        if settings.pad_to_context {
            let token = files::padding_token(directory, &path)?;
            let id = tokenizer.inner.token_to_id(&token).ok_or_else(|| ModelError::Tokenizer {
                path: path.clone(),
                reason: format!("expected the padding token {token:?} in the vocabulary, found none"),
            })?;
            tokenizer.padding = Some(id);
        }
        Ok(tokenizer)
    }

    /// The file that the vocabulary was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The most tokens that a text can have.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// The number of ids, special ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The ids of every text, special tokens included. A text that does not fit loses its end, but no special token.
    ///
    /// # Errors
    /// When the tokenizer cannot express a text.
    pub fn encode_batch(&self, texts: &[&str]) -> Result<TokenBatch> {
        self.encode_all(texts, true)
    }

    /// The ids of every text in as many windows of the context as it takes, each with its own special tokens; and
    /// which text each window is of. Nothing is lost but what lies beyond the bytes that are looked at.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn encode_windows(&self, texts: &[&str]) -> Result<(TokenBatch, Vec<usize>)> {
        let (mut batch, mut owners) = (TokenBatch::empty(), Vec::new());
        for (owner, text) in texts.iter().enumerate() {
            let seen = start_of(text, LONGEST_TEXT);
            let mut rest = seen;
            loop {
                let end = self.window_end(rest, text.len())?;
                let window = self.encoding(&rest[..end], text.len(), true)?;
                batch.ids.extend(self.padded(window.get_ids().to_vec()));
                batch.offsets.push(batch.ids.len());
                batch.truncated.push(seen.len() < text.len());
                owners.push(owner);
                rest = rest[end..].trim_start();
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok((batch, owners))
    }

    /// Where the longest start of `text` that fits into the context ends: behind a word if one fits, else behind a
    /// character. The library's own windows are not used: it stops reading a text soon after the context is full.
    fn window_end(&self, text: &str, bytes: usize) -> Result<usize> {
        let fits = |end: usize| -> Result<bool> {
            Ok(self.encoding(&text[..end], bytes, true)?.get_overflowing().is_empty())
        };
        if fits(text.len())? {
            return Ok(text.len());
        }
        let is_end = |&end: &usize| text.is_char_boundary(end);
        let words =
            text.match_indices(char::is_whitespace).map(|(start, _)| start).filter(|&start| start > 0);
        // More text gives no fewer tokens, so the longest fitting start is found by halving.
        for ends in [words.collect::<Vec<usize>>(), (1..text.len()).filter(is_end).collect()] {
            let (mut fitting, mut beyond) = (0, ends.len());
            while fitting < beyond {
                let middle = (fitting + beyond) / 2;
                if fits(ends[middle])? { fitting = middle + 1 } else { beyond = middle }
            }
            if let Some(&end) = fitting.checked_sub(1).and_then(|last| ends.get(last)) {
                return Ok(end);
            }
        }
        // Not even one character fits: it is read as far as it goes.
        Ok(text.chars().next().map_or(0, char::len_utf8))
    }

    /// The ids of every text alone, without special tokens. A text that does not fit loses its end.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_batch`].
    pub fn encode_batch_plain(&self, texts: &[&str]) -> Result<TokenBatch> {
        self.encode_all(texts, false)
    }

    /// The text that the ids stand for, special tokens left out.
    ///
    /// # Errors
    /// When the tokenizer cannot decode them. An id outside of the vocabulary stands for nothing.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.inner.decode(ids, true).map_err(|error| ModelError::Tokenizer {
            path: self.path.clone(),
            reason: format!("{error}, in {} ids", ids.len()),
        })
    }

    /// The id of a token as the vocabulary spells it, if there is one.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn encode_all(&self, texts: &[&str], special: bool) -> Result<TokenBatch> {
        let encoded: Vec<(Vec<u32>, bool)> = if texts.len() < TEXTS_WORTH_SPLITTING {
            texts.iter().map(|text| self.encode(text, special)).collect::<Result<_>>()?
        } else {
            texts.par_iter().map(|text| self.encode(text, special)).collect::<Result<_>>()?
        };
        let mut batch = TokenBatch::empty();
        for (ids, truncated) in encoded {
            batch.ids.extend(ids);
            batch.offsets.push(batch.ids.len());
            batch.truncated.push(truncated);
        }
        Ok(batch)
    }

    fn encode(&self, text: &str, special: bool) -> Result<(Vec<u32>, bool)> {
        let seen = start_of(text, LONGEST_TEXT);
        let encoding = self.encoding(seen, text.len(), special)?;
        let truncated = seen.len() < text.len() || !encoding.get_overflowing().is_empty();
        Ok((self.padded(encoding.get_ids().to_vec()), truncated))
    }

    fn encoding(&self, seen: &str, bytes: usize, special: bool) -> Result<tokenizers::Encoding> {
        let cleaned = self.cleaning.apply(seen);
        self.inner.encode_fast(cleaned.as_ref(), special).map_err(|error| ModelError::Tokenizer {
            path: self.path.clone(),
            reason: format!("{error}, in a text of {bytes} bytes"),
        })
    }

    fn padded(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(padding) = self.padding {
            ids.resize(self.context_length.max(ids.len()), padding);
        }
        ids
    }
}

/// The longest start of `text` that has at most `bytes` bytes and cuts no character.
fn start_of(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

/// Packed token ids of several texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// The ids of all texts, one after the other.
    pub ids: Vec<u32>,
    /// Where each text begins, then the total: one more than there are texts.
    pub offsets: Vec<usize>,
    /// Whether a text did not fit, and lost its end.
    pub truncated: Vec<bool>,
}

impl TokenBatch {
    /// A batch without texts.
    pub fn empty() -> Self {
        Self { ids: Vec::new(), offsets: vec![0], truncated: Vec::new() }
    }

    /// The batch of these sequences, none of them truncated.
    pub fn from_sequences<S: AsRef<[u32]>>(sequences: impl IntoIterator<Item = S>) -> Self {
        let mut batch = Self::empty();
        for sequence in sequences {
            batch.push(sequence.as_ref());
        }
        batch
    }

    /// Adds a sequence that was not truncated.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.offsets.push(self.ids.len());
        self.truncated.push(false);
    }

    /// The sequences' lengths.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.offsets.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))
    }

    /// The number of texts.
    pub fn len(&self) -> usize {
        self.truncated.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.truncated.is_empty()
    }

    /// The ids of text `i`, if there is one.
    pub fn sequence(&self, i: usize) -> Option<&[u32]> {
        self.ids.get(*self.offsets.get(i)?..*self.offsets.get(i + 1)?)
    }
}
