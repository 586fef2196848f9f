//! A fresh directory for each test, and the real binary run in it.

use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, Stdio};
use std::sync::OnceLock;

use assert_cmd::assert::Assert;
use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::model_directory;

/// A directory of its own, with relens's home, bundled data and library in it.
pub(crate) struct Workplace {
    root: tempfile::TempDir,
}

impl Workplace {
    /// With a small random model as the bundled `relens-mini`.
    pub(crate) fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// A path inside the directory.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(relative)
    }

    /// The real binary, in this directory.
    pub(crate) fn relens<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> assert_cmd::Command {
        assert_cmd::Command::from_std(self.process(arguments))
    }

    /// The same as a plain process, to be spawned and signalled.
    pub(crate) fn process<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> StdCommand {
        let mut command = StdCommand::new(assert_cmd::cargo::cargo_bin!("relens"));
        command
            .args(arguments)
            .current_dir(self.root.path())
            .env("RELENS_HOME", self.path("home"))
            .env("RELENS_DATA", bundled_data())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null());
        command
    }

    /// Lets `process` run as a user who owns nothing but this directory; whether that is possible here.
    #[cfg(unix)]
    pub(crate) fn give_to_nobody(&self, process: &mut StdCommand) -> bool {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;

        const NOBODY: u32 = 65_534;
        let open = |path: &Path| fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o777));
        for path in [self.root.path(), bundled_data()] {
            open(path).unwrap();
        }
        let binary = assert_cmd::cargo::cargo_bin!("relens");
        let runs = StdCommand::new(binary).arg("--version").uid(NOBODY).gid(NOBODY).output();
        let possible = runs.is_ok_and(|output| output.status.success());
        if possible {
            process.uid(NOBODY).gid(NOBODY);
        }
        possible
    }

    /// Runs to success; the text on standard output.
    pub(crate) fn output<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> String {
        let assert = self.relens(arguments).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    }

    /// Runs to success; standard output as one JSON value.
    pub(crate) fn json<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Value {
        serde_json::from_str(&self.output(arguments)).unwrap()
    }

    /// Writes `count` different pictures to `directory`; their paths.
    pub(crate) fn pictures(&self, directory: &str, count: usize) -> Vec<PathBuf> {
        fs_err::create_dir_all(self.path(directory)).unwrap();
        (0..count)
            .map(|number| {
                let path = self.path(directory).join(format!("picture-{number:03}.png"));
                picture(number).save(&path).unwrap();
                path
            })
            .collect()
    }
}

/// A picture that no other number gives: stripes of two colours.
pub(crate) fn picture(number: usize) -> RgbImage {
    let seed = (number as u32 + 1).wrapping_mul(2_654_435_761);
    let [red, green, blue, width] = seed.to_be_bytes();
    RgbImage::from_fn(96, 72, |x, y| {
        let stripe = (x + y * (number as u32 % 5)) / (4 + u32::from(width) % 24);
        if stripe.is_multiple_of(2) { Rgb([red, green, blue]) } else { Rgb([blue, red, 255 - green]) }
    })
}

/// What went to standard error.
pub(crate) fn errors(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

/// A data directory whose bundled model is a small random one, made once for all tests.
fn bundled_data() -> &'static Path {
    static DATA: OnceLock<tempfile::TempDir> = OnceLock::new();
    DATA.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        model_directory::write(&directory.path().join("models/relens-mini"), 1);
        directory
    })
    .path()
}
