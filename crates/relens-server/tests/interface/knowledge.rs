//! Knowledge that is changed through the server, and searches that move at once.

use axum::http::Method;
use relens::knowledge::KnowledgeStore;
use serde_json::json;

use crate::world::{World, ids};

#[tokio::test]
async fn a_word_that_is_taught_moves_the_ranking_at_once_and_can_be_undone() {
    let world = World::new();
    let search = async || {
        let answer = world.post("/api/v1/search", json!({"query": "a grumblefitz", "k": 10})).await.ok();
        (ids(&answer), answer["rewrites"][0]["texts"].clone())
    };
    let before = search().await;
    world.get("/api/v1/knowledge/words/grumblefitz").await.problem(404);
    let means = json!({"meanings": [{"text": "lighthouse"}]});
    let changed = world.send_json(Method::PUT, "/api/v1/knowledge/words/grumblefitz", means).await.ok();
    assert!(changed["revision"].is_i64(), "{changed}");
    let taught = search().await;
    assert_ne!(taught, before);
    assert!(taught.1.to_string().contains("lighthouse"), "{}", taught.1);
    let word = world.get("/api/v1/knowledge/words/grumblefitz").await.ok();
    assert_eq!(word["meanings"][0]["text"], "lighthouse");
    let history = world.get("/api/v1/knowledge/history?entity=grumblefitz").await.ok();
    assert_eq!(history[0]["id"], changed["revision"]);

    world.post("/api/v1/knowledge/undo", json!({})).await.ok();
    assert_eq!(search().await, before);
    world.get("/api/v1/knowledge/words/grumblefitz").await.problem(404);
}

#[tokio::test]
async fn entities_are_listed_stored_renamed_and_removed() {
    let world = World::new();
    let listed = world.get("/api/v1/knowledge/entities?search=dog&limit=3").await.ok();
    assert!(listed["entities"].as_array().unwrap().len() <= 3);
    assert_eq!(listed["entities"][0]["entity"], "dog");
    let body =
        json!({"aliases": ["Gnorf"], "senses": [{"descriptions": ["six blue legs", "long green tail"]}]});
    world.send_json(Method::PUT, "/api/v1/knowledge/entities/snorfle", body).await.ok();
    let stored = world.get("/api/v1/knowledge/entities/gnorf").await.ok();
    assert_eq!(stored["entity"], "snorfle");
    assert_eq!(stored["senses"][0]["descriptions"], json!(["six blue legs", "long green tail"]));
    let renamed = json!({"entity": "snarfle", "senses": [{"descriptions": ["six blue legs"]}]});
    world.send_json(Method::PUT, "/api/v1/knowledge/entities/gnorf", renamed).await.ok();
    world.get("/api/v1/knowledge/entities/snorfle").await.problem(404);
    let removed = world.send_json(Method::DELETE, "/api/v1/knowledge/entities/snarfle", json!(null)).await;
    assert_eq!(removed.status, 200);
    world.get("/api/v1/knowledge/entities/snarfle").await.problem(404);
    let again = world.send_json(Method::DELETE, "/api/v1/knowledge/entities/snarfle", json!(null)).await;
    again.problem(404);
}

#[tokio::test]
async fn what_cannot_be_an_entity_or_a_word_is_refused_by_field() {
    let world = World::new();
    let put = async |path: &str, body| world.send_json(Method::PUT, path, body).await.problem(400);
    let entity = "/api/v1/knowledge/entities/thing";
    assert_eq!(put(entity, json!({"senses": []})).await, "senses");
    let long = json!({"senses": [{"descriptions": ["x".repeat(1 << 20)]}]});
    assert_eq!(put(entity, long).await, "senses[0].descriptions[0].text");
    assert_eq!(put(entity, json!({"colour": "red"})).await, "colour");
    let word = put("/api/v1/knowledge/words/thing", json!({"meanings": [{"text": ""}]})).await;
    assert!(word.as_str().unwrap().starts_with("meanings[0]"), "{word}");
    world.post("/api/v1/knowledge/undo", json!({})).await.problem(409);
}

#[tokio::test]
async fn a_change_by_another_process_is_noticed() {
    let world = World::new();
    world.get("/api/v1/knowledge/entities/zworp").await.problem(404);
    let path = world.home.path().join("evd.db");
    let mut store = KnowledgeStore::open(&path).unwrap();
    let zworp =
        relens::knowledge::Entity::described("zworp", ["two noses"], relens::knowledge::Source::Person);
    store.edit("add", "zworp", |_| Ok(Some(zworp))).unwrap();
    world.get("/api/v1/knowledge/entities/zworp").await.ok();
}

#[tokio::test]
async fn a_server_for_reading_changes_nothing() {
    let world = World::with(|config| config.read_only = true);
    let body = json!({"meanings": []});
    world.send_json(Method::PUT, "/api/v1/knowledge/words/dog", body).await.problem(403);
    world.send_json(Method::DELETE, "/api/v1/knowledge/entities/dog", json!(null)).await.problem(403);
    world.post("/api/v1/judgements", json!({"query": "a dog", "id": 1, "right": true})).await.problem(403);
    world.get("/api/v1/knowledge/entities/dog").await.ok();
    assert_eq!(std::fs::read_dir(world.home.path()).unwrap().count(), 0);
}
