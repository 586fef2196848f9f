//! The server behind a real socket: clients that never finish, many at once, and the end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::world::World;

/// Serves `world` and runs `clients` with its address; the server has to end when it is told to.
async fn serving<F: Future<Output = ()>>(world: World, clients: impl FnOnce(u16) -> F) {
    let listener = world.server.bind().await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let world = Arc::new(world);
    let served = tokio::spawn({
        let world = world.clone();
        async move { world.server.serve(listener, async { stopped.await.unwrap_or(()) }).await }
    });
    clients(port).await;
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

/// Sends bytes and reads the answer to its end, or what there is of it.
async fn exchange(port: u16, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_headers_that_never_end_are_given_up() {
    let world = World::with(|config| {
        config.limits.request_time = Duration::from_millis(800);
        config.limits.header_time = Duration::from_millis(500);
    });
    serving(world, async |port| {
        let endless = "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: 100000\r\n\r\n{\"query\": \"";
        let answer = exchange(port, endless.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        // No answer, but the connection ends.
        exchange(port, b"GET / HTTP/1.1\r\nHost: loc").await;
        let answer = exchange(port, b"GET \x00\xff HTTP/9\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_are_answered_and_those_that_do_not_fit_are_told_when_to_come_again() {
    let world = World::with(|config| {
        config.limits.working = 1;
        config.limits.waiting = 2;
        config.limits.request_time = Duration::from_secs(120);
    });
    serving(world, async |port| {
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..40 {
            let body = json!({"query": format!("picture number {number}"), "k": 3}).to_string();
            clients.spawn(async move { exchange(port, &post(&body)).await });
        }
        let answers = clients.join_all().await;
        let with = |status: &str| answers.iter().filter(|answer| answer.contains(status)).count();
        let (answered, refused) = (with("HTTP/1.1 200"), with("HTTP/1.1 503"));
        assert_eq!(answered + refused, 40, "{answers:?}");
        assert!(answered >= 1);
        let told = answers
            .iter()
            .filter(|answer| answer.contains("HTTP/1.1 503"))
            .all(|answer| answer.contains("retry-after"));
        assert!(told);
        assert!(exchange(port, &post("{\"query\": \"a dog\"}")).await.starts_with("HTTP/1.1 200"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_finished_before_the_server_ends() {
    let (answered, answer) = oneshot::channel();
    serving(World::new(), async |port| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let body = "{\"query\": \"a dog\"}";
        let head = format!(
            "POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server says this when it waits for the body: the request is on its way.
        let mut told = [0; 25];
        stream.read_exact(&mut told).await.unwrap();
        assert!(told.starts_with(b"HTTP/1.1 100"));
        tokio::spawn(async move {
            stream.write_all(body.as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            answered.send(text).unwrap();
        });
    })
    .await;
    let answer = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
