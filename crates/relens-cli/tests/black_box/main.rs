//! The real binary, run in fresh directories.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_libraries;
mod bad_models;
mod bad_pictures;
mod bad_queries;
mod collecting_knowledge;
mod editing_knowledge;
mod embedding;
mod evaluation;
mod explaining;
mod familiarity;
mod fine_tuning;
mod indexing;
mod interruption;
mod knowledge;
mod libraries;
mod mining;
mod model_directory;
mod models;
mod outputs;
mod precision;
mod quickstart;
mod recipes;
mod rewriting;
mod searching;
#[allow(dead_code, reason = "each user of the server needs a part of it")]
#[path = "../../../relens/tests/llm/server.rs"]
mod server;
#[cfg(unix)]
mod serving;
mod training;
mod training_descriptions;
mod usage;
mod videos;
mod widths;
mod workplace;
