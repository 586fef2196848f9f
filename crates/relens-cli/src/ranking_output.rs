//! How a ranking is shown: JSON, tab-separated lines in a pipe, an aligned list in a terminal.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use relens::ranking::Evidence;
use serde::Serialize;

use crate::output::{self, Output};

/// A picture that was found.
#[derive(Debug)]
pub(crate) struct ShownImage<'a> {
    pub(crate) path: &'a Path,
    pub(crate) score: f32,
    pub(crate) evidence: Option<Evidence>,
    /// What the picture shows, where somebody has said so.
    pub(crate) title: Option<&'a str>,
}

/// An element of the JSON form.
#[derive(Debug, Serialize)]
struct JsonHit<'a> {
    path: std::borrow::Cow<'a, str>,
    score: f32,
    /// The cosine of query and picture.
    similarity: f32,
    /// The estimated probability that the picture is what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    fits: Option<f32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    missing: bool,
}

/// One JSON array of `{"path", "score", "similarity", "fits"}`.
pub(crate) fn write_json(output: &mut Output, found: &[ShownImage<'_>]) -> Result<()> {
    let hits: Vec<JsonHit<'_>> = found.iter().map(json_hit).collect();
    serde_json::to_writer_pretty(&mut output.writer, &hits)?;
    writeln!(output.writer)?;
    Ok(output.writer.flush()?)
}

fn json_hit<'a>(hit: &ShownImage<'a>) -> JsonHit<'a> {
    JsonHit {
        path: hit.path.to_string_lossy(),
        score: hit.score,
        // Vectors that were compared as they are rank by their cosine.
        similarity: hit.evidence.map_or(hit.score, |evidence| evidence.similarity),
        fits: hit.evidence.and_then(|evidence| evidence.fits),
        missing: !hit.path.exists(),
    }
}

/// For a program: a path, a tab and a score a line.
pub(crate) fn write_lines(output: &mut Output, found: &[ShownImage<'_>]) -> Result<()> {
    for hit in found {
        output.writer.write_all(output::path_bytes(hit.path))?;
        writeln!(output.writer, "\t{:.6}", hit.score)?;
    }
    Ok(output.writer.flush()?)
}

/// What stands above the hits that probably do not fit.
const LINE: &str = "── below this line probably nothing fits ──";
/// Columns for rank and score, and the least that a name gets.
const NUMBERS: usize = 12;
const SHORTEST_NAME: usize = 20;

/// For people: rank, score, the path as a link, and the title; above the hit number `line`, counted from 0, a line.
pub(crate) fn write_list(
    output: &mut Output,
    found: &[ShownImage<'_>],
    indent: &str,
    line: Option<usize>,
) -> Result<()> {
    let (strong, faint) = (output.style(output::strong()), output.style(output::faint()));
    let titles = found.iter().filter_map(|hit| hit.title).map(|title| title.chars().count() + 2).max();
    let beside = NUMBERS + indent.len() + titles.unwrap_or(0);
    let room = output::columns().saturating_sub(beside).max(SHORTEST_NAME);
    let names: Vec<String> = found.iter().map(|hit| elided(&printable(hit.path), room)).collect();
    let titled = found.iter().any(|hit| hit.title.is_some());
    let width = if titled { names.iter().map(|name| name.chars().count()).max().unwrap_or(0) } else { 0 };
    for (position, (hit, name)) in found.iter().zip(&names).enumerate() {
        if line == Some(position) {
            writeln!(output.writer, "{indent}{faint}{LINE}{faint:#}")?;
        }
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

/// A name in at most `room` characters, its middle left out: folder and file are told by the ends.
fn elided(name: &str, room: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= room {
        return name.to_owned();
    }
    let kept = room.saturating_sub(1);
    let head: String = letters.iter().take(kept / 3).collect();
    let tail: String = letters.iter().skip(letters.len() - (kept - kept / 3)).collect();
    format!("{head}…{tail}")
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
    fn long_names_lose_their_middle() {
        assert_eq!(elided("dogs/one.jpg", 12), "dogs/one.jpg");
        let name = elided("/home/somebody/pictures/holidays/beach/dogs.jpg", 20);
        assert_eq!((name.as_str(), name.chars().count()), ("/home/…each/dogs.jpg", 20));
    }

    #[test]
    fn paths_below_the_working_directory_are_shown_short() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(printable(&here.join("dogs/one.jpg")), "dogs/one.jpg");
        assert_eq!(printable(Path::new("/elsewhere/one.jpg")), "/elsewhere/one.jpg");
    }
}
