//! Files that keep what people type or own: nobody else on the computer reads them.

use std::path::Path;

/// Makes an empty file that its owner alone can read, if there is none. Where that cannot be done, whoever fills the
/// file finds out and says why.
pub(crate) fn create(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path));
}

/// Takes the right to read a file from everybody but its owner. Not every file system knows owners.
pub(crate) fn restrict(path: &Path) {
    #[cfg(unix)]
    drop(std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)));
    #[cfg(not(unix))]
    let _ = path;
}
