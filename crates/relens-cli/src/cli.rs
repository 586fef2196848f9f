//! The command line: global options and the list of commands.

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;
use crate::query_words;

/// Search pictures with words, offline.
///
/// relens turns pictures and texts into vectors with a model that comes with it, keeps the pictures' vectors in a
/// library on disk, and ranks them against what you type. Nothing leaves this computer.
///
/// Start with `relens quickstart`, then `relens index DIR` and `relens search "two dogs on a beach"`.
#[derive(Debug, Parser)]
#[command(name = "relens", version, max_term_width = 100, after_long_help = ENVIRONMENT)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Show more on standard error: -v for each step, -vv for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Download nothing: open only models that are on this computer.
    #[arg(long, global = true)]
    pub(crate) offline: bool,

    /// Keep nothing on disk of what is asked: no rewrites of queries for the next time.
    #[arg(long, global = true)]
    pub(crate) no_history: bool,

    /// No progress and no notes on standard error, only errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

const ENVIRONMENT: &str = "\
Environment:
  RELENS_HOME  directory of the default library and of the edited knowledge base; without it $XDG_DATA_HOME/relens or ~/.local/share/relens
  RELENS_DATA  directory with models/ and gallery/ to use before those that come with relens
  HF_HOME      directory of the Hugging Face hub's cache; HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are heeded too
  NO_COLOR     set to anything: no colours and no links in the terminal

Exit status:
  0  success
  1  the command failed; the message says what was expected and found
  2  wrong usage of the command line";

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(commands::quickstart::QuickstartArguments),
    Index(commands::index::IndexArguments),
    Search(commands::search::SearchArguments),
    #[command(subcommand)]
    Library(commands::library::LibraryCommand),
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    Serve(commands::serve::ServeArguments),
    Embed(commands::embed::EmbedArguments),
    Eval(commands::eval::EvalArguments),
    Compare(commands::compare::CompareArguments),
    Rewrite(commands::rewrite::RewriteArguments),
    Explain(commands::explain::ExplainArguments),
    Faithfulness(commands::faithfulness::FaithfulnessArguments),
    Run(commands::run::RunArguments),
    Report(commands::report::ReportArguments),
    #[command(subcommand)]
    Kb(commands::kb::KbCommand),
    #[command(subcommand)]
    Mine(commands::mine::MineCommand),
    #[command(subcommand)]
    Train(commands::train::TrainCommand),
    References(commands::references::ReferencesArguments),
    Familiarity(commands::familiarity::FamiliarityArguments),
    #[command(subcommand)]
    Models(commands::models::ModelsCommand),
}

impl Cli {
    /// Reads what was typed; help and wrong usage end the program.
    pub(crate) fn read() -> Self {
        let mut command = Self::command();
        // Global options are known to a command once it is built.
        command.build();
        let arguments = query_words::behind_options(&command, "search", std::env::args_os().collect());
        Self::from_arg_matches_mut(&mut command.get_matches_from(arguments))
            .unwrap_or_else(|error| error.exit())
    }

    /// Runs the command that was typed.
    pub(crate) fn run(self) -> Result<()> {
        crate::model_choice::set_offline(self.offline);
        crate::enhancer_choice::set_forgetful(self.no_history);
        crate::settings::apply_to_pictures();
        match self.command {
            Command::Quickstart(arguments) => arguments.run(),
            Command::Index(arguments) => arguments.run(),
            Command::Search(arguments) => arguments.run(),
            Command::Library(command) => command.run(),
            Command::Config(command) => command.run(),
            Command::Serve(arguments) => arguments.run(),
            Command::Embed(arguments) => arguments.run(),
            Command::Eval(arguments) => arguments.run(),
            Command::Compare(arguments) => arguments.run(),
            Command::Rewrite(arguments) => arguments.run(),
            Command::Explain(arguments) => arguments.run(),
            Command::Faithfulness(arguments) => arguments.run(),
            Command::Run(arguments) => arguments.run(check),
            Command::Report(arguments) => arguments.run(),
            Command::Kb(command) => command.run(),
            Command::Mine(command) => command.run(),
            Command::Train(command) => command.run(),
            Command::References(arguments) => arguments.run(),
            Command::Familiarity(arguments) => arguments.run(),
            Command::Models(command) => command.run(),
        }
    }
}

/// Whether these words, without the program's name, are a command line that can be run.
///
/// # Errors
/// The first line of clap's message.
fn check(arguments: &[String]) -> std::result::Result<(), String> {
    let line = std::iter::once("relens").chain(arguments.iter().map(String::as_str));
    let first_line = |message: &str| message.lines().next().unwrap_or_default().to_owned();
    match Cli::try_parse_from(line) {
        Ok(_) => Ok(()),
        Err(error) => Err(first_line(&error.to_string()).trim_start_matches("error: ").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
