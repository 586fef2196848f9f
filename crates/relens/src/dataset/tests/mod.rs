mod archives;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn written(directory: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    fs_err::write(&path, content).unwrap();
    path
}

/// The dataset in `content`, and the format that was recognised.
fn opened(name: &str, content: &str) -> (Dataset, DatasetFormat) {
    let directory = TempDir::new().unwrap();
    let path = written(&directory, name, content);
    (Dataset::open(&path, Path::new("pictures")).unwrap(), DatasetFormat::detect(&path).unwrap())
}

/// The error message for `content`, with the temporary directory taken out.
fn refusal(content: impl AsRef<[u8]>) -> String {
    let directory = TempDir::new().unwrap();
    let path = written(&directory, "file", content);
    let error = Dataset::open(&path, Path::new("pictures")).unwrap_err();
    error.to_string().replace(&path.display().to_string(), "FILE")
}

fn image(id: u64, path: &str, split: Split, captions: &[&str]) -> DatasetImage {
    let captions = captions.iter().map(|&caption| caption.to_owned()).collect();
    DatasetImage { id, path: Path::new("pictures").join(path), split, captions }
}

const KARPATHY: &str = r#"{"dataset": "tiny", "images": [
    {"filename": "a.jpg", "imgid": 7, "split": "train", "sentences": [{"raw": " A dog . ", "tokens": ["a"]}]},
    {"filename": "b.jpg", "split": "restval", "sentences": []},
    {"filename": "c.jpg", "split": "val", "sentences": [{"raw": "x"}, {"raw": "  "}, {"raw": "y"}]}]}"#;

#[test]
fn karpathy_json_is_read_with_its_splits() {
    let (dataset, format) = opened("dataset_tiny.json", KARPATHY);
    assert_eq!(format, DatasetFormat::Karpathy);
    assert_eq!(dataset.name, "tiny");
    let expected = [
        image(7, "a.jpg", Split::Train, &["A dog ."]),
        image(1, "b.jpg", Split::RestVal, &[]),
        image(2, "c.jpg", Split::Val, &["x", "y"]),
    ];
    assert_eq!(dataset.images, expected);
    assert_eq!(dataset.split("val").unwrap().images, expected[2..]);
    assert_eq!(dataset.split("train+restval").unwrap().images, expected[..2]);
    assert_eq!(dataset.split("all").unwrap(), dataset);
    let error = dataset.split("test").unwrap_err().to_string();
    assert_eq!(error, "tiny: expected one of the splits all, train, restval, val, found `test`");
    assert_eq!(dataset.captions().collect::<Vec<_>>(), [(0, "A dog ."), (2, "x"), (2, "y")]);
    assert_eq!(dataset.caption_count(), 3);
}

#[test]
fn a_karpathy_filepath_is_used_where_the_directory_exists() {
    let directory = TempDir::new().unwrap();
    fs_err::create_dir(directory.path().join("val2014")).unwrap();
    let json = r#"{"images": [
        {"filename": "a.jpg", "filepath": "val2014", "split": "val", "sentences": []},
        {"filename": "b.jpg", "filepath": "train2014", "split": "val", "sentences": []}]}"#;
    let path = written(&directory, "coco.json", json);
    let dataset = Dataset::open(&path, directory.path()).unwrap();
    assert_eq!(dataset.name, "coco");
    assert_eq!(dataset.images[0].path, directory.path().join("val2014/a.jpg"));
    assert_eq!(dataset.images[1].path, directory.path().join("b.jpg"));
}

#[test]
fn coco_captions_are_joined_by_image_id() {
    let json = r#"{"info": {}, "images": [{"id": 9, "file_name": "a.jpg"}, {"id": 4, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 4, "id": 1, "caption": "one"}, {"image_id": 9, "caption": "two\n"},
                        {"image_id": 4, "caption": "three"}]}"#;
    let (dataset, format) = opened("captions_val2017.json", json);
    assert_eq!(format, DatasetFormat::CocoCaptions);
    assert_eq!(dataset.name, "captions_val2017");
    let expected = [
        image(9, "a.jpg", Split::Unassigned, &["two"]),
        image(4, "b.jpg", Split::Unassigned, &["one", "three"]),
    ];
    assert_eq!(dataset.images, expected);
}

#[test]
fn flickr8k_tokens_take_their_splits_from_the_lists_beside_them() {
    let directory = TempDir::new().unwrap();
    let tokens = "a.jpg#0\tA dog .\r\na.jpg#1\tA cat .\n\nb#1.jpg#0\tA # hash\n";
    let path = written(&directory, "Flickr8k.token.txt", tokens);
    written(&directory, "Flickr_8k.trainImages.txt", "a.jpg\n");
    written(&directory, "Flickr_8k.devImages.txt", "b#1.jpg\n");
    assert_eq!(DatasetFormat::detect(&path).unwrap(), DatasetFormat::Flickr8kTokens);
    let dataset = Dataset::open(&path, Path::new("pictures")).unwrap();
    let expected = [
        image(0, "a.jpg", Split::Train, &["A dog .", "A cat ."]),
        image(1, "b#1.jpg", Split::Val, &["A # hash"]),
    ];
    assert_eq!(dataset.images, expected);

    written(&directory, "Flickr_8k.testImages.txt", "a.jpg\n");
    let error = Dataset::open(&path, Path::new("pictures")).unwrap_err().to_string();
    assert!(error.contains("which is also in split"), "{error}");
}

#[test]
fn csv_with_tabs_or_commas_is_grouped_by_picture() {
    let tabs = "filepath\ttitle\na.jpg\tone\nb.jpg\ttwo, with a comma\na.jpg\tthree\n";
    let commas = "\u{feff}title,filepath\none,a.jpg\n\"two, with a comma\",b.jpg\nthree,a.jpg\n";
    for content in [tabs, commas] {
        let (dataset, format) = opened("data.csv", content);
        assert_eq!(format, DatasetFormat::ClipBenchmarkCsv);
        let expected = [
            image(0, "a.jpg", Split::Unassigned, &["one", "three"]),
            image(1, "b.jpg", Split::Unassigned, &["two, with a comma"]),
        ];
        assert_eq!(dataset.images, expected);
    }
}

#[test]
fn json_lines_have_captions_and_perhaps_a_split() {
    let lines = "{\"image\": \"a.jpg\", \"captions\": [\"one\", \"two\"], \"split\": \"dev\"}\n\
                 {\"image\": \"b.jpg\", \"caption\": \"three\"}\n{\"image\": \"c.jpg\"}\n";
    let (dataset, format) = opened("data.jsonl", lines);
    assert_eq!(format, DatasetFormat::JsonLines);
    let expected = [
        image(0, "a.jpg", Split::Val, &["one", "two"]),
        image(1, "b.jpg", Split::Unassigned, &["three"]),
        image(2, "c.jpg", Split::Unassigned, &[]),
    ];
    assert_eq!(dataset.images, expected);
}

#[test]
fn lines_of_one_picture_are_put_together() {
    let lines = ["a", "b", "a", "c", "b", "a"]
        .map(|name| format!("{{\"image\": \"{name}\", \"caption\": \"of {name}\"}}\n"));
    let (dataset, _) = opened("data.jsonl", &lines.concat());
    let counts: Vec<usize> = dataset.images.iter().map(|image| image.captions.len()).collect();
    assert_eq!(counts, [3, 2, 1]);
    assert_eq!(
        refusal("{\"image\": \"a\", \"split\": \"val\"}\n{\"image\": \"a\", \"split\": \"test\"}\n"),
        "FILE: line 2: expected split val for a, as in a line before, found split test"
    );
}

#[test]
fn coco_ids_may_be_texts() {
    let json = r#"{"images": [{"id": "x", "file_name": "a.jpg"}, {"id": "12", "file_name": "b.jpg"}],
        "annotations": [{"image_id": 12, "caption": "one"}, {"image_id": "x", "caption": "two"}]}"#;
    let (dataset, format) = opened("captions.json", json);
    assert_eq!(format, DatasetFormat::CocoCaptions);
    let expected =
        [image(0, "a.jpg", Split::Unassigned, &["two"]), image(1, "b.jpg", Split::Unassigned, &["one"])];
    assert_eq!(dataset.images, expected);
}

#[test]
fn a_comma_without_quotes_is_part_of_the_caption() {
    let commas = "filepath,title\na.jpg,one, two,three\nb, c.PNG,four\n\"d.jpg\",\"five, six\"\n";
    let (dataset, _) = opened("data.csv", commas);
    let expected = [
        image(0, "a.jpg", Split::Unassigned, &["one, two,three"]),
        image(1, "b, c.PNG", Split::Unassigned, &["four"]),
        image(2, "d.jpg", Split::Unassigned, &["five, six"]),
    ];
    assert_eq!(dataset.images, expected);
    let message = refusal("title,filepath\none, two,a.jpg\n");
    assert!(
        message.contains("line 2: expected 2 columns (a caption with a comma in it in quotes), found 3"),
        "{message}"
    );
}

#[test]
fn a_byte_order_mark_is_no_part_of_any_format() {
    let coco =
        r#"{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "x"}]}"#;
    for content in [
        KARPATHY,
        coco,
        "a.jpg#0\tx\n",
        "filepath\ttitle\na.jpg\tx\n",
        "{\"image\": \"a.jpg\", \"caption\": \"x\"}\n",
    ] {
        let marked = format!("\u{feff}{content}");
        assert_eq!(opened("file", &marked).0, opened("file", content).0, "{content}");
    }
}

#[test]
fn a_folder_is_walked_in_order_and_sidecars_are_captions() {
    let directory = TempDir::new().unwrap();
    fs_err::create_dir(directory.path().join("sub")).unwrap();
    for name in ["b.JPG", "a.png", "sub/c.webp", "notes.md", ".hidden.jpg"] {
        written(&directory, name, "");
    }
    written(&directory, "a.txt", "one\n\ntwo\n");
    let dataset = Dataset::open(directory.path(), directory.path()).unwrap();
    let paths: Vec<&Path> =
        dataset.images.iter().map(|image| image.path.strip_prefix(directory.path()).unwrap()).collect();
    assert_eq!(paths, [Path::new("a.png"), Path::new("b.JPG"), Path::new("sub/c.webp")]);
    assert_eq!(dataset.images[0].captions, ["one", "two"]);
    dataset.ensure_images_exist().unwrap();
}

#[test]
fn missing_pictures_are_counted_and_named() {
    let (dataset, _) = opened("dataset_tiny.json", KARPATHY);
    let error = dataset.ensure_images_exist().unwrap_err().to_string();
    let expected =
        "tiny: 3 of 3 pictures are missing under pictures (first: pictures/a.jpg, pictures/b.jpg, ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let missing_field =
        r#"{"images": [{"filename": "a.jpg", "split": "val", "sentences": [{"tokens": []}]}]}"#;
    let message = refusal(missing_field);
    assert!(message.starts_with("FILE: field `images[0].sentences[0]`: expected Karpathy JSON"), "{message}");
    assert!(message.contains("missing field `raw`"), "{message}");

    let unknown_id =
        r#"{"images": [{"id": 1, "file_name": "a"}], "annotations": [{"image_id": 2, "caption": "x"}]}"#;
    assert_eq!(
        refusal(unknown_id),
        "FILE: field `annotations[0].image_id`: expected the id of one of images[], found 2"
    );
    let twice =
        r#"{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}"#;
    assert_eq!(refusal(twice), "FILE: field `images[1].id`: expected an id that no other image has, found 1");

    assert_eq!(
        refusal("a.jpg#0\tone\nno tab\n"),
        "FILE: line 2: expected NAME#NUMBER, a tab, a caption, found `no tab`"
    );
    assert_eq!(
        refusal("filepath,title\na.jpg,one\nb.jpg\n"),
        "FILE: line 3: expected 2 columns (a caption with a comma in it in quotes), found 1"
    );
    assert_eq!(
        refusal("filepath,title\n,one\n"),
        "FILE: line 2: expected the path of a picture, found an empty field"
    );
    let message = refusal("{\"image\": \"a\"}\n{\"image\": 3}\n");
    assert!(message.starts_with("FILE: line 2: expected {\"image\": PATH"), "{message}");
    assert_eq!(
        refusal(b"a.jpg#0\tone\nb.jpg#0\t\xff\n"),
        "FILE: line 2: expected UTF-8 text, found other bytes at column 9"
    );
    assert_eq!(
        refusal(b"filepath\ttitle\na\t\xff\n"),
        "FILE: line 2: expected UTF-8 text, found other bytes"
    );
}

#[test]
fn a_file_in_no_known_format_is_shown() {
    for (content, found) in [
        ("", "an empty first line"),
        ("hello\nworld", "`hello`"),
        ("{\"labels\": []}", "a JSON object without `images`"),
        ("{\"images\": [", "broken JSON (EOF while parsing a list at line 1 column 12)"),
        ("\u{1}\u{2}", "`\\u{1}\\u{2}`"),
    ] {
        let message = refusal(content);
        assert!(message.starts_with("FILE: expected one of: Karpathy JSON; Flickr8k.token.txt"), "{message}");
        assert!(message.ends_with(&format!("found {found}")), "{message}");
    }
    let error = Dataset::open(Path::new("no/such/file"), Path::new(".")).unwrap_err().to_string();
    assert!(error.contains("no/such/file"), "{error}");
}

#[test]
fn flickr8k_itself_has_the_published_counts() {
    let shared = std::env::var_os("RELENS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let directory = shared.join("data/flickr8k");
    let annotations = directory.join("dataset_flickr8k.json");
    if !annotations.is_file() {
        eprintln!("skipped: {} is missing (RELENS_SHARED names another place)", annotations.display());
        return;
    }
    let dataset = Dataset::open(&annotations, &directory.join("images")).unwrap();
    let val = dataset.split("val").unwrap();
    assert_eq!((dataset.images.len(), dataset.caption_count()), (7000, 35_000));
    assert_eq!((val.images.len(), val.caption_count()), (1000, 5000));
    val.ensure_images_exist().unwrap();
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200), prefix in 0usize..6) {
        let directory = TempDir::new().unwrap();
        let beginnings = ["", "{\"images\": [", "a#0\t", "filepath\ttitle\n", "{\"image\": \"", "{"];
        let bytes = [beginnings[prefix].as_bytes(), &content].concat();
        let path = written(&directory, "file", bytes);
        for format in DatasetFormat::ALL {
            let _ = Dataset::open_as(format, &path, Path::new("pictures"));
        }
        let _ = Dataset::open(&path, Path::new("pictures"));
    }
}

#[test]
fn a_sample_is_the_same_for_the_same_seed() {
    let image = |id| DatasetImage {
        id,
        path: format!("{id}.jpg").into(),
        split: Split::Unassigned,
        captions: vec![],
    };
    let dataset = Dataset {
        name: "numbers".to_owned(),
        images_directory: ".".into(),
        images: (0..1000).map(image).collect(),
    };
    let ids = |sample: Dataset| sample.images.iter().map(|image| image.id).collect::<Vec<_>>();
    let drawn = ids(dataset.sample(30, 7));
    assert_eq!(drawn, ids(dataset.sample(30, 7)));
    assert_ne!(drawn, ids(dataset.sample(30, 8)));
    assert!(drawn.is_sorted() && drawn.len() == 30);
    assert_eq!(ids(dataset.sample(2000, 7)).len(), 1000);
}

#[test]
fn names_of_videos_find_their_files() {
    let directory = tempfile::tempdir().unwrap();
    fs_err::write(directory.path().join("video7020.mp4"), "").unwrap();
    fs_err::create_dir(directory.path().join("video7021.frames")).unwrap();
    let annotations = directory.path().join("MSRVTT_JSFUSION_test.csv");
    let content = "key,vid_key,video_id,sentence\nret0,msr7020,video7020,a woman sings\nret1,msr7021,video7021,\"a dog, running\"\n";
    fs_err::write(&annotations, content).unwrap();
    let dataset = Dataset::open(&annotations, directory.path()).unwrap();
    dataset.ensure_images_exist().unwrap();
    assert_eq!(dataset.images[0].path.file_name().unwrap(), "video7020.mp4");
    assert_eq!(dataset.images[1].captions, ["a dog, running"]);
}
