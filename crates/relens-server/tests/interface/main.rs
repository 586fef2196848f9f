//! The server as clients see it: each route, and what it does with input that is broken or hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bad_input;
mod drop_ins;
mod folders;
mod knowledge;
mod network;
mod protection;
mod search;
mod world;
