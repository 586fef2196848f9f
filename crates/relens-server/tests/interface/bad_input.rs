//! Whatever a client sends, the answer is a clear status and the server goes on.

use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::world::{World, request};

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_by_field() {
    let world = World::new();
    let long = "x".repeat(1 << 20);
    let cases: Vec<(Value, u16, &str)> = vec![
        (json!({"query": "a dog", "k": 2_147_483_648_u64}), 400, "k"),
        (json!({"query": "a dog", "k": 0}), 400, "k"),
        (json!({"query": "a dog", "k": -1}), 400, "k"),
        (json!({"query": "a dog", "offset": u64::MAX}), 400, "offset"),
        (json!({"query": long}), 400, "query"),
        (json!({"query": " \u{0}\n"}), 400, "query"),
        (json!({}), 400, "query"),
        (json!({"unlike": [1]}), 400, "query"),
        (json!({"query": 7}), 400, "query"),
        (json!({"query": "a dog", "colour": "red"}), 400, "colour"),
        (json!({"query": "a dog", "enhancer": "/etc/passwd"}), 400, "enhancer"),
        (json!({"query": "a dog", "enhancer": "x.toml"}), 400, "enhancer"),
        (json!({"vector": [1.0, 2.0]}), 400, "vector"),
        (json!({"vector": vec![0.0; 512]}), 400, "vector"),
        (json!({"terms": [{"text": "a dog", "id": 1}]}), 400, "terms[0]"),
        (json!({"terms": [{"text": "a dog", "weight": 1e30}, {"text": "x"}]}), 400, "terms[0].weight"),
        (json!({"terms": vec![json!({"text": "a"}); 1000]}), 400, "terms"),
        (json!({"query": "a dog", "like": vec![1; 5000]}), 400, "like"),
        (json!({"image": "not base64!"}), 400, "image"),
        (json!({"image": "http://127.0.0.1/a.png"}), 400, "image"),
        (json!({"image": BASE64.encode("no picture")}), 422, "image"),
        (json!(7), 400, "body"),
    ];
    for (body, status, field) in cases {
        let shown: String = body.to_string().chars().take(80).collect();
        assert_eq!(world.post("/api/v1/search", body).await.problem(status), field, "{shown}");
    }
    world.post("/api/v1/search", json!({"query": "a dog", "like": [987_654]})).await.problem(404);
    world.post("/api/v1/search", json!({"query": "a dog"})).await.ok();
}

#[tokio::test]
async fn bodies_that_are_no_json_too_large_or_of_another_kind_are_refused() {
    let world = World::with(|config| config.limits.body_bytes = 1 << 16);
    let send = async |kind: &str, body: Vec<u8>| {
        let request = request(Method::POST, "/api/v1/search").header("content-type", kind);
        world.send(request.body(Body::from(body)).unwrap()).await.status.as_u16()
    };
    assert_eq!(send("application/json", b"{\"query\": ".to_vec()).await, 400);
    assert_eq!(send("application/json", vec![0xff; 100]).await, 400);
    assert_eq!(send("application/json", b"[".repeat(60_000)).await, 400);
    assert_eq!(send("application/json", vec![b' '; 1 << 17]).await, 413);
    assert_eq!(send("text/plain", b"{\"query\": \"a dog\"}".to_vec()).await, 415);
    world.get("/api/v1/search").await.problem(405);
    world.get("/api/v1/nowhere").await.problem(404);
    world.get("/page/..%2f..%2fCargo.toml").await.problem(404);
}

/// A PNG of 30,000 × 30,000 white pixels in some kilobytes, without its data: what it says of itself is enough.
fn png_that_claims_to_be_huge() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], data: &[u8]| {
        png.extend((data.len() as u32).to_be_bytes());
        let body = [kind, data].concat();
        png.extend(&body);
        png.extend(crc32(&body).to_be_bytes());
    };
    let mut header = Vec::new();
    header.extend(30_000_u32.to_be_bytes());
    header.extend(30_000_u32.to_be_bytes());
    header.extend([8, 2, 0, 0, 0]);
    chunk(b"IHDR", &header);
    chunk(b"IDAT", &[0x78, 0x9c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01]);
    chunk(b"IEND", &[]);
    png
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[tokio::test]
async fn a_picture_that_unpacks_to_gigabytes_is_refused_before_memory_is_taken() {
    let world = World::new();
    let image = BASE64.encode(png_that_claims_to_be_huge());
    let answer = world.post("/api/v1/search", json!({"image": image})).await;
    assert_eq!(answer.problem(422), "image");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("50000000 pixels"), "{detail}");
    let answer = world.post("/api/v1/embed", json!({"images": [image]})).await;
    assert_eq!(answer.problem(422), "images[0]");
}

#[tokio::test]
async fn more_than_the_server_takes_at_once_is_refused() {
    let world = World::new();
    let texts = json!({"texts": vec!["a"; 5000]});
    assert_eq!(world.post("/api/v1/embed", texts).await.problem(400), "texts");
    assert_eq!(world.post("/api/v1/embed", json!({"images": vec![""; 100]})).await.problem(400), "images");
    assert_eq!(world.post("/api/v1/embed", json!({})).await.problem(400), "texts");
    let model = json!({"texts": ["a"], "model": "../../secret"});
    assert_eq!(world.post("/api/v1/embed", model).await.problem(404), "model");
}

#[tokio::test]
async fn a_library_that_vanishes_and_comes_back_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let (library, pictures) = (directory.path().join("library"), directory.path().join("pictures"));
    std::fs::create_dir(&pictures).unwrap();
    let world = World::with(|config| config.library.clone_from(&library));
    let search = async || world.post("/api/v1/search", json!({"query": "red", "k": 9})).await;
    search().await.problem(404);
    let paint = |name: &str, color: [u8; 3]| {
        image::RgbImage::from_pixel(32, 32, image::Rgb(color)).save(pictures.join(name)).unwrap();
    };
    paint("red.png", [255, 0, 0]);
    crate::world::fill(&library, &pictures);
    assert_eq!(search().await.ok()["total"], 1);
    paint("green.png", [0, 255, 0]);
    crate::world::fill(&library, &pictures);
    // Reading is given a rest of some milliseconds.
    let mut total = json!(1);
    while total == 1 {
        total = search().await.ok()["total"].clone();
    }
    assert_eq!(total, 2);
    std::fs::remove_dir_all(&library).unwrap();
    search().await.problem(404);
    crate::world::fill(&library, &pictures);
    assert_eq!(search().await.ok()["total"], 2);
}
