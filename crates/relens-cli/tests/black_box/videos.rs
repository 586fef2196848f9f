//! Containers of video through `ffmpeg`, which is looked for on the PATH: a script stands for it here.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::workplace::{Workplace, errors};

/// Tells a length of two seconds; when asked for frames, checks the rate and gives two copies of a picture.
const FAKE_FFMPEG: &str = r#"#!/bin/sh
for last; do :; done
case "$*" in
*-vf*) ;;
*) echo "  Duration: 00:00:02.00, start: 0.000000, bitrate: 1205 kb/s" >&2; exit 1 ;;
esac
case "$*" in
*"-i file:"*"clip.mp4 -vf fps=6.000000 -frames:v 12 "*) ;;
*) echo "unexpected: $*" >&2; exit 1 ;;
esac
folder=${last%/*}
cp "$FRAME" "$folder/00001.png"
cp "$FRAME" "$folder/00002.png"
"#;

fn script(path: &Path, content: &str) {
    fs_err::write(path, content).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A workplace with a picture, something called a video, and a PATH with nothing but `programs`.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    workplace.pictures(".", 1);
    fs_err::write(workplace.path("clip.mp4"), "not really").unwrap();
    fs_err::create_dir(workplace.path("programs")).unwrap();
    workplace
}

fn embedded(workplace: &Workplace, file: &str) -> assert_cmd::Command {
    let path = format!("{}:/usr/bin:/bin", workplace.path("programs").display());
    let mut command = workplace.relens(&["embed", "--image", file, "--json"]);
    command.env("PATH", path).env("FRAME", workplace.path("picture-000.png"));
    command
}

#[test]
fn a_container_is_the_mean_of_the_frames_that_ffmpeg_gives() {
    let workplace = workplace();
    script(&workplace.path("programs/ffmpeg"), FAKE_FFMPEG);
    let vector = |file: &str| -> Vec<f64> {
        let assert = embedded(&workplace, file).assert().success();
        let line: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
        serde_json::from_value(line["embedding"].clone()).unwrap()
    };
    for (video, frame) in vector("clip.mp4").into_iter().zip(vector("picture-000.png")) {
        assert!((video - frame).abs() < 1e-5, "{video}, the frame alone {frame}");
    }
}

#[test]
fn an_ffmpeg_that_fails_is_told_with_its_words() {
    let workplace = workplace();
    script(&workplace.path("programs/ffmpeg"), "#!/bin/sh\necho 'moov atom not found' >&2\nexit 1\n");
    let assert = embedded(&workplace, "clip.mp4").assert().code(1);
    let errors = errors(&assert);
    assert!(errors.contains("clip.mp4") && errors.contains("moov atom not found"), "{errors}");
}

#[test]
fn without_ffmpeg_the_error_says_what_to_do() {
    let workplace = workplace();
    let programs = workplace.path("programs");
    let assert = embedded(&workplace, "clip.mp4").env("PATH", programs).assert().code(1);
    let errors = errors(&assert);
    for part in ["clip.mp4", "expected the program `ffmpeg` on the PATH", "folder of frames"] {
        assert!(errors.contains(part), "{errors}");
    }
}
