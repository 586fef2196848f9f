//! Which pictures a search looks among: by date, folder, camera, place and kind, apart from what they show.

use chrono::{Datelike, Days, Local, Months, NaiveDate};

use crate::error::{Error, Result};
use crate::pictures::metadata::{EARTH_RADIUS, Place};

/// How far "near" is where nothing else is said, in kilometres.
const NEAR: f64 = 10.0;

/// Pictures or videos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Still pictures.
    Picture,
    /// Videos, animations not among them.
    Video,
}

/// A circle on the earth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vicinity {
    /// Its middle.
    pub place: Place,
    /// Its radius.
    pub kilometres: f64,
}

/// What pictures have to be beside what they show. All conditions hold together; of `folders` one is enough.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PictureFilter {
    /// Taken on this day or later. A picture that does not tell when counts by its file's date.
    pub after: Option<NaiveDate>,
    /// Taken before this day.
    pub before: Option<NaiveDate>,
    /// Below a folder of one of these names, or below one of these paths.
    pub folders: Vec<String>,
    /// Not below any of these.
    pub excluded_folders: Vec<String>,
    /// A part of the camera's name, in any case.
    pub camera: Option<String>,
    /// Where.
    pub near: Option<Vicinity>,
    /// Pictures or videos only.
    pub kind: Option<MediaKind>,
}

/// What somebody typed, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitSearch {
    /// Which pictures are looked among.
    pub filter: PictureFilter,
    /// What they should show.
    pub words: String,
    /// The first day of a date in words, and the day after its last, where one was taken.
    pub spoken: Option<(NaiveDate, NaiveDate)>,
}

impl PictureFilter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Sets the condition that a person writes as `name:value`, in a query or as an option.
    ///
    /// # Errors
    /// [`Error::Argument`] if the value is none that the condition takes, or `name` is no condition.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "after" => self.after = Some(date(value)?),
            "before" => self.before = Some(date(value)?),
            "in" => self.folders.push(folder(value)?),
            "-in" => self.excluded_folders.push(folder(value)?),
            "camera" => self.camera = Some(value.to_owned()),
            "near" => self.near = Some(vicinity(value)?),
            "type" => self.kind = Some(kind(value)?),
            _ => return Err(refused("after, before, in, -in, camera, near or type", name)),
        }
        Ok(())
    }

    /// Takes the conditions out of a query: `dog on the beach after:2023-06 in:Holidays -in:Screenshots`. A value with
    /// blanks in it stands in quotes. What is left is what the pictures should show.
    ///
    /// # Errors
    /// Those of [`set`](Self::set), and [`Error::Argument`] for dates between which there is no day.
    pub fn take_from(&mut self, query: &str) -> Result<String> {
        let all = words_of(query);
        let (count, mut words) = (all.len(), Vec::with_capacity(all.len()));
        for word in all {
            match word.split_once(':') {
                Some((name, value)) if is_condition(name) && !value.is_empty() => {
                    self.set(&name.to_lowercase(), value.trim_matches('"'))?;
                }
                _ => words.push(word),
            }
        }
        self.check()?;
        // A query without conditions stays as it was typed, blanks and all.
        Ok(if words.len() == count { query.to_owned() } else { words.join(" ") })
    }

    /// Takes a date in words out of a query: `in 2019`, `last summer`, `yesterday`. Nothing is taken where a date was
    /// given already.
    pub fn take_date_from(&mut self, query: &str, today: NaiveDate) -> String {
        if self.after.is_some() || self.before.is_some() {
            return query.to_owned();
        }
        let words: Vec<&str> = query.split_whitespace().collect();
        for length in [3, 2, 1] {
            for (start, phrase) in words.windows(length).enumerate() {
                let spoken = phrase.join(" ").to_lowercase();
                let Some((after, before)) = spoken_dates(&spoken, today) else { continue };
                (self.after, self.before) = (Some(after), Some(before));
                let (head, tail) = (words.get(..start), words.get(start + length..));
                return [head.unwrap_or_default(), tail.unwrap_or_default()].concat().join(" ");
            }
        }
        query.to_owned()
    }

    /// Takes apart what somebody typed: the conditions in it, which are added to these, and the words that are left. A date
    /// in words is taken for one where `today` is given; alone it may as well be what is looked for.
    ///
    /// # Errors
    /// Those of [`take_from`](Self::take_from).
    pub fn split(mut self, query: &str, today: Option<NaiveDate>) -> Result<SplitSearch> {
        let mut words = self.take_from(query)?;
        let mut spoken = None;
        if let Some(today) = today.filter(|_| self.after.is_none() && self.before.is_none()) {
            let mut dated = self.clone();
            let rest = dated.take_date_from(&words, today);
            if rest != words && !rest.is_empty() {
                spoken = dated.after.zip(dated.before);
                (self, words) = (dated, rest);
            }
        }
        Ok(SplitSearch { filter: self, words, spoken })
    }

    /// Refuses conditions that no picture meets.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub fn check(&self) -> Result<()> {
        match (self.after, self.before) {
            (Some(after), Some(before)) if after >= before => {
                Err(refused(&format!("a day to search before that is after {after}"), &before.to_string()))
            }
            _ => Ok(()),
        }
    }
}

impl Vicinity {
    /// Whether a place is inside, told by its [direction](Place::direction): compared are straight lines through the earth,
    /// which need no trigonometry for each picture.
    pub(super) fn holds(&self) -> impl Fn(&[f32; 3]) -> bool {
        let middle = self.place.direction();
        let angle = (self.kilometres / EARTH_RADIUS).min(std::f64::consts::PI);
        let farthest = (2.0 * (angle / 2.0).sin()).powi(2) as f32;
        move |direction| {
            let squares = direction.iter().zip(&middle).map(|(of, middle)| (of - middle).powi(2));
            squares.sum::<f32>() <= farthest
        }
    }
}

/// Whether a folder's path, in lower case and with a slash at its end, lies below a folder as a person names it: by a path,
/// which begins the folder's, or by a name, which is one of its parts.
pub(super) fn is_below(folder: &str, named: &str) -> bool {
    let named = named.to_lowercase();
    match named.starts_with('/') {
        true => folder.starts_with(&format!("{}/", named.trim_end_matches('/'))),
        false => folder.contains(&format!("/{}/", named.trim_matches('/'))),
    }
}

fn is_condition(name: &str) -> bool {
    ["after", "before", "in", "-in", "camera", "near", "type"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// The words of a query; what stands in quotes behind a colon belongs to its word.
fn words_of(query: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in query.chars() {
        let last = words.last().map_or("", String::as_str);
        quoted = match character {
            '"' if quoted => false,
            '"' => last.ends_with(':'),
            _ => quoted,
        };
        if character.is_whitespace() && !quoted {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `2023`, `2023-06` or `2023-06-15`: the first day of it.
fn date(text: &str) -> Result<NaiveDate> {
    let mut parts = text.split('-').map(|part| part.parse::<u32>().ok());
    let mut next = |otherwise| parts.next().unwrap_or(Some(otherwise));
    let (year, month, day) = (next(0), next(1), next(1));
    let date = year.zip(month).zip(day).and_then(|((year, month), day)| {
        let year = i32::try_from(year).ok().filter(|year| (1000..=9999).contains(year))?;
        NaiveDate::from_ymd_opt(year, month, day)
    });
    date.filter(|_| parts.next().is_none())
        .ok_or_else(|| refused("a date such as 2023, 2023-06 or 2023-06-15", text))
}

fn folder(text: &str) -> Result<String> {
    if text.trim_matches('/').is_empty() {
        return Err(refused("the name or the path of a folder", text));
    }
    Ok(text.to_owned())
}

/// `48.858,2.294` or `48.858,2.294,5`.
fn vicinity(text: &str) -> Result<Vicinity> {
    let expected = "LATITUDE,LONGITUDE or LATITUDE,LONGITUDE,KILOMETRES in degrees, such as 48.858,2.294,5";
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    let (latitude, longitude, kilometres) = match numbers.as_deref() {
        Some([latitude, longitude]) => (*latitude, *longitude, NEAR),
        Some([latitude, longitude, kilometres]) => (*latitude, *longitude, *kilometres),
        _ => return Err(refused(expected, text)),
    };
    let place = Place::new(latitude, longitude).filter(|_| kilometres.is_finite() && kilometres > 0.0);
    Ok(Vicinity { place: place.ok_or_else(|| refused(expected, text))?, kilometres })
}

fn kind(text: &str) -> Result<MediaKind> {
    match text.to_lowercase().as_str() {
        "picture" | "pictures" | "photo" | "image" => Ok(MediaKind::Picture),
        "video" | "videos" => Ok(MediaKind::Video),
        _ => Err(refused("picture or video", text)),
    }
}

/// The days that a phrase means, from the first to the one after the last.
fn spoken_dates(phrase: &str, today: NaiveDate) -> Option<(NaiveDate, NaiveDate)> {
    let day = |year, month| NaiveDate::from_ymd_opt(year, month, 1);
    let year = today.year();
    match phrase {
        "today" => return Some((today, today.checked_add_days(Days::new(1))?)),
        "yesterday" => return Some((today.checked_sub_days(Days::new(1))?, today)),
        "last week" => {
            return Some((today.checked_sub_days(Days::new(7))?, today.checked_add_days(Days::new(1))?));
        }
        "last month" => {
            let this = day(year, today.month())?;
            return Some((this.checked_sub_months(Months::new(1))?, this));
        }
        "last year" => return Some((day(year - 1, 1)?, day(year, 1)?)),
        "this year" => return Some((day(year, 1)?, day(year + 1, 1)?)),
        _ => {}
    }
    if let Some(season) = phrase.strip_prefix("last ") {
        let month = match season {
            "spring" => 3,
            "summer" => 6,
            "autumn" | "fall" => 9,
            "winter" => 12,
            _ => return None,
        };
        // The latest that has ended.
        let ended = |year| {
            let first = day(year, month)?;
            let end = first.checked_add_months(Months::new(3))?;
            (end <= today).then_some((first, end))
        };
        return ended(year).or_else(|| ended(year - 1)).or_else(|| ended(year - 2));
    }
    let words = phrase.strip_prefix("in ")?;
    let is_year = words.len() == 4 && (words.starts_with("19") || words.starts_with("20"));
    let named: i32 = words.parse().ok().filter(|_| is_year)?;
    Some((day(named, 1)?, day(named + 1, 1)?))
}

/// The day it is here.
pub fn today() -> NaiveDate {
    Local::now().date_naive()
}

fn refused(expected: &str, found: &str) -> Error {
    let found: String = found.chars().take(80).collect();
    Error::Argument { operation: "filter", expected: expected.to_owned(), found: format!("`{found}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        date(text).unwrap()
    }

    #[test]
    fn conditions_are_taken_out_of_a_query() {
        let mut filter = PictureFilter::default();
        let query = "dog on the beach AFTER:2023-06 in:Holidays -in:\"Screen shots\" at 10:30 near:48.8,2.3,5 type:video";
        assert_eq!(filter.take_from(query).unwrap(), "dog on the beach at 10:30");
        assert_eq!(filter.after, Some(day("2023-06-01")));
        assert_eq!(
            (filter.folders.len(), filter.excluded_folders.as_slice()),
            (1, &["Screen shots".to_owned()][..])
        );
        assert_eq!(filter.near.unwrap().kilometres, 5.0);
        assert_eq!(filter.kind, Some(MediaKind::Video));
        let mut none = PictureFilter::default();
        assert_eq!(none.take_from("a \"quoted\" word: and a note").unwrap(), "a \"quoted\" word: and a note");
        assert!(none.is_empty());
    }

    #[test]
    fn what_no_picture_meets_is_refused() {
        for query in [
            "after:2023-13",
            "after:tomorrow",
            "before:99999999999",
            "before:2023-01-01-01",
            "near:north",
            "near:91,0",
            "near:0,0",
            "near:1,1,-5",
            "near:1,1,NaN",
            "type:sound",
            "in:/",
            "after:2024 before:2023",
            "after:2023 before:2023",
        ] {
            let error = PictureFilter::default().take_from(query).unwrap_err().to_string();
            assert!(error.starts_with("filter: expected "), "{query}: {error}");
        }
    }

    #[test]
    fn a_date_in_words_is_taken_where_something_else_is_left() {
        let split = |query: &str, today| PictureFilter::default().split(query, today).unwrap();
        let found = split("a dog last summer in:Holidays", Some(day("2026-11-29")));
        assert_eq!((found.words.as_str(), found.filter.folders.len()), ("a dog", 1));
        assert_eq!(found.spoken, Some((day("2026-06-01"), day("2026-09-01"))));
        assert_eq!(found.filter.after, Some(day("2026-06-01")));
        for (query, today) in [("last summer", Some(day("2026-11-29"))), ("a dog last summer", None)] {
            let left = split(query, today);
            assert_eq!((left.words.as_str(), left.spoken, left.filter.is_empty()), (query, None, true));
        }
    }

    #[test]
    fn dates_in_words_are_taken_once() {
        let today = day("2026-11-29");
        for (query, rest, after, before) in [
            ("the dog in 2019 at home", "the dog at home", "2019-01-01", "2020-01-01"),
            ("last summer at the lake", "at the lake", "2026-06-01", "2026-09-01"),
            ("Last winter", "", "2025-12-01", "2026-03-01"),
            ("cake yesterday", "cake", "2026-11-28", "2026-11-29"),
            ("skiing last month", "skiing", "2026-10-01", "2026-11-01"),
        ] {
            let mut filter = PictureFilter::default();
            assert_eq!(filter.take_date_from(query, today), rest);
            assert_eq!((filter.after, filter.before), (Some(day(after)), Some(day(before))), "{query}");
            assert_eq!(filter.take_date_from("in 2001", today), "in 2001", "one date is enough");
        }
        let mut filter = PictureFilter::default();
        assert_eq!(filter.take_date_from("the last dog in 12 boxes", today), "the last dog in 12 boxes");
        assert!(filter.is_empty());
    }
}
