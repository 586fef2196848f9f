//! Standard output: results for people in a terminal, for programs in a pipe.

use std::io::{self, BufWriter, IsTerminal, StdoutLock};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What stays as it is in the path of a `file:` address (RFC 3986: unreserved characters, and the separator).
const KEPT_IN_FILE_ADDRESS: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Standard output, buffered, and whether people are looking at it.
pub(crate) struct Output {
    /// Where results are written; flush it before the command ends.
    pub(crate) writer: BufWriter<StdoutLock<'static>>,
    /// A terminal, not a pipe or a file: show results for people.
    pub(crate) for_people: bool,
    styled: bool,
}

impl Output {
    /// Takes standard output for the rest of the command.
    pub(crate) fn new() -> Self {
        let stdout = io::stdout().lock();
        let for_people = stdout.is_terminal();
        Self { writer: BufWriter::new(stdout), for_people, styled: for_people && colours_are_wanted() }
    }

    /// `style` where colours are wanted, else no style.
    pub(crate) fn style(&self, style: Style) -> Style {
        if self.styled { style } else { Style::new() }
    }

    /// `text`, as a link to the file at `path` in terminals that know links.
    pub(crate) fn link(&self, path: &Path, text: &str) -> String {
        match path.canonicalize() {
            Ok(absolute) if self.styled => {
                let address = percent_encoding::percent_encode(path_bytes(&absolute), KEPT_IN_FILE_ADDRESS);
                format!("\u{1b}]8;;file://{address}\u{1b}\\{text}\u{1b}]8;;\u{1b}\\")
            }
            _ => text.to_owned(),
        }
    }
}

/// The width of tables that no terminal shows.
const COLUMNS: u16 = 80;

/// A table with these heads that fits the terminal, or 80 columns where there is none.
pub(crate) fn table<T: Into<Cell>>(heads: impl IntoIterator<Item = T>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if !io::stdout().is_terminal() {
        table.set_width(COLUMNS);
    }
    table.set_header(heads.into_iter().map(Into::into).collect::<Vec<Cell>>());
    table
}

/// How many columns a line has: those of the terminal, or 80 where there is none.
pub(crate) fn columns() -> usize {
    usize::from(Table::new().width().filter(|_| io::stdout().is_terminal()).unwrap_or(COLUMNS))
}

/// Breaks a text at blanks, so that it fits the terminal, or 80 columns; all lines but the first stand behind `indent` blanks.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    wrapped_pieces(&words, " ", indent)
}

/// The same for pieces that are not broken, with `gap` between those on one line.
pub(crate) fn wrapped_pieces<T: AsRef<str>>(pieces: &[T], gap: &str, indent: usize) -> String {
    let room = columns().saturating_sub(indent);
    let (mut text, mut used) = (String::new(), 0);
    for piece in pieces.iter().map(AsRef::as_ref) {
        let length = piece.chars().count();
        if used > 0 && used + gap.len() + length > room {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            used = 0;
        } else if used > 0 {
            text.push_str(gap);
            used += gap.len();
        }
        text.push_str(piece);
        used += length;
    }
    text
}

/// Aligns these columns to the right.
pub(crate) fn align_numbers(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in table.column_iter_mut().skip(columns.start).take(columns.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// The first two lines of a Markdown table, fit for a lab book.
pub(crate) fn markdown_heads<T: AsRef<str>>(heads: &[T]) -> String {
    format!("{}\n{}", markdown_row(heads), markdown_row(&vec!["---"; heads.len()]))
}

/// A line of a Markdown table.
pub(crate) fn markdown_row<T: AsRef<str>>(cells: &[T]) -> String {
    let cell = |cell: &T| match cell.as_ref() {
        "" => " |".to_owned(),
        text => format!(" {text} |"),
    };
    std::iter::once("|".to_owned()).chain(cells.iter().map(cell)).collect()
}

/// The path as it is on disk, so that a pipe can hand it on even where it is not UTF-8.
pub(crate) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_encoded_bytes()
}

/// For the most important part of a line.
pub(crate) fn strong() -> Style {
    Style::new().bold()
}

/// For details that are looked up rather than read.
pub(crate) fn faint() -> Style {
    Style::new().dimmed()
}

/// For the word `error` on standard error.
pub(crate) fn error_style() -> Style {
    if stderr_is_styled() { AnsiColor::Red.on_default().bold() } else { Style::new() }
}

/// Whether standard error is a terminal that may be coloured.
pub(crate) fn stderr_is_styled() -> bool {
    io::stderr().is_terminal() && colours_are_wanted()
}

/// Whether the command failed only because nobody reads its output any more, as in `relens search … | head -1`.
pub(crate) fn reader_is_gone(error: &anyhow::Error) -> bool {
    let broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(broken_pipe)
            || cause
                .downcast_ref::<serde_json::Error>()
                .is_some_and(|cause| cause.io_error_kind() == Some(io::ErrorKind::BrokenPipe))
    })
}

fn colours_are_wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    !refused && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_escapes_what_an_address_cannot_hold() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap().join("a b%#.jpg");
        fs_err::write(&path, "").unwrap();
        let output = Output { writer: BufWriter::new(io::stdout().lock()), for_people: true, styled: true };
        let link = output.link(&path, "picture");
        assert!(link.contains("/a%20b%25%23.jpg\u{1b}\\picture\u{1b}]8;;"), "{link:?}");
    }

    #[test]
    fn long_texts_are_broken_at_blanks() {
        let text = wrapped(&"a dog on the beach ".repeat(9), 4);
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= columns()), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("    ")), "{text}");
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>().join(" "),
            "a dog on the beach ".repeat(9).trim()
        );
        let path = "/long".repeat(40);
        assert_eq!(
            wrapped(&format!("in {path} it is"), 2),
            format!("in\n  {path}\n  it is"),
            "a path is never broken"
        );
        let pieces = wrapped_pieces(&["dog +0.1"; 12], "  ", 2);
        assert!(
            pieces.lines().all(|line| line.trim().split("  ").all(|piece| piece == "dog +0.1")),
            "{pieces}"
        );
    }

    #[test]
    fn only_a_broken_pipe_is_forgiven() {
        let broken =
            anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing results");
        assert!(reader_is_gone(&broken));
        assert!(!reader_is_gone(&anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound))));
    }
}
