//! Pictures and captions in tar and Parquet shards.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Dataset, DatasetFormat, written};
use crate::pictures::video::read_frames;

fn shard(path: &Path, entries: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(fs_err::File::create(path).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.finish().unwrap();
}

#[test]
fn webdataset_shards_are_read_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let picture = directory.path().join("red.png");
    image_of(&picture);
    let bytes = fs_err::read(&picture).unwrap();
    fs_err::remove_file(&picture).unwrap();
    shard(
        &directory.path().join("00000.tar"),
        &[
            ("000000000.png", &bytes),
            ("000000000.txt", b"a red square\n"),
            ("000000000.json", br#"{"caption": "not this one", "url": "x"}"#),
            ("000000001.png", &bytes),
            ("000000001.json", br#"{"caption": "told by JSON"}"#),
            ("000000002.txt", b"a caption without a picture"),
            ("000000003.png", &bytes),
            ("000000004.PNG", &bytes),
            ("000000004.TXT", "\u{feff}one line\r\n\nanother line\n".as_bytes()),
        ],
    );
    shard(&directory.path().join("00001.tar"), &[("dir/k.png", &bytes), ("dir/k.txt", b"another")]);
    let dataset = Dataset::open(directory.path(), directory.path()).unwrap();
    let captions: Vec<&str> = dataset.captions().map(|(_, caption)| caption).collect();
    assert_eq!(captions, ["a red square", "told by JSON", "one line", "another line", "another"]);
    assert_eq!(dataset.images.iter().map(|image| image.captions.len()).collect::<Vec<_>>(), [1, 1, 0, 2, 1]);
    dataset.ensure_images_exist().unwrap();
    for image in &dataset.images {
        assert_eq!(read_frames(&image.path).unwrap()[0].dimensions(), (3, 2));
    }
    let one = Dataset::open(&directory.path().join("00001.tar"), directory.path()).unwrap();
    assert_eq!(one.images.len(), 1);
}

#[test]
fn damaged_shards_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000.tar");
    shard(&path, &[("a.txt", &[b'x'; 4000]), ("b.txt", b"y")]);
    let whole = fs_err::read(&path).unwrap();
    let cut = directory.path().join("cut.tar");
    fs_err::write(&cut, &whole[..2000]).unwrap();
    let message = Dataset::open(&cut, directory.path()).unwrap_err().to_string();
    assert!(message.contains("cut.tar"), "{message}");
}

fn image_of(path: &Path) {
    relens_models::image_preprocessing::RgbImage::new(3, 2).save(path).unwrap();
}

/// Written by tools/reference/make_parquet_fixture.py.
fn parquet_fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/img2dataset.parquet")
}

#[test]
fn parquet_with_pictures_is_read_in_place() {
    let directory = TempDir::new().unwrap();
    fs_err::copy(parquet_fixture(), directory.path().join("00000.parquet")).unwrap();
    fs_err::write(directory.path().join("00000_stats.json"), "{}").unwrap();
    let mut paths = vec![parquet_fixture(), directory.path().to_owned()];
    // pyarrow's default is Snappy.
    for compression in ["brotli", "gzip", "lz4", "zstd"] {
        paths.push(parquet_fixture().with_file_name(format!("img2dataset-{compression}.parquet")));
    }
    for path in paths {
        assert_eq!(DatasetFormat::detect(&path).unwrap(), DatasetFormat::Parquet);
        let dataset = Dataset::open(&path, Path::new("elsewhere")).unwrap();
        let captions: Vec<&str> = dataset.captions().map(|(_, caption)| caption).collect();
        assert_eq!(captions, ["a red rectangle", "une image\trouge", "一张红色的图片"]);
        dataset.ensure_images_exist().unwrap();
        let sizes: Vec<(u32, u32)> =
            dataset.images.iter().map(|image| read_frames(&image.path).unwrap()[0].dimensions()).collect();
        assert_eq!(sizes, [(5, 4), (8, 8), (3, 3), (6, 7)], "the third has no caption");
    }
    let missing = read_frames(&parquet_fixture().join("nothing.jpg")).unwrap_err().to_string();
    assert!(missing.contains("img2dataset.parquet") && missing.contains("nothing.jpg"), "{missing}");
}

#[test]
fn damaged_parquet_is_refused_by_name_at_every_length() {
    let directory = TempDir::new().unwrap();
    let whole = fs_err::read(parquet_fixture()).unwrap();
    for length in (0..whole.len()).step_by(37) {
        let path = written(&directory, &format!("{length}.parquet"), &whole[..length]);
        let message = Dataset::open(&path, Path::new("")).unwrap_err().to_string();
        assert!(message.contains(&format!("{length}.parquet")), "{message}");
    }
    for position in (0..whole.len()).step_by(13) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x5a;
        let path = written(&directory, &format!("changed-{position}.parquet"), &bytes);
        if let Ok(dataset) = Dataset::open(&path, Path::new("")) {
            dataset.images.iter().for_each(|image| drop(read_frames(&image.path)));
        }
    }
}
