//! Words of a query that begin with a hyphen: `relens search a dog on the beach -leash -in:Screenshots`.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Moves the words of a query behind `--`, where the query of the command `name` has words that would be taken for options.
///
/// Such a word stands behind the query's first, has one hyphen and two more characters at least, and is no option of the
/// command. Where there is none, everything stays as it was typed.
pub(crate) fn behind_options(command: &Command, name: &str, arguments: Vec<OsString>) -> Vec<OsString> {
    let called = arguments.iter().skip(1).position(|argument| !is_hyphenated(argument));
    let Some(called) = called.map(|position| position + 1) else { return arguments };
    let Some(command) =
        command.find_subcommand(name).filter(|_| arguments.get(called).is_some_and(|it| it == name))
    else {
        return arguments;
    };
    let (mut options, mut words) = (Vec::new(), Vec::new());
    let mut hyphenated = false;
    let mut rest = arguments.iter().skip(called + 1);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            words.extend(rest.by_ref().cloned());
        } else if let Some(option) = option(command, argument) {
            options.push(argument.clone());
            if is_followed_by_value(option, argument) {
                options.extend(rest.next().cloned());
            }
        } else if is_hyphenated(argument) && (words.is_empty() || !is_word(argument)) {
            // What it means is for clap to say.
            options.push(argument.clone());
        } else {
            hyphenated |= is_hyphenated(argument);
            words.push(argument.clone());
        }
    }
    if !hyphenated {
        return arguments;
    }
    let head = arguments.iter().take(called + 1).cloned();
    head.chain(options).chain([OsString::from("--")]).chain(words).collect()
}

fn is_hyphenated(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

/// `-leash`, but neither `--leash` nor `-l`.
fn is_word(argument: &OsString) -> bool {
    let bytes = argument.as_encoded_bytes();
    bytes.len() > 2 && !bytes.starts_with(b"--")
}

/// The option that an argument names, or the last of several short ones: `-qv`, `-k5`, `--near=48,2`.
fn option<'a>(command: &'a Command, argument: &OsString) -> Option<&'a Arg> {
    let text = argument.to_str()?;
    let known = || command.get_arguments();
    if let Some(name) = text.strip_prefix("--") {
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        return known().find(|option| option.get_long() == Some(name));
    }
    let letters = text.strip_prefix('-')?.char_indices();
    let mut last = None;
    for (place, letter) in letters {
        let option = known().find(|option| option.get_short() == Some(letter))?;
        last = Some(option);
        if takes_value(option) {
            // Short options with values take numbers.
            let value = text.get(1 + place + letter.len_utf8()..)?.trim_start_matches('=');
            return value.bytes().all(|byte| byte.is_ascii_digit()).then_some(option);
        }
    }
    last
}

fn takes_value(option: &Arg) -> bool {
    option.get_action().takes_values()
}

/// Whether the value of an option is the argument behind it.
fn is_followed_by_value(option: &Arg, argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    let is_told = match text.strip_prefix("--") {
        Some(name) => name.contains('='),
        None => text.ends_with(|character: char| character.is_ascii_digit()),
    };
    takes_value(option) && !option.is_require_equals_set() && !is_told
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn moved(line: &str) -> String {
        let mut command = Cli::command();
        command.build();
        let arguments = line.split(' ').map(OsString::from).collect();
        let arguments = behind_options(&command, "search", arguments);
        arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_with_a_hyphen_are_words_and_options_are_options() {
        for (typed, read) in [
            ("relens search dog -leash", "relens search -- dog -leash"),
            ("relens -q search dog -leash -k 3", "relens -q search -k 3 -- dog -leash"),
            (
                "relens search a dog -k5 on the beach -in:Screenshots -vv --json --near -33.9,18.4",
                "relens search -k5 -vv --json --near -33.9,18.4 -- a dog on the beach -in:Screenshots",
            ),
            ("relens search --library=l dog -kitten -vase", "relens search --library=l -- dog -kitten -vase"),
            ("relens search dog -leash --open --k", "relens search --open --k -- dog -leash"),
            ("relens search dog -leash -- --json", "relens search -- dog -leash --json"),
        ] {
            assert_eq!(moved(typed), read);
        }
    }

    #[test]
    fn what_needs_no_moving_stays_as_it_was_typed() {
        for line in [
            "relens search dog -k 3 --json on the beach",
            "relens search -leash dog",
            "relens search dog -x",
            "relens search dog --leash",
            "relens search dog -",
            "relens search dog -- -leash",
            "relens rewrite dog -leash",
            "relens",
            "relens -v",
            "relens search",
        ] {
            assert_eq!(moved(line), line);
        }
    }
}
