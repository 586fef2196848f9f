//! `GET /images/zip`: several pictures' files in one.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::Shared;
use super::extract::QueryPart;
use super::images::find;
use crate::engine::Services;
use crate::problem::HttpProblem;
use crate::streaming::{BodyWriter, channel};

/// Pictures of one archive.
const MOST_PICTURES: usize = 1000;

/// Which pictures.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DownloadQuery {
    /// The pictures' numbers, with commas between them; 1,000 at most.
    ids: String,
}

impl DownloadQuery {
    fn ids(&self) -> Result<Vec<u64>, HttpProblem> {
        let numbers: Option<Vec<u64>> = self.ids.split(',').map(|id| id.trim().parse().ok()).collect();
        let expected = || format!("1 to {MOST_PICTURES} numbers with commas between them");
        match numbers {
            Some(ids) if ids.len() <= MOST_PICTURES => Ok(ids),
            Some(ids) => Err(HttpProblem::field("ids", expected(), ids.len().to_string())),
            None => Err(HttpProblem::field("ids", expected(), "something else")),
        }
    }
}

/// The files of several pictures as a ZIP archive, sent while it is made. What cannot be read is named in it.
pub(super) async fn download(
    State(engine): Shared,
    QueryPart(query): QueryPart<DownloadQuery>,
) -> Result<Response, HttpProblem> {
    let ids = query.ids()?;
    // A client that reads slowly keeps a thread busy: few may.
    let place = engine.downloads.clone().try_acquire_owned().map_err(|_| HttpProblem::busy())?;
    let paths = move |engine: &Services| {
        ids.into_iter().map(|id| Ok(find(engine, id)?.path)).collect::<Result<Vec<_>, _>>()
    };
    let paths = engine.run(paths).await?;
    let (sender, body) = channel();
    tokio::task::spawn_blocking(move || {
        let _held = place;
        if let Err(error) = write_archive(BodyWriter::new(sender), &paths) {
            tracing::debug!(%error, "an archive was not sent whole");
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "application/zip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"relens.zip\""),
    ];
    Ok((headers, Body::new(body)).into_response())
}

/// Pictures are compressed already: they are stored as they are.
fn write_archive(body: impl Write, paths: &[PathBuf]) -> io::Result<()> {
    let options =
        SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    let mut archive = ZipWriter::new_stream(body);
    let (mut names, mut unread) = (HashSet::new(), Vec::new());
    for path in paths {
        let file = fs_err::metadata(path).ok().filter(std::fs::Metadata::is_file);
        let Some(mut file) = file.and_then(|_| fs_err::File::open(path).ok()) else {
            unread.push(path.display().to_string());
            continue;
        };
        archive.start_file(unused_name(path, &mut names), options)?;
        io::copy(&mut file, &mut archive)?;
    }
    if !unread.is_empty() {
        archive.start_file(unused_name(Path::new("cannot be read.txt"), &mut names), options)?;
        archive.write_all(unread.join("\n").as_bytes())?;
    }
    let mut body = archive.finish()?.into_inner();
    body.flush()
}

/// The file's name without its folders, with a number where another one has that name.
fn unused_name(path: &Path, names: &mut HashSet<String>) -> String {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().replace(['/', '\\'], "_"));
    let stem = part(path.file_stem()).unwrap_or_else(|| "picture".to_owned());
    let ending = part(path.extension()).map_or_else(String::new, |ending| format!(".{ending}"));
    let mut name = format!("{stem}{ending}");
    let mut number = 1;
    while !names.insert(name.to_lowercase()) {
        number += 1;
        name = format!("{stem} ({number}){ending}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders_and_stay_different() {
        let mut names = HashSet::new();
        let mut name = |path: &str| unused_name(Path::new(path), &mut names);
        assert_eq!(name("/a/dog.jpg"), "dog.jpg");
        assert_eq!(name("/b/Dog.jpg"), "Dog (2).jpg");
        assert_eq!(name("/b/..\\..\\evil"), ".._.._evil");
        assert_eq!(name("/"), "picture");
    }
}
