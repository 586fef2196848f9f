//! The server as clients see it: each route, and what it does with input that is broken or hostile.

mod bad_input;
mod drop_ins;
mod knowledge;
mod network;
mod protection;
mod search;
mod world;
