//! Where a person's own things are kept: the default library, the edited knowledge base, settings, caches.

use std::path::PathBuf;

/// The environment variable that names relens's own directory.
pub const HOME_VARIABLE: &str = "RELENS_HOME";

/// relens's own directory: `RELENS_HOME`, or the place where the system keeps users' data. `None` when none of the
/// environment variables that could name it is set.
pub fn directory() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set(HOME_VARIABLE)
        .or_else(|| set("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(|path| path.join("relens")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".local/share/relens")))
}
