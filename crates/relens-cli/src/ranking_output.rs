//! How a ranking is shown: JSON, tab-separated lines in a pipe, an aligned list in a terminal.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::output::{self, Output};

/// A picture that was found.
#[derive(Debug)]
pub(crate) struct ShownImage<'a> {
    pub(crate) path: &'a Path,
    pub(crate) score: f32,
    /// What the picture shows, where somebody has said so.
    pub(crate) title: Option<&'a str>,
}

/// An element of the JSON form.
#[derive(Debug, Serialize)]
struct JsonHit<'a> {
    path: std::borrow::Cow<'a, str>,
    score: f32,
}

/// One JSON array of `{"path", "score"}`.
pub(crate) fn write_json(output: &mut Output, found: &[ShownImage<'_>]) -> Result<()> {
    let hits: Vec<JsonHit<'_>> =
        found.iter().map(|hit| JsonHit { path: hit.path.to_string_lossy(), score: hit.score }).collect();
    serde_json::to_writer_pretty(&mut output.writer, &hits)?;
    writeln!(output.writer)?;
    Ok(output.writer.flush()?)
}

/// For a program: a path, a tab and a score a line.
pub(crate) fn write_lines(output: &mut Output, found: &[ShownImage<'_>]) -> Result<()> {
    for hit in found {
        output.writer.write_all(output::path_bytes(hit.path))?;
        writeln!(output.writer, "\t{:.6}", hit.score)?;
    }
    Ok(output.writer.flush()?)
}

/// For people: rank, score, the path as a link, and the title.
pub(crate) fn write_list(output: &mut Output, found: &[ShownImage<'_>], indent: &str) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let names: Vec<String> = found.iter().map(|hit| printable(hit.path)).collect();
    let titled = found.iter().any(|hit| hit.title.is_some());
    let width = if titled { names.iter().map(|name| name.chars().count()).max().unwrap_or(0) } else { 0 };
    for (position, (hit, name)) in found.iter().zip(&names).enumerate() {
        let (rank, score) = (position + 1, hit.score);
        let link = output.link(hit.path, name);
        write!(output.writer, "{indent}{faint}{rank:>3}{faint:#}  {score:.3}  {strong}{link}{strong:#}")?;
        if let Some(title) = hit.title {
            let gap = " ".repeat(width.saturating_sub(name.chars().count()));
            write!(output.writer, "{gap}  {faint}{title}{faint:#}")?;
        }
        writeln!(output.writer)?;
    }
    Ok(output.writer.flush()?)
}

/// The path relative to the working directory where that is shorter, without characters that steer a terminal.
fn printable(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let shown = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    shown
        .to_string_lossy()
        .chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_in_names_do_not_reach_the_terminal() {
        assert_eq!(
            printable(Path::new("/pictures/a\u{1b}[2Jb\n.jpg")),
            "/pictures/a\u{fffd}[2Jb\u{fffd}.jpg"
        );
    }

    #[test]
    fn paths_below_the_working_directory_are_shown_short() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(printable(&here.join("dogs/one.jpg")), "dogs/one.jpg");
        assert_eq!(printable(Path::new("/elsewhere/one.jpg")), "/elsewhere/one.jpg");
    }
}
