//! Which pictures are looked among, what is shown of them, downloads, and bringing the library up to date.

use std::io::{Cursor, Read};
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, fill, ids, paths};

fn paint(path: &Path, color: [u8; 3]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(32, 32, image::Rgb(color)).save(path).unwrap();
}

/// A world of two folders with a red and a green picture each.
fn world_of(directory: &Path) -> World {
    for (folder, color) in [("summer", [255, 0, 0]), ("winter", [0, 255, 0])] {
        paint(&directory.join("pictures").join(folder).join("red.png"), [255, 0, color[1]]);
        paint(&directory.join("pictures").join(folder).join("green.png"), [color[0], 255, 0]);
    }
    let library = directory.join("library");
    fill(&library, &directory.join("pictures"));
    World::with(|config| config.library = library)
}

#[tokio::test]
async fn conditions_count_in_the_query_and_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let world = world_of(directory.path());
    let search = async |body: Value| world.post("/api/v1/search", body).await;
    let beside = search(json!({"query": "red", "filters": {"in": ["summer"]}})).await.ok();
    assert_eq!(beside["total"], 2);
    assert!(paths(&beside).iter().all(|path| path.contains("/summer/")), "{beside}");
    let within = search(json!({"query": "red in:summer"})).await.ok();
    assert_eq!((ids(&within), &within["rewrites"][0]["query"]), (ids(&beside), &json!("red")));
    let excluded = search(json!({"query": "red", "filters": {"not_in": ["summer"]}})).await.ok();
    assert!(paths(&excluded).iter().all(|path| path.contains("/winter/")), "{excluded}");
    assert_eq!(search(json!({"query": "red", "filters": {"after": "2999"}})).await.ok()["total"], 0);
    // What is liked need not be among what is looked for.
    let liked = json!({"like": [ids(&beside)[0]], "filters": {"in": ["winter"]}});
    assert_eq!(paths(&search(liked).await.ok()).len(), 2);
    for (filters, field) in [
        (json!({"after": "tomorrow"}), "filters.after"),
        (json!({"near": "north"}), "filters.near"),
        (json!({"after": "2024", "before": "2023"}), "query"),
        (json!({"in": vec!["a"; 101]}), "filters.in"),
        (json!({"colour": "red"}), "filters.colour"),
    ] {
        let refused = search(json!({"query": "red", "filters": filters})).await;
        assert_eq!(refused.problem(400), field, "{filters}");
    }
}

#[tokio::test]
async fn what_probably_does_not_fit_is_below_the_line_or_left_out() {
    let world = World::new();
    let search = async |body: Value| world.post("/api/v1/search", body).await;
    let nonsense = search(json!({"query": "an x-ray of a hand"})).await.ok();
    assert_eq!(nonsense["line"], 0, "{nonsense}");
    let cat = search(json!({"query": "a cat", "k": 40})).await.ok();
    let fits = |hit: &Value| hit["fits"].as_f64().unwrap();
    let hits = cat["hits"].as_array().unwrap();
    assert!(fits(&hits[0]) > fits(hits.last().unwrap()) && cat["line"].as_u64().unwrap() >= 1, "{cat}");
    let least = fits(&hits[1]);
    let fitting = search(json!({"query": "a cat", "k": 40, "min_fit": least})).await.ok();
    assert!(ids(&fitting).len() < 40 && ids(&fitting)[0] == ids(&cat)[0]);
    let second = search(json!({"query": "a cat", "k": 20, "offset": 5})).await.ok();
    assert_eq!(second["line"], cat["line"], "the line stands where it does on every page");
    assert_eq!(search(json!({"query": "a cat", "min_fit": 2})).await.problem(400), "min_fit");
    let plain = json!({"query": "a cat", "min_fit": 0.5, "enhancer": "identity"});
    assert_eq!(search(plain).await.problem(400), "min_fit");
}

#[tokio::test]
async fn pictures_whose_files_are_missing_are_left_out_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let world = world_of(directory.path());
    std::fs::remove_file(directory.path().join("pictures/summer/red.png")).unwrap();
    let found = world.post("/api/v1/search", json!({"query": "red"})).await.ok();
    assert_eq!((ids(&found).len(), &found["left_out"]), (3, &json!(1)));
    let all = world.post("/api/v1/search", json!({"query": "red", "missing": true})).await.ok();
    assert_eq!((ids(&all).len(), &all["left_out"]), (4, &json!(0)));
}

#[tokio::test]
async fn several_pictures_come_in_one_archive() {
    let directory = tempfile::tempdir().unwrap();
    let world = world_of(directory.path());
    let found = world.post("/api/v1/search", json!({"query": "red"})).await.ok();
    std::fs::remove_file(paths(&found)[3]).unwrap();
    let listed = ids(&found).iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let answer = world.get(&format!("/api/v1/images/zip?ids={listed}")).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["content-type"]),
        (200, &"application/zip".parse().unwrap())
    );
    let mut archive = zip::ZipArchive::new(Cursor::new(answer.body)).unwrap();
    assert_eq!(archive.len(), 4, "three pictures, and what is missing");
    let first = Path::new(paths(&found)[0]).file_name().unwrap().to_str().unwrap().to_owned();
    let mut bytes = Vec::new();
    archive.by_name(&first).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, std::fs::read(paths(&found)[0]).unwrap());
    let mut missing = String::new();
    archive.by_name("cannot be read.txt").unwrap().read_to_string(&mut missing).unwrap();
    assert_eq!(missing, paths(&found)[3]);
    for ids in ["", "1,x", "-1", "1,,2"] {
        assert_eq!(world.get(&format!("/api/v1/images/zip?ids={ids}")).await.problem(400), "ids");
    }
    world.get("/api/v1/images/zip?ids=99999").await.problem(404);
    world.get("/api/v1/images/zip").await.problem(400);
}

/// The names and data of server-sent events.
fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = String::from_utf8(body.to_vec()).unwrap();
    let event = |event: &str| {
        let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        (name.to_owned(), serde_json::from_str(data).unwrap())
    };
    text.split_terminator("\n\n").map(event).collect()
}

#[tokio::test]
async fn the_library_is_brought_up_to_date_with_its_own_folders_only() {
    let directory = tempfile::tempdir().unwrap();
    let world = world_of(directory.path());
    assert_eq!(world.get("/api/v1/ready").await.ok()["pictures"], 4);
    paint(&directory.path().join("pictures/summer/blue.png"), [0, 0, 255]);
    let answer = world.post("/api/v1/index", json!({})).await;
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    let told = events(&answer.body);
    let (name, counts) = told.last().unwrap();
    assert_eq!((name.as_str(), &counts["added"], &counts["unchanged"]), ("done", &json!(1), &json!(4)));
    assert!(told.iter().any(|(name, _)| name == "progress"), "{told:?}");
    let mut pictures = json!(4);
    // Reading is given a rest of some milliseconds.
    while pictures == 4 {
        pictures = world.get("/ready").await.ok()["pictures"].clone();
    }
    assert_eq!(pictures, 5);

    let below = directory.path().join("pictures/winter");
    assert_eq!(world.post("/api/v1/index", json!({"directory": below})).await.status, 200);
    for other in ["/etc", "/", "../..", "nowhere"] {
        let refused = world.post("/api/v1/index", json!({"directory": other})).await;
        assert_eq!(refused.problem(403), "directory", "{other}");
    }
    let out = directory.path().join("pictures/out");
    std::os::unix::fs::symlink("/etc", &out).unwrap();
    world.post("/api/v1/index", json!({"directory": out})).await.problem(403);
    let held = relens::library::Library::lock(&directory.path().join("library"), |_| false).unwrap();
    world.post("/api/v1/index", json!({})).await.problem(409);
    drop(held);
    let read_only = World::with(|config| config.read_only = true);
    read_only.post("/api/v1/index", json!({})).await.problem(403);
}
