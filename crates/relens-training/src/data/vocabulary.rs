//! A small vocabulary learned from the texts that a rewriter will read and write.
//!
//! Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019): frequent words are one token, and no text is impossible.
//! A small vocabulary makes the softmax of a small model cheap.

use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::{Lowercase, NFKC, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, NormalizerWrapper, TokenizerBuilder};

use crate::{Result, TrainingError};

/// Fills nothing here, for batches are packed; Hugging Face's T5 starts its decoder with it.
pub const PAD: &str = "<pad>";
/// Ends every text.
pub const END: &str = "</s>";
/// Never produced: every byte has a token.
pub const UNKNOWN: &str = "<unk>";
/// Stands for words that were taken out.
pub const MASK: &str = "<mask>";

/// The special tokens; a token's position is its id.
pub const SPECIAL: [&str; 4] = [PAD, END, UNKNOWN, MASK];

/// Learns a vocabulary of `size` tokens and returns `tokenizer.json`, which Hugging Face's `PreTrainedTokenizerFast`
/// reads. The same texts in the same order give the same bytes.
///
/// # Errors
/// A size without room for all bytes and special tokens; texts that cannot be learned from.
pub fn train<'a>(texts: impl Iterator<Item = &'a str> + Send, size: usize) -> Result<Vec<u8>> {
    let least = 256 + SPECIAL.len();
    if !(least..=65_536).contains(&size) {
        return Err(TrainingError::setting("vocabulary_size", format!("in [{least}, 65536]"), &size));
    }
    let failed = |error: tokenizers::Error| {
        TrainingError::argument("vocabulary::train", "texts to learn a vocabulary from", error.to_string())
    };
    let byte_level = ByteLevel::new(true, true, true);
    let end = TemplateProcessing::builder()
        .try_single(format!("$A {END}"))
        .and_then(|builder| builder.special_tokens(vec![(END, 1)]).build().map_err(|error| error.to_string()))
        .map_err(|error| failed(error.into()))?;
    let normalizers: Vec<NormalizerWrapper> = vec![NFKC.into(), Lowercase.into()];
    let mut tokenizer = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(Some(Sequence::new(normalizers)))
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(end))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    let mut trainer = BpeTrainer::builder()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.iter().map(|&token| AddedToken::from(token, true)).collect())
        .build();
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    Ok(tokenizer.to_string(true).map_err(failed)?.into_bytes())
}

/// `tokenizer_config.json` beside it.
pub fn tokenizer_config(max_tokens: usize) -> String {
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "mask_token": MASK,
        "clean_up_tokenization_spaces": false,
        "model_max_length": max_tokens,
    });
    format!("{config:#}\n")
}

#[cfg(test)]
mod tests {
    use relens_models::tokenizer::Tokenizer;

    use super::*;

    fn tokenizer(size: usize) -> Tokenizer {
        let texts = ["Two dogs run on the beach .", "two dogs play", "the dogs run"];
        Tokenizer::from_bytes(&train(texts.into_iter(), size).unwrap(), "memory".as_ref(), 64).unwrap()
    }

    #[test]
    fn frequent_words_are_one_token_and_every_text_comes_back() {
        let tokenizer = tokenizer(300);
        let ids = tokenizer.encode_batch(&["dogs run", "Zeppelin über 犬!"]).unwrap();
        assert_eq!(ids.sequence(0).unwrap().len(), 3, "two words and the end");
        assert_eq!(ids.sequence(0).unwrap()[2], 1, "the end has id 1");
        assert_eq!(tokenizer.decode(ids.sequence(0).unwrap()).unwrap().trim(), "dogs run");
        assert_eq!(tokenizer.decode(ids.sequence(1).unwrap()).unwrap().trim(), "zeppelin über 犬!");
        assert_eq!(tokenizer.token_id(PAD), Some(0));
        assert_eq!(tokenizer.token_id(MASK), Some(3));
    }

    #[test]
    fn the_same_texts_give_the_same_bytes() {
        let texts = ["a cat sat on a mat", "a cat and a bat", "that cat"];
        assert_eq!(train(texts.into_iter(), 290).unwrap(), train(texts.into_iter(), 290).unwrap());
        assert!(train(texts.into_iter(), 100).is_err());
    }
}
