//! The relens command.
fn main() {}
