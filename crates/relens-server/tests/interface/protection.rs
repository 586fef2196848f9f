//! Keys, names and pages from elsewhere.

use axum::body::Body;
use axum::http::{Method, Request};
use relens::embed::retriever::{DEFAULT_MODEL, Retriever};
use relens_server::{Server, ServerError};
use serde_json::json;

use crate::world::{World, request};

const KEY: &str = "correct-horse-battery";

#[tokio::test]
async fn without_the_key_only_the_page_and_the_health_are_there() {
    let world = World::with(|config| config.api_key = Some(KEY.to_owned()));
    for path in ["/api/v1/library", "/api/v1/metrics", "/v1/models", "/indices-list", "/nowhere"] {
        world.get(path).await.problem(401);
    }
    for path in ["/ping", "/api/v1/health", "/page/main.js", "/api"] {
        assert_eq!(world.get(path).await.status, 200, "{path}");
    }
    let with = async |name: &str, value: &str| {
        let request = request(Method::GET, "/api/v1/library").header(name, value);
        world.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    assert_eq!(with("authorization", &format!("Bearer {KEY}")).await, 200);
    assert_eq!(with("x-api-key", KEY).await, 200);
    for wrong in ["", "x", &KEY[1..], &format!("{KEY}x")] {
        assert_eq!(with("x-api-key", wrong).await, 401, "{wrong}");
    }
    let session = request(Method::POST, "/api/v1/session").header("x-api-key", KEY);
    let session = world.send(session.body(Body::empty()).unwrap()).await;
    let cookie = session.headers["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains(KEY));
    assert_eq!(with("cookie", cookie.split(';').next().unwrap()).await, 200);
}

#[tokio::test]
async fn a_strange_name_or_page_gets_nothing() {
    let world = World::new();
    let status = async |headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(Method::POST).uri("/api/v1/search");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/json");
        let body = Body::from(json!({"query": "a dog"}).to_string());
        world.send(request.body(body).unwrap()).await.status.as_u16()
    };
    assert_eq!(status(&[("host", "localhost:7788")]).await, 200);
    assert_eq!(status(&[("host", "127.0.0.1:7788"), ("origin", "http://127.0.0.1:7788")]).await, 200);
    assert_eq!(status(&[]).await, 421);
    assert_eq!(status(&[("host", "evil.example")]).await, 421);
    assert_eq!(status(&[("host", "localhost"), ("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&[("host", "localhost"), ("sec-fetch-site", "cross-site")]).await, 403);
    let named = World::with(|config| config.hosts = vec!["photos.home".to_owned()]);
    let request = Request::builder().uri("/api/v1/library").header("host", "Photos.Home:80");
    assert_eq!(named.send(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[test]
fn an_address_that_others_reach_needs_a_key_and_a_key_some_length() {
    let refused = |change: fn(&mut relens_server::ServerConfig)| {
        let mut config = None;
        World::with(|given| config = Some(given.clone()));
        let mut config = config.unwrap();
        change(&mut config);
        Server::new(config, Retriever::bundled(DEFAULT_MODEL).unwrap()).err()
    };
    let open = |config: &mut relens_server::ServerConfig| config.listen = "0.0.0.0:1".parse().unwrap();
    assert!(matches!(refused(open), Some(ServerError::Unprotected { .. })));
    assert!(matches!(
        refused(|config| config.api_key = Some("short".to_owned())),
        Some(ServerError::Setting { .. })
    ));
    assert!(matches!(
        refused(|config| config.upstream = Some("ftp://x".to_owned())),
        Some(ServerError::Setting { .. })
    ));
}

#[tokio::test]
async fn every_answer_keeps_browsers_careful() {
    let world = World::new();
    for path in ["/", "/api/v1/library", "/nowhere", "/api/v1/images/1/thumbnail"] {
        let answer = world.get(path).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
}
