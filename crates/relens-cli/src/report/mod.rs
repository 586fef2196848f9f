//! One self-contained HTML page for runs and evaluations: tables, curves, rank changes, examples.
//!
//! Everything is inside of the page (style, plots as SVG, thumbnails), so that it can be sent as one file.

mod charts;
mod comparison;
mod curves;
mod document;
pub(crate) mod inputs;
mod mining;
mod page;

pub(crate) use mining::mining_page;
pub(crate) use page::write;

#[cfg(test)]
mod tests;
