//! Image search that understands people: what happens between the words that somebody types and a list of pictures.
//!
//! The main types, in the order in which a query meets them:
//!
//! - [`enhancer::Query`] is what was typed: some text, not too much of it.
//! - [`enhancer::QueryEnhancer`] turns queries into [`enhancer::EnhancedQuery`]s: texts with weights, how they make one
//!   score, and a trace of why. Each method of the literature is one of them, in a file of its own.
//! - [`embed::TextEmbedder`] and [`embed::ImageEmbedder`] make vectors of texts and pictures;
//!   [`embed::retriever::Retriever`] is both: a CLIP-like model from a directory, a hub, or the bundled one.
//! - [`index::Index`] holds the vectors of pictures and finds the nearest; [`index::ExactIndex`] compares all of them.
//! - [`ranking::Pipeline`] is the way from a query to a [`ranking::Ranking`]: spelling, enhancer, embedding, refinement,
//!   combination, search, hubs. `enhancer.toml` beside a retriever describes one.
//! - [`library::Library`] is a folder of pictures on disk, with their vectors, kept up to date.
//! - [`evaluation::evaluate`] measures a pipeline on a [`dataset::Dataset`] by the very same steps.
//!
//! Around them: [`knowledge`] (what things look like), [`english`] (words), [`judgements`] (what people said of hits), [`pictures`] (decoding what folders hold),
//! [`explanation`] (which pixels and words a score comes from), [`llm`] (chat endpoints), [`model_hub`] (models by name).
//!
//! ```
//! use relens::embed::embeddings::Embeddings;
//! use relens::embed::TextEmbedder;
//! use relens::enhancer::Query;
//! use relens::index::ExactIndex;
//! use relens::ranking::Pipeline;
//!
//! /// Knows two words; a real one is `Retriever::bundled("relens-mini")`.
//! struct DogsAndCats;
//!
//! impl TextEmbedder for DogsAndCats {
//!     fn name(&self) -> &str {
//!         "dogs and cats"
//!     }
//!
//!     fn fingerprint(&self) -> &str {
//!         "dogs-and-cats-1"
//!     }
//!
//!     fn embed_texts(&self, texts: &[&str]) -> relens::error::Result<Embeddings> {
//!         let has = |text: &str, word: &str| if text.contains(word) { 1.0 } else { 0.1 };
//!         let rows = texts.iter().flat_map(|text| [has(text, "dog"), has(text, "cat")]);
//!         let mut embeddings = Embeddings::from_rows(2, rows.collect())?;
//!         embeddings.normalise();
//!         Ok(embeddings)
//!     }
//! }
//!
//! // Two pictures, under the numbers 7 and 8: a dog, and a cat.
//! let pictures = Embeddings::from_rows(2, vec![1.0, 0.0, 0.0, 1.0])?;
//! let index = ExactIndex::from_parts("dogs-and-cats-1", vec![7, 8], pictures)?;
//!
//! // A pipeline whose enhancer leaves queries as they are; `Pipeline::open("default", …)` is the retriever's own.
//! let ranking = Pipeline::default().search(&Query::new("my cat asleep")?, 1, &DogsAndCats, &index)?;
//! assert_eq!(ranking.hits[0].id, 8);
//! assert_eq!(ranking.enhanced.texts[0].text, "my cat asleep");
//! # Ok::<(), relens::error::Error>(())
//! ```

pub mod append_log;
pub mod counted;
pub mod dataset;
pub mod embed;
pub mod english;
pub mod enhancer;
pub mod error;
pub mod evaluation;
pub mod explanation;
pub mod home;
pub mod index;
pub mod judgements;
pub mod knowledge;
pub mod library;
pub mod llm;
pub mod model_hub;
pub mod pictures;
mod private_file;
pub mod progress;
pub mod ranking;
mod sqlite_error;
mod storage_error;

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
