//! The options and the words of a query that say which pictures a search looks among.

use anyhow::Result;
use clap::Args;
use relens::library::filter::{PictureFilter, SplitSearch, today};

use crate::progress;
use crate::usage::usage_error;

/// Conditions on pictures beside what they show; they can stand inside the query, too: after:2023-06 in:Holidays.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which pictures")]
pub(crate) struct FilterArguments {
    /// Taken on this day or later: 2023, 2023-06 or 2023-06-15. Pictures that do not tell count by their file's date.
    #[arg(long, value_name = "DATE")]
    after: Option<String>,

    /// Taken before this day.
    #[arg(long, value_name = "DATE")]
    before: Option<String>,

    /// Below a folder of this name, or below this path; of several, one is enough.
    #[arg(long = "in", value_name = "FOLDER")]
    folders: Vec<String>,

    /// Not below a folder of this name, or below this path.
    #[arg(long = "not-in", value_name = "FOLDER")]
    excluded_folders: Vec<String>,

    /// Taken by a camera with this in its name.
    #[arg(long, value_name = "NAME")]
    camera: Option<String>,

    /// Taken within some kilometres (10 if not said) of a place in degrees: 48.858,2.294 or 48.858,2.294,5.
    #[arg(long, value_name = "LAT,LON[,KM]", allow_hyphen_values = true)]
    near: Option<String>,

    /// Pictures or videos only.
    #[arg(long = "type", value_name = "picture|video")]
    kind: Option<String>,

    /// Read dates in words ("last summer", "in 2019") as any other words.
    #[arg(long)]
    no_dates: bool,
}

impl FilterArguments {
    /// The conditions, those inside of the query among them, and the words that are left of it.
    pub(crate) fn split(&self, query: &str) -> Result<(PictureFilter, String)> {
        let mut filter = PictureFilter::default();
        let options = [
            ("after", self.after.as_slice()),
            ("before", self.before.as_slice()),
            ("in", self.folders.as_slice()),
            ("-in", self.excluded_folders.as_slice()),
            ("camera", self.camera.as_slice()),
            ("near", self.near.as_slice()),
            ("type", self.kind.as_slice()),
        ];
        for (name, values) in options {
            for value in values {
                filter.set(name, value).map_err(usage_error)?;
            }
        }
        let today = (!self.no_dates).then(today);
        let SplitSearch { filter, words, spoken } = filter.split(query, today).map_err(usage_error)?;
        if let Some((after, before)) = spoken {
            progress::note(&format!(
                "looking for `{words}` from {after} to the day before {before}; --no-dates reads it as words"
            ));
        }
        Ok((filter, words))
    }
}
