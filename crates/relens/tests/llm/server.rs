//! A chat endpoint on loopback that does what a test says, faults of the connection included.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// What the endpoint does with a request.
pub(crate) enum Action {
    /// A whole reply with this content.
    Reply(String),
    /// Another status, further headers, a body.
    Status(u16, &'static str, String),
    /// A status of 200 with this body.
    Body(String),
    /// Half of a reply, then the end of the connection.
    HalfBody,
    /// The head of a reply, then a byte now and then, without end.
    Trickle,
    /// No answer for so long.
    Hang(Duration),
    /// A reply after so long.
    Slow(Duration, String),
}

/// What was asked.
pub(crate) struct Asked {
    /// Requests that came before.
    pub(crate) number: usize,
    /// The body.
    pub(crate) body: Value,
    /// The header.
    pub(crate) authorization: String,
}

impl Asked {
    /// The text of the last message.
    pub(crate) fn text(&self) -> String {
        let message = self.body["messages"].as_array().and_then(|messages| messages.last()).cloned();
        match message.unwrap_or_default()["content"].clone() {
            Value::String(text) => text,
            parts => parts.to_string(),
        }
    }
}

/// The endpoint; its threads end with the process.
pub(crate) struct Server {
    port: u16,
    bodies: Arc<Mutex<Vec<String>>>,
    count: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start(act: impl Fn(&Asked) -> Action + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (act, bodies) = (Arc::new(act), Arc::new(Mutex::new(Vec::new())));
        let count = Arc::new(AtomicUsize::new(0));
        let (seen, counter) = (bodies.clone(), count.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (act, seen, counter) = (act.clone(), seen.clone(), counter.clone());
                std::thread::spawn(move || serve(stream, act.as_ref(), &seen, &counter));
            }
        });
        Self { port, bodies, count }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// How many requests have come.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// The messages of all requests that were answered with a whole reply.
    pub(crate) fn answered(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    act: &dyn Fn(&Asked) -> Action,
    answered: &Mutex<Vec<String>>,
    count: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let _ = stream.set_nodelay(true);
    while let Some((authorization, body)) = read_request(&mut reader) {
        let asked = Asked { number: count.fetch_add(1, Ordering::SeqCst), body, authorization };
        let content = match act(&asked) {
            Action::Reply(content) => content,
            Action::Slow(time, content) => {
                std::thread::sleep(time);
                content
            }
            Action::Status(status, headers, body) => {
                send(&mut stream, status, headers, &body);
                continue;
            }
            Action::Body(body) => {
                send(&mut stream, 200, "", &body);
                continue;
            }
            Action::HalfBody => {
                let body = completion("half of it");
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&body.as_bytes()[..body.len() / 2]);
                return;
            }
            Action::Trickle => {
                let mut sent =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{").is_ok();
                while sent {
                    std::thread::sleep(Duration::from_millis(20));
                    sent = stream.write_all(b" ").is_ok();
                }
                return;
            }
            Action::Hang(time) => {
                std::thread::sleep(time);
                return;
            }
        };
        // Noted before it is sent: whoever asks afterwards whether it was answered must not be too early.
        answered.lock().unwrap().push(asked.body["messages"].to_string());
        if !send(&mut stream, 200, "", &completion(&content)) {
            return;
        }
    }
}

fn completion(content: &str) -> String {
    json!({
        "choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    })
    .to_string()
}

fn send(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> bool {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).is_ok()
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "authorization" => authorization = value.trim().to_owned(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((authorization, serde_json::from_slice(&body).ok()?))
}
