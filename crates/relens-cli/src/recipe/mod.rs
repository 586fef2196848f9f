//! Recipes: named stages, each one `relens` command, run in the order in which they depend on each other.
//!
//! A recipe is a TOML file:
//!
//! ```toml
//! name = "small"
//! directory = "../runs/small"          # outputs and the recipe's own records
//!
//! [variables]
//! shared = "../shared"                  # {shared} in what follows; `--set shared=DIR` on the command line
//!
//! [[stage]]
//! name = "knowledge"
//! about = "what things look like"
//! command = ["kb", "build", "--records", "{shared}/records", "--output", "{directory}/evd.jsonl"]
//! inputs = ["{shared}/records"]         # the content decides whether the stage must run again
//! outputs = ["evd.jsonl"]               # in the recipe's directory
//! resume = []                           # what a stage that was interrupted gets besides; without it, it starts anew
//! ```
//!
//! A stage depends on those whose outputs are its inputs. What follows `--config` is an input, too. A stage that ran is
//! skipped as long as its command, the content of its inputs, the stages that it depends on and its outputs are what
//! they were; [`plan`] tells which of them changed.

pub(crate) mod digest;
pub(crate) mod execution;
pub(crate) mod file;
pub(crate) mod plan;
pub(crate) mod state;

/// Small recipes for the tests of this module.
#[cfg(test)]
mod tests;
