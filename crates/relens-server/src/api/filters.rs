//! Which pictures a search looks among, beside what they show.

use relens::library::filter::{PictureFilter, SplitSearch, today};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::HttpProblem;

/// Folders of one filter.
const MOST_FOLDERS: usize = 100;

/// Conditions on pictures beside what they show, in the forms of `relens search`; all hold together. They may stand inside
/// the query, too: `a dog after:2023-06 in:Holidays`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SearchFilters {
    /// Taken on this day or later: `2023`, `2023-06` or `2023-06-15`. Pictures that do not tell count by their file's
    /// date.
    after: Option<String>,
    /// Taken before this day.
    before: Option<String>,
    /// Below a folder of one of these names, or below one of these paths.
    #[serde(rename = "in")]
    folders: Vec<String>,
    /// Not below any of these.
    not_in: Vec<String>,
    /// Taken by a camera with this in its name.
    camera: Option<String>,
    /// Taken near a place in degrees: `48.858,2.294` (within 10 kilometres) or `48.858,2.294,5`.
    near: Option<String>,
    /// `picture` or `video`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Reads dates in words ("last summer", "in 2019") as any other words.
    no_dates: bool,
}

impl SearchFilters {
    /// The conditions, those inside of the query among them, and the words that are left of it.
    ///
    /// # Errors
    /// A condition that is none, by its field.
    pub(super) fn split(&self, query: Option<&str>) -> Result<(PictureFilter, Option<String>), HttpProblem> {
        let mut filter = PictureFilter::default();
        for (field, folders) in [("in", &self.folders), ("not_in", &self.not_in)] {
            if folders.len() > MOST_FOLDERS {
                let field = format!("filters.{field}");
                return Err(HttpProblem::field(
                    &field,
                    format!("at most {MOST_FOLDERS}"),
                    folders.len().to_string(),
                ));
            }
        }
        let conditions = [
            ("after", "after", self.after.as_slice()),
            ("before", "before", self.before.as_slice()),
            ("in", "in", self.folders.as_slice()),
            ("-in", "not_in", self.not_in.as_slice()),
            ("camera", "camera", self.camera.as_slice()),
            ("near", "near", self.near.as_slice()),
            ("type", "type", self.kind.as_slice()),
        ];
        for (name, field, values) in conditions {
            for value in values {
                filter.set(name, value).map_err(|error| refused(&format!("filters.{field}"), error))?;
            }
        }
        let Some(query) = query else {
            filter.check().map_err(|error| refused("filters", error))?;
            return Ok((filter, None));
        };
        let today = (!self.no_dates).then(today);
        let split = filter.split(query, today).map_err(|error| refused("query", error))?;
        let SplitSearch { filter, words, .. } = split;
        Ok((filter, Some(words)))
    }
}

fn refused(field: &str, error: relens::error::Error) -> HttpProblem {
    match error {
        relens::error::Error::Argument { expected, found, .. } => HttpProblem::field(field, expected, found),
        error => error.into(),
    }
}
