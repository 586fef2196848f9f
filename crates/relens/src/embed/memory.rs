//! A text side that embeds every text once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::embed::TextEmbedder;
use crate::embed::embeddings::Embeddings;
use crate::error::Result;

/// Remembers the embeddings of all texts that it was ever asked for: experiments that differ in weights only, or share
/// most of their texts, cost their own texts only. Memory grows with the number of different texts, up to the limit if
/// there is one.
pub struct RememberingEmbedder {
    limit: usize,
    embedder: Arc<dyn TextEmbedder>,
    known: Mutex<HashMap<String, Vec<f32>>>,
}

impl RememberingEmbedder {
    /// Remembers for `embedder`.
    pub fn new(embedder: Arc<dyn TextEmbedder>) -> Self {
        Self::with_limit(embedder, usize::MAX)
    }

    /// Remembers about `limit` texts at most: when there are more, it forgets all and begins anew.
    pub fn with_limit(embedder: Arc<dyn TextEmbedder>, limit: usize) -> Self {
        Self { limit, embedder, known: Mutex::default() }
    }

    /// How many different texts were embedded.
    pub fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing was embedded yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TextEmbedder for RememberingEmbedder {
    fn name(&self) -> &str {
        self.embedder.name()
    }

    fn fingerprint(&self) -> &str {
        self.embedder.fingerprint()
    }

    fn directory(&self) -> Option<&std::path::Path> {
        self.embedder.directory()
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len().saturating_add(texts.len()) > self.limit {
            known.clear();
        }
        let mut fresh: Vec<&str> = texts.iter().copied().filter(|text| !known.contains_key(*text)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        if !fresh.is_empty() {
            let embeddings = self.embedder.embed_texts(&fresh)?;
            known.extend(
                fresh.iter().map(|&text| text.to_owned()).zip(embeddings.iter().map(<[f32]>::to_vec)),
            );
        }
        let dim = texts.first().and_then(|text| known.get(*text)).map_or(0, Vec::len);
        let mut embeddings = Embeddings::new(dim);
        for text in texts {
            embeddings.push(known.get(*text).map_or(&[][..], Vec::as_slice))?;
        }
        Ok(embeddings)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl TextEmbedder for Counting {
        fn name(&self) -> &str {
            "counting"
        }

        fn fingerprint(&self) -> &str {
            "c"
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
            self.0.fetch_add(texts.len(), Ordering::Relaxed);
            Embeddings::from_rows(1, texts.iter().map(|text| text.len() as f32).collect())
        }
    }

    #[test]
    fn every_text_is_embedded_once_and_answered_in_order() {
        let counting = Arc::new(Counting::default());
        let embedder = RememberingEmbedder::new(counting.clone());
        assert_eq!(embedder.embed_texts(&["bb", "a", "bb"]).unwrap().into_vec(), [2.0, 1.0, 2.0]);
        assert_eq!(embedder.embed_texts(&["a", "ccc"]).unwrap().into_vec(), [1.0, 3.0]);
        assert_eq!((counting.0.load(Ordering::Relaxed), embedder.len()), (3, 3));
        assert!(embedder.embed_texts(&[]).unwrap().is_empty());
    }

    #[test]
    fn no_more_is_remembered_than_the_limit() {
        let counting = Arc::new(Counting::default());
        let embedder = RememberingEmbedder::with_limit(counting.clone(), 2);
        for text in ["a", "bb", "a", "ccc", "a"] {
            assert_eq!(embedder.embed_texts(&[text]).unwrap().into_vec(), [text.len() as f32]);
            assert!(embedder.len() <= 2);
        }
        assert_eq!(embedder.embed_texts(&["a", "bb", "ccc"]).unwrap().into_vec(), [1.0, 2.0, 3.0]);
    }
}
