//! Searching, embedding, rewriting, pictures, judgements.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use crate::world::{World, gallery, ids, paths};

fn a_picture() -> Vec<u8> {
    let mut files: Vec<_> =
        std::fs::read_dir(gallery()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    files.sort();
    std::fs::read(&files[0]).unwrap()
}

#[tokio::test]
async fn a_text_finds_pictures_and_says_what_it_was_rewritten_to() {
    let world = World::new();
    let answer = world.post("/api/v1/search", json!({"query": "a pooch in the snow", "k": 5})).await.ok();
    assert_eq!(ids(&answer).len(), 5);
    let scores: Vec<f64> =
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    let rewrite = &answer["rewrites"][0];
    assert_eq!(rewrite["query"], "a pooch in the snow");
    let trace = rewrite["trace"].to_string();
    assert!(trace.contains("pooch") && trace.contains("dog"), "{trace}");

    let plain = json!({"query": "a pooch in the snow", "k": 5, "enhancer": "identity"});
    let plain = world.post("/api/v1/search", plain).await.ok();
    assert_eq!(plain["rewrites"][0]["texts"], json!([{"text": "a pooch in the snow", "weight": 1.0}]));
    let rewritten = world.post("/api/v1/rewrite", json!({"query": "a pooch in the snow"})).await.ok();
    assert_eq!(rewritten["texts"], rewrite["texts"]);
}

#[tokio::test]
async fn a_word_that_is_to_be_kept_is_not_rewritten() {
    let world = World::new();
    let request = json!({"query": "a pooch and a lad", "keep": ["Pooch"], "k": 3});
    let rewrite = world.post("/api/v1/search", request.clone()).await.ok()["rewrites"][0].clone();
    let trace = rewrite["trace"].to_string();
    assert!(trace.contains("\"lad\"") && !trace.contains("\"pooch\""), "{trace}");
    let alone = json!({"query": "a pooch and a lad", "keep": ["Pooch"]});
    assert_eq!(world.post("/api/v1/rewrite", alone).await.ok()["texts"], rewrite["texts"]);
}

#[tokio::test]
async fn pages_of_an_answer_follow_each_other() {
    let world = World::new();
    let page = async |k: u64, offset: u64| {
        let request = json!({"query": "a bird", "k": k, "offset": offset});
        ids(&world.post("/api/v1/search", request).await.ok())
    };
    let (whole, first, second) = (page(10, 0).await, page(4, 0).await, page(6, 4).await);
    assert_eq!([first, second].concat(), whole);
    assert!(page(10, 100_000).await.is_empty());
}

#[tokio::test]
async fn a_picture_finds_itself_by_its_file_its_id_and_its_vector() {
    let world = World::new();
    let image = BASE64.encode(a_picture());
    let answer = world.post("/api/v1/search", json!({"image": image, "k": 3})).await.ok();
    let found = ids(&answer);
    assert!(answer["hits"][0]["score"].as_f64().unwrap() > 0.99, "{answer}");
    assert!(answer["rewrites"].as_array().unwrap().is_empty());

    let by_id = world.post("/api/v1/search", json!({"terms": [{"id": found[0]}], "k": 3})).await.ok();
    assert_eq!(ids(&by_id), found);
    let embedded = world.post("/api/v1/embed", json!({"images": [image]})).await.ok();
    let vector = &embedded["embeddings"][0];
    let by_vector = world.post("/api/v1/search", json!({"vector": vector, "k": 3})).await.ok();
    assert_eq!(ids(&by_vector), found);
    let similar = world.get(&format!("/api/v1/images/{}/similar?k=2", found[0])).await.ok();
    assert_eq!(ids(&similar), found[1..]);
}

#[tokio::test]
async fn liked_pictures_draw_near_and_disliked_ones_move_away() {
    let world = World::new();
    let query = "an animal";
    let plain = ids(&world.post("/api/v1/search", json!({"query": query, "k": 30})).await.ok());
    let (liked, disliked) = (plain[20], plain[0]);
    let request = json!({"query": query, "k": 30, "like": [liked], "unlike": [disliked]});
    let moved = ids(&world.post("/api/v1/search", request).await.ok());
    assert_eq!(moved[0], liked);
    let rank = |ids: &[u64]| ids.iter().position(|id| *id == disliked).unwrap_or(usize::MAX);
    assert!(rank(&moved) > rank(&plain));

    for (id, right) in [(liked, json!(true)), (disliked, json!(false))] {
        let judgement = json!({"query": query, "id": id, "right": right});
        world.post("/api/v1/judgements", judgement).await.ok();
    }
    let judged = world.post("/api/v1/search", json!({"query": query, "k": 30, "judged": true})).await.ok();
    assert_eq!(ids(&judged), moved, "judgements are kept, and count like likes");
    let kept = world.get("/api/v1/judgements?query=an%20animal").await.ok();
    assert_eq!(kept.as_array().unwrap().len(), 2);
    let taken_back = json!({"query": query, "id": liked, "right": null});
    assert_eq!(world.post("/api/v1/judgements", taken_back).await.ok().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn several_terms_are_added_up_with_their_weights() {
    let world = World::new();
    let alone = world.post("/api/v1/search", json!({"terms": [{"text": "a dog"}], "k": 8})).await.ok();
    let query = world.post("/api/v1/search", json!({"query": "a dog", "k": 8})).await.ok();
    assert_eq!(ids(&alone), ids(&query));
    let terms = json!([{"text": "a dog"}, {"text": "a flower", "weight": 0.0}]);
    let with_nothing = world.post("/api/v1/search", json!({"terms": terms, "k": 8})).await.ok();
    assert_eq!(ids(&with_nothing)[0], ids(&query)[0]);
    assert_eq!(with_nothing["rewrites"].as_array().unwrap().len(), 2);
    let cancelled = json!({"terms": [{"text": "a dog"}, {"text": "a dog", "weight": -1.0}]});
    world.post("/api/v1/search", cancelled).await.problem(422);
}

#[tokio::test]
async fn texts_have_the_same_vector_alone_and_together() {
    let world = World::new();
    let both = world.post("/api/v1/embed", json!({"texts": ["a dog", "two cats on a sofa"]})).await.ok();
    let one = world.post("/api/v1/embed", json!({"texts": ["a dog"]})).await.ok();
    assert_eq!(both["embeddings"][0], one["embeddings"][0]);
    assert_eq!(both["dim"].as_u64().unwrap() as usize, one["embeddings"][0].as_array().unwrap().len());
    let rewritten = json!({"texts": ["a pooch"], "enhancer": "default"});
    let rewritten = world.post("/api/v1/embed", rewritten).await.ok();
    let plain = world.post("/api/v1/embed", json!({"texts": ["a pooch"]})).await.ok();
    assert_ne!(rewritten["embeddings"], plain["embeddings"]);
}

#[tokio::test]
async fn pictures_come_by_their_ids_only() {
    let world = World::new();
    let found = world.post("/api/v1/search", json!({"query": "a dog", "k": 1})).await.ok();
    let (id, path) = (ids(&found)[0], paths(&found)[0]);
    let described = world.get(&format!("/api/v1/images/{id}")).await.ok();
    assert_eq!(described["path"], path);
    let original = world.get(&format!("/api/v1/images/{id}/original")).await;
    assert_eq!(original.body, std::fs::read(path).unwrap());
    assert_eq!(original.headers["x-content-type-options"], "nosniff");
    assert!(original.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let thumbnail = world.get(&format!("/api/v1/images/{id}/thumbnail?size=128")).await;
    assert_eq!(thumbnail.headers["content-type"], "image/jpeg");
    assert!(image::load_from_memory(&thumbnail.body).unwrap().width() <= 128);
    assert!(world.home.path().join("thumbnails").is_dir());
    for missing in ["999999", "999999/original", "999999/thumbnail", "999999/similar"] {
        world.get(&format!("/api/v1/images/{missing}")).await.problem(404);
    }
    world.get("/api/v1/images/..%2f..%2fetc%2fpasswd").await.problem(400);
    let size = world.get(&format!("/api/v1/images/{id}/thumbnail?size=100000")).await;
    assert_eq!(size.problem(400), "size");
}

#[tokio::test]
async fn a_hit_is_explained_before_and_after_the_rewrite() {
    let world = World::new();
    let found = world.post("/api/v1/search", json!({"query": "a pooch", "k": 1})).await.ok();
    let request = json!({"query": "a pooch", "id": ids(&found)[0]});
    let explained = world.post("/api/v1/explain", request).await.ok();
    let sides = explained["sides"].as_array().unwrap();
    assert_eq!((sides.len(), &sides[0]["text"]), (2, &json!("a pooch")));
    for side in sides {
        let png = BASE64.decode(side["heat"].as_str().unwrap()).unwrap();
        assert!(image::load_from_memory(&png).unwrap().width() > 100);
        assert!(!side["words"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn the_server_says_how_it_is() {
    let world = World::new();
    let library = world.get("/api/v1/library").await.ok();
    assert!(library["pictures"].as_u64().unwrap() > 10, "{library}");
    let health = world.get("/api/v1/health").await.ok();
    assert_eq!(health["status"], "ok");
    assert!(health["inference_ms"].as_f64().unwrap() > 0.0);
    world.post("/api/v1/search", json!({"query": "a dog"})).await.ok();
    let metrics = String::from_utf8(world.get("/api/v1/metrics").await.body).unwrap();
    assert!(
        metrics.contains("relens_requests_total{route=\"/api/v1/search\",status=\"200\"} 1"),
        "{metrics}"
    );
    let description = world.get("/api/v1/openapi.json").await.ok();
    let described = description["paths"].as_object().unwrap();
    for path in ["/api/v1/search", "/api/v1/images/{id}/thumbnail", "/api/v1/knowledge/entities/{name}"] {
        assert!(described.contains_key(path), "{path}");
    }
}
