//! One file a command.

pub(crate) mod compare;
pub(crate) mod config;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod faithfulness;
pub(crate) mod familiarity;
pub(crate) mod index;
pub(crate) mod kb;
pub(crate) mod library;
pub(crate) mod mine;
pub(crate) mod models;
pub(crate) mod quickstart;
pub(crate) mod references;
pub(crate) mod report;
pub(crate) mod rewrite;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod train;
