//! The texts of several clients, embedded together.
//!
//! One thread embeds. While it is busy, what other clients ask for collects, and is the next batch: nobody waits for a
//! batch to fill, and the more clients there are, the fuller it is. A text gets the same vector alone and in a batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use relens::embed::TextEmbedder;
use relens::embed::embeddings::Embeddings;
use relens::embed::memory::RememberingEmbedder;
use relens::error::{Error, Result};

use crate::metrics::Metrics;

/// Texts whose vectors are remembered: queries come again, and while somebody types, their beginnings do.
const REMEMBERED_TEXTS: usize = 16_384;
/// Texts that are embedded together, at most, unless one client alone has more.
const TEXTS_PER_BATCH: usize = 256;

/// What a client asks for, and where its answer goes.
struct TextsRequest {
    texts: Vec<String>,
    answer: SyncSender<Result<Embeddings>>,
}

/// A text side that may be asked by any number of threads.
pub(crate) struct BatchingEmbedder {
    name: String,
    fingerprint: String,
    directory: Option<PathBuf>,
    requests: Sender<TextsRequest>,
}

impl BatchingEmbedder {
    /// Starts the thread, which ends when this is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] if the system gives no thread.
    pub(crate) fn start(embedder: Arc<dyn TextEmbedder>, metrics: Arc<Metrics>) -> Result<Self> {
        let (requests, receiver) = channel();
        let (name, fingerprint) = (embedder.name().to_owned(), embedder.fingerprint().to_owned());
        let directory = embedder.directory().map(Path::to_owned);
        let remembering = RememberingEmbedder::with_limit(embedder, REMEMBERED_TEXTS);
        std::thread::Builder::new()
            .name("embed-texts".to_owned())
            .spawn(move || embed_all(&receiver, &remembering, &metrics))?;
        Ok(Self { name, fingerprint, directory, requests })
    }
}

impl TextEmbedder for BatchingEmbedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
        let (answer, answered) = sync_channel(1);
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        let gone = || Error::Io(std::io::Error::other("the thread that embeds texts has ended"));
        self.requests.send(TextsRequest { texts, answer }).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

/// Embeds until nobody can ask any more.
fn embed_all(receiver: &Receiver<TextsRequest>, embedder: &RememberingEmbedder, metrics: &Metrics) {
    while let Ok(first) = receiver.recv() {
        let mut count = first.texts.len();
        let mut batch = vec![first];
        while count < TEXTS_PER_BATCH
            && let Ok(next) = receiver.try_recv()
        {
            count += next.texts.len();
            batch.push(next);
        }
        let known = embedder.len();
        answer(&batch, embedder);
        metrics.batch(count);
        metrics.texts.fetch_add(count as u64, Ordering::Relaxed);
        let embedded = embedder.len().saturating_sub(known) as u64;
        metrics.texts_embedded.fetch_add(embedded, Ordering::Relaxed);
    }
}

fn answer(batch: &[TextsRequest], embedder: &RememberingEmbedder) {
    let texts: Vec<&str> =
        batch.iter().flat_map(|request| request.texts.iter().map(String::as_str)).collect();
    let together = guarded(embedder, &texts);
    let mut first = 0;
    for request in batch {
        let rows: Vec<usize> = (first..first + request.texts.len()).collect();
        first += request.texts.len();
        let own = match &together {
            Ok(embeddings) => embeddings.select(&rows),
            // One client's texts must not fail another's: each is tried by itself.
            Err(_) => {
                let texts: Vec<&str> = request.texts.iter().map(String::as_str).collect();
                guarded(embedder, &texts)
            }
        };
        // A client that has gone needs no answer.
        let _ = request.answer.send(own);
    }
}

/// A panic costs one batch, not the thread that all clients wait for.
fn guarded(embedder: &RememberingEmbedder, texts: &[&str]) -> Result<Embeddings> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| embedder.embed_texts(texts)))
        .unwrap_or_else(|_| Err(Error::Io(std::io::Error::other("the text model failed"))))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Embeds a text as its length; refuses "bad", panics at "worse", and notes its batches.
    #[derive(Default)]
    struct LengthEmbedder(Mutex<Vec<usize>>);

    impl TextEmbedder for LengthEmbedder {
        fn name(&self) -> &str {
            "lengths"
        }

        fn fingerprint(&self) -> &str {
            "lengths-1"
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Embeddings> {
            assert!(!texts.contains(&"worse"));
            if texts.contains(&"bad") {
                return Err(Error::EmptyQuery);
            }
            self.0.lock().unwrap().push(texts.len());
            Embeddings::from_rows(1, texts.iter().map(|text| text.len() as f32).collect())
        }
    }

    #[test]
    fn what_waits_is_embedded_together_and_everybody_gets_their_own() {
        let lengths = Arc::new(LengthEmbedder::default());
        let (requests, receiver) = channel();
        let answers: Vec<_> = (1..=3)
            .map(|number| {
                let (answer, answered) = sync_channel(1);
                let texts = (0..number).map(|more| "x".repeat(number + more)).collect();
                requests.send(TextsRequest { texts, answer }).unwrap();
                answered
            })
            .collect();
        drop(requests);
        let metrics = Metrics::default();
        embed_all(&receiver, &RememberingEmbedder::new(lengths.clone()), &metrics);
        let answers: Vec<Vec<f32>> =
            answers.into_iter().map(|answered| answered.recv().unwrap().unwrap().into_vec()).collect();
        assert_eq!(answers, [vec![1.0], vec![2.0, 3.0], vec![3.0, 4.0, 5.0]]);
        assert_eq!(*lengths.0.lock().unwrap(), [5], "one batch, of the five different texts");
        assert_eq!(metrics.texts.load(Ordering::Relaxed), 6);
        assert_eq!(metrics.texts_embedded.load(Ordering::Relaxed), 5);
    }

    #[test]
    fn a_text_that_fails_fails_its_own_client_only() {
        let embedder = BatchingEmbedder::start(Arc::new(LengthEmbedder::default()), Arc::default()).unwrap();
        std::thread::scope(|scope| {
            for text in ["bad", "good", "worse", "better"] {
                let embedder = &embedder;
                scope.spawn(move || {
                    let answer = embedder.embed_texts(&[text]);
                    assert_eq!(answer.is_ok(), ["good", "better"].contains(&text), "{text}");
                });
            }
        });
        assert!(embedder.embed_texts(&["later"]).is_ok());
    }
}
