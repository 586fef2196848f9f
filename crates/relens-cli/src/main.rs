//! The `relens` command: what can be typed, one file a command under [`commands`].
//!
//! Results go to standard output and nothing else does; progress, notes and errors go to standard error. The forms
//! that other programs may rely on are described in `docs/machine-readable.md`.

mod cli;
mod commands;
mod contact_sheet;
mod desktop;
mod enhancer_choice;
mod image_embedding;
mod indexing;
mod interrupt;
mod library_location;
mod llm_endpoint;
mod logging;
mod measured_queries;
mod missing_step;
mod model_choice;
mod output;
mod output_file;
mod perturbed_captions;
mod pixel_explanation;
mod progress;
mod query_results;
mod query_words;
mod ranking_output;
mod recipe;
mod report;
mod reporter;
mod search_filter;
mod serving;
mod settings;
mod usage;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status 1: the command failed.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let arguments = cli::Cli::read();
    logging::start(arguments.verbose, arguments.quiet);
    match arguments.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(&error)),
    }
}

/// Prints the error and its causes; the exit code it deserves.
fn report(error: &anyhow::Error) -> u8 {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        // Nothing is left to tell if standard error is closed.
        let _ = usage.print();
        return u8::try_from(usage.exit_code()).unwrap_or(FAILED);
    }
    let style = output::error_style();
    progress::print_line(&format!("{style}error:{style:#} {error}"));
    let mut previous = error.to_string();
    for cause in error.chain().skip(1) {
        let message = cause.to_string();
        // Transparent wrappers and messages that already quote their cause would say everything twice.
        if !previous.contains(&message) {
            progress::print_line(&format!("  because: {message}"));
        }
        previous = message;
    }
    FAILED
}
