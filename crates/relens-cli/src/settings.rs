//! What a person sets once instead of typing it with every command: `config.toml` in relens's own directory.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use relens::home::HOME_VARIABLE;
use relens_models::image_preprocessing::DecodeLimits;
use relens_models::regular_file::{self, FileKind};
use serde::{Deserialize, Serialize};

/// The settings file inside relens's own directory.
const SETTINGS_FILE: &str = "config.toml";

/// Defaults of options; what is typed comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UserConfig {
    /// `--library`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) library: Option<PathBuf>,
    /// `--model` of the commands that make vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// `--jobs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// `-k` of `search`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) results: Option<u32>,
    /// Whether `index` follows symbolic links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) follow_links: Option<bool>,
    /// Millions of pixels that a picture may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_megapixels: Option<NonZeroU32>,
}

/// Every key of the file, with what it sets.
pub(crate) const KEYS: [(&str, &str); 6] = [
    ("library", "the library that is used without --library, a directory"),
    ("model", "the model that is used without --model, a name or a directory"),
    ("jobs", "how many threads decode and embed pictures"),
    ("results", "how many pictures `search` shows"),
    ("follow_links", "whether `index` follows symbolic links: true or false"),
    ("max_megapixels", "how large pictures may be (16 MB a megapixel); 100 if not set"),
];

/// Where the file lies.
pub(crate) fn path() -> Result<PathBuf> {
    Ok(home()?.join(SETTINGS_FILE))
}

/// The settings, read once.
///
/// # Errors
/// The file cannot be read, has a key that there is not, or a value that does not fit.
pub(crate) fn settings() -> Result<&'static UserConfig> {
    static SETTINGS: OnceLock<UserConfig> = OnceLock::new();
    match SETTINGS.get() {
        Some(settings) => Ok(settings),
        None => Ok(SETTINGS.get_or_init({
            let read = read()?;
            || read
        })),
    }
}

/// Lets decoders heed what is set for pictures.
pub(crate) fn apply_to_pictures() {
    // Commands that need the file say what is wrong with it; those that mend it have to run.
    if let Some(megapixels) = settings().ok().and_then(|settings| settings.max_megapixels) {
        DecodeLimits::set_pixels_of_process(u64::from(megapixels.get()) * 1_000_000);
    }
}

fn read() -> Result<UserConfig> {
    // Without a home there are no settings either; whoever needs one says so.
    let Ok(path) = path() else { return Ok(UserConfig::default()) };
    if !path.exists() {
        return Ok(UserConfig::default());
    }
    parse(&regular_file::read_to_string(&path, FileKind::Settings)?)
        .with_context(|| format!("{}: cannot be used; `relens config set` changes it", path.display()))
}

/// UserConfig from a file's text.
///
/// # Errors
/// A key that there is not, or a value that does not fit, with its place.
pub(crate) fn parse(text: &str) -> Result<UserConfig> {
    Ok(toml::from_str(text)?)
}

/// relens's own directory, as [`relens::home`] says.
///
/// # Errors
/// When none of the environment variables that could name it is set.
pub(crate) fn home() -> Result<PathBuf> {
    relens::home::directory().with_context(|| {
        format!("no home directory is known: set {HOME_VARIABLE}, or name one with --library")
    })
}
