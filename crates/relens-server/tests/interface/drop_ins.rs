//! Other servers' forms.

use axum::body::Body;
use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::world::{Answer, World, request};

fn a_png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::from_pixel(40, 30, image::Rgb([200, 30, 30]));
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn floats(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[tokio::test]
async fn openai_clients_get_floats_base64_and_fewer_dimensions() {
    let world = World::new();
    let input = json!({"model": "relens-mini", "input": ["a dog", "a cat"]});
    let answer = world.post("/v1/embeddings", input).await.ok();
    assert_eq!((&answer["object"], &answer["data"][1]["index"]), (&json!("list"), &json!(1)));
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 2);
    let vector = floats(&answer["data"][0]["embedding"]);
    let encoded = json!({"model": "relens-mini", "input": "a dog", "encoding_format": "base64"});
    let encoded = world.post("/embeddings", encoded).await.ok();
    let bytes = BASE64.decode(encoded["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(decoded, vector);
    let short = json!({"model": "relens-mini", "input": "a dog", "dimensions": 64});
    let short = floats(&world.post("/v1/embeddings", short).await.ok()["data"][0]["embedding"]);
    let length: f32 = short.iter().map(|value| value * value).sum();
    assert!(short.len() == 64 && (length - 1.0).abs() < 1e-5);

    let image = format!("data:image/png;base64,{}", BASE64.encode(a_png()));
    let infinity = json!({"model": "relens-mini", "modality": "image", "input": [image]});
    let infinity = world.post("/v1/embeddings", infinity).await.ok();
    let part = json!({"type": "image_url", "image_url": {"url": image}});
    let vllm = json!({"model": "relens-mini", "messages": [{"role": "user", "content": [part]}]});
    let vllm = world.post("/v1/embeddings", vllm).await.ok();
    assert_eq!(floats(&infinity["data"][0]["embedding"]).len(), vector.len());
    assert_eq!(vllm["data"].as_array().unwrap().len(), 1);
    let models = world.get("/v1/models").await.ok();
    assert_eq!(models["data"][0]["id"], "relens-mini");
}

#[tokio::test]
async fn openai_clients_get_errors_in_their_form_and_rewrites_if_they_ask() {
    let world = World::new();
    for (body, status) in [
        (json!({"model": "relens-mini"}), 400),
        (json!({"model": "relens-mini", "input": []}), 400),
        (json!({"model": "gpt-7", "input": "a"}), 404),
        (json!({"model": "relens-mini", "input": "a", "dimensions": 0}), 400),
        (json!({"model": "relens-mini", "input": [[1, 2]]}), 400),
        (json!({"model": "relens-mini", "input": "http://x", "modality": "image"}), 400),
    ] {
        let answer = world.post("/v1/embeddings", body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(answer.json()["error"]["message"].is_string(), "{body}");
    }
    let plain = world.post("/v1/embeddings", json!({"input": "a pooch"})).await.ok();
    let rewritten = request(Method::POST, "/v1/embeddings")
        .header("content-type", "application/json")
        .header("x-relens-enhancer", "default")
        .body(Body::from(json!({"input": "a pooch"}).to_string()));
    let rewritten = world.send(rewritten.unwrap()).await.ok();
    assert_ne!(plain["data"], rewritten["data"]);
}

#[tokio::test]
async fn text_embeddings_inference_clients_get_lists_of_numbers() {
    let world = World::new();
    let answer = world.post("/embed", json!({"inputs": ["a dog", "a cat"], "truncate": true})).await.ok();
    assert_eq!(answer.as_array().unwrap().len(), 2);
    let openai = world.post("/v1/embeddings", json!({"input": "a dog"})).await.ok();
    assert_eq!(answer[0], openai["data"][0]["embedding"]);
    assert_eq!(world.get("/info").await.ok()["model_id"], "relens-mini");
    assert_eq!(world.get("/health").await.status, 200);
    let refused = world.post("/embed", json!({"inputs": []})).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error_type"]), (400, &json!("Validation")));
}

/// A form as immich sends it.
async fn predict(world: &World, entries: &Value, name: &str, content: &[u8]) -> Answer {
    let mut body = Vec::new();
    let part = |body: &mut Vec<u8>, head: &str, content: &[u8]| {
        body.extend(format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend(content);
        body.extend(b"\r\n");
    };
    part(&mut body, "name=\"entries\"", entries.to_string().as_bytes());
    let file = if name == "image" { "; filename=\"blob\"" } else { "" };
    part(&mut body, &format!("name=\"{name}\"{file}"), content);
    body.extend(b"--xyz--\r\n");
    let request = request(Method::POST, "/predict");
    let request = request.header("content-type", "multipart/form-data; boundary=xyz");
    world.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn immich_gets_vectors_as_text_and_its_queries_are_rewritten() {
    let world = World::new();
    assert_eq!(world.get("/ping").await.body, b"pong");
    assert_eq!(world.get("/").await.ok(), json!({"message": "Immich ML"}));
    let visual = json!({"clip": {"visual": {"modelName": "ViT-B-32__openai"}}});
    let answer = predict(&world, &visual, "image", &a_png()).await.ok();
    assert_eq!((&answer["imageWidth"], &answer["imageHeight"]), (&json!(40), &json!(30)));
    let vector: Vec<f32> = serde_json::from_str(answer["clip"].as_str().unwrap()).unwrap();
    assert_eq!(vector.len(), 512);
    let options = json!({"language": "en"});
    let textual = json!({"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": options}}});
    let answer = predict(&world, &textual, "text", "a pooch".as_bytes()).await.ok();
    let vector: Vec<f32> = serde_json::from_str(answer["clip"].as_str().unwrap()).unwrap();
    let plain = world.post("/embed", json!({"inputs": "a pooch"})).await.ok();
    assert_ne!(vector, floats(&plain[0]));
}

#[tokio::test]
async fn immichs_mistakes_have_the_statuses_that_it_knows() {
    let world = World::new();
    let broken = predict(&world, &json!("no entries"), "text", b"a dog").await;
    assert_eq!(broken.status, 422);
    let nothing = predict(&world, &json!({"clip": {"textual": {"modelName": "x"}}}), "other", b"").await;
    assert_eq!(nothing.status, 400);
    let unknown = predict(&world, &json!({"clip": {"textual": {"modelName": "x"}}}), "text", b"a dog").await;
    assert_eq!(unknown.status, 404);
    let faces = json!({"facial-recognition": {"detection": {"modelName": "buffalo_l"}}});
    assert_eq!(predict(&world, &faces, "image", &a_png()).await.status, 501);
    let no_form = world.post("/predict", json!({})).await;
    assert_eq!(no_form.status, 400);
}

#[tokio::test]
async fn clip_retrieval_clients_get_pictures_with_their_metadata() {
    let world = World::new();
    assert_eq!(world.get("/indices-list").await.ok(), json!(["relens"]));
    let request = json!({
        "text": "a dog", "image": null, "image_url": null, "embedding_input": null, "modality": "image",
        "num_images": 3, "num_result_ids": 5, "indice_name": "relens", "deduplicate": true,
        "use_safety_model": true, "use_violence_detector": true, "aesthetic_score": 9, "aesthetic_weight": 0.5,
    });
    let hits = world.post("/knn-service", request).await.ok();
    let hits = hits.as_array().unwrap();
    assert_eq!(hits.len(), 5);
    assert!(hits[0]["url"].as_str().unwrap().starts_with("http://localhost:7788/api/v1/images/"));
    assert!(hits[2]["image_path"].is_string() && hits[4].get("image_path").is_none());
    let metadata = world.post("/metadata", json!({"ids": [hits[0]["id"], 999_999]})).await.ok();
    assert_eq!(metadata[0]["metadata"]["image_path"], hits[0]["image_path"]);
    assert_eq!(metadata.as_array().unwrap().len(), 1);
    let image =
        world.post("/knn-service", json!({"image": BASE64.encode(a_png()), "num_images": 2})).await.ok();
    assert_eq!(image.as_array().unwrap().len(), 2);
    world.post("/knn-service", json!({})).await.problem(400);
}
