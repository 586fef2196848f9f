//! What words mean that captions hardly use.

use axum::extract::State;
use relens::knowledge::Source;
use relens::knowledge::words::{ENGLISH, Meaning, MeaningKind, Word};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Shared;
use super::extract::{JsonAnswer, JsonBody, PathPart, QueryPart};
use super::knowledge::{ChangeAnswer, ListQuery, change};
use crate::engine::Services;
use crate::problem::HttpProblem;

/// One meaning of a word.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MeaningBody {
    /// Common words that fit in the word's place.
    text: String,
    /// `name` (another name for it), `short` or `plain` (what it looks like, in a word or two or at more length).
    #[serde(default = "name")]
    #[schemars(with = "String")]
    kind: MeaningKind,
}

fn name() -> MeaningKind {
    MeaningKind::Name
}

/// A word and what it means.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WordBody {
    /// The word; in a request that of the address counts.
    #[serde(default)]
    word: String,
    /// Its language, as ISO 639-1 abbreviates it.
    #[serde(default = "english")]
    language: String,
    /// What it means, the usual first. None: searches leave the word alone.
    meanings: Vec<MeaningBody>,
}

fn english() -> String {
    ENGLISH.to_owned()
}

impl From<Word> for WordBody {
    fn from(word: Word) -> Self {
        let meanings = word.meanings.into_iter().map(|Meaning { text, kind, .. }| MeaningBody { text, kind });
        Self { word: word.word, language: word.language, meanings: meanings.collect() }
    }
}

/// Some of the words.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct WordsAnswer {
    /// The words, sorted.
    words: Vec<WordBody>,
    /// How many there are in all.
    total: usize,
}

/// The words that have a text in them.
pub(super) async fn list_words(
    State(engine): Shared,
    QueryPart(query): QueryPart<ListQuery>,
) -> Result<JsonAnswer<WordsAnswer>, HttpProblem> {
    let work = move |engine: &Services| {
        let knowledge = engine.knowledge.current()?;
        let needle = query.needle();
        let mut found: Vec<Word> =
            knowledge.words().iter().filter(|word| word.word.contains(&needle)).collect();
        found.sort_by_key(|word| !word.word.starts_with(&needle));
        let (page, total) = query.page(found);
        Ok(WordsAnswer { words: page.into_iter().map(WordBody::from).collect(), total })
    };
    engine.run(work).await.map(JsonAnswer)
}

/// What a word means.
pub(super) async fn word(
    State(engine): Shared,
    PathPart(word): PathPart<String>,
) -> Result<JsonAnswer<WordBody>, HttpProblem> {
    let work = move |engine: &Services| {
        let knowledge = engine.knowledge.current()?;
        let known = knowledge.words().get(&word.to_lowercase(), ENGLISH);
        known.map(WordBody::from).ok_or_else(|| HttpProblem::not_found("nothing is known of this word"))
    };
    engine.run(work).await.map(JsonAnswer)
}

/// Says what a word means, in place of what was known. Searches use it at once.
pub(super) async fn put_word(
    State(engine): Shared,
    PathPart(name): PathPart<String>,
    JsonBody(body): JsonBody<WordBody>,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    change(engine, move |engine, store| {
        let known = engine.knowledge.current()?.words().get(&name.to_lowercase(), &body.language);
        let by_person = |MeaningBody { text, kind }| Meaning { text, kind, source: Source::Person };
        let meanings = body.meanings.into_iter().map(by_person).collect();
        let word = Word { word: name, language: body.language, meanings };
        Ok(store.replace_word(word, known.as_ref())?)
    })
    .await
}

/// Forgets what a person said about a word: it means again what it did when relens came.
pub(super) async fn delete_word(
    State(engine): Shared,
    PathPart(word): PathPart<String>,
) -> Result<JsonAnswer<ChangeAnswer>, HttpProblem> {
    change(engine, move |_, store| {
        let change = (word.to_lowercase(), ENGLISH.to_owned(), None);
        Ok(store.edit_words("remove", vec![change])?)
    })
    .await
}
