//! Downloading from a hub, and doing without one: against a server in this process that speaks the hub's protocol.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use relens::embed::retriever::Retriever;
use relens::model_hub::ModelHub;
use relens::progress::{Progress, Silent};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A model of every architecture test: open_clip's layout, with `vocab.json` and `merges.txt`.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../relens-models/tests/fixtures/architectures/open_clip_vit")
}

/// Serves the files of `directory` as the repository `some/model`, and remembers what was asked for.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(directory: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (directory, seen) = (directory.clone(), seen.clone());
                std::thread::spawn(move || answer(&mut stream.unwrap(), &directory, &seen));
            }
        });
        Self { endpoint, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(stream: &mut TcpStream, directory: &Path, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(request)) = lines.next() {
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let mut range = None;
        for header in lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()) {
            if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (start, end) = value.split_once('-').unwrap();
                range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().ok()));
            }
        }
        seen.lock().unwrap().push(path.clone());
        let response = respond(&path, directory, range);
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

fn respond(path: &str, directory: &Path, range: Option<(usize, Option<usize>)>) -> Vec<u8> {
    let reply = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    };
    if path == "/api/models/some/model/revision/main" {
        let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
        let files: Vec<_> =
            names.map(|name| serde_json::json!({"rfilename": name.to_str().unwrap()})).collect();
        let body = serde_json::json!({"siblings": files, "sha": COMMIT}).to_string();
        return reply("200 OK", "", body.as_bytes());
    }
    let name = path.strip_prefix("/some/model/resolve/main/").unwrap_or("none");
    let Ok(content) = std::fs::read(directory.join(name)) else { return reply("404 Not Found", "", b"") };
    let headers = format!("x-repo-commit: {COMMIT}\r\netag: \"{name}\"\r\n");
    match range {
        None => reply("200 OK", &headers, &content),
        Some((start, end)) => {
            let end = end.map_or(content.len(), |end| content.len().min(end + 1));
            let place = format!("Content-Range: bytes {start}-{}/{}\r\n", end - 1, content.len());
            reply("206 Partial Content", &format!("{headers}{place}"), &content[start..end])
        }
    }
}

#[derive(Default)]
struct Recorded {
    files: Vec<(String, u64)>,
    done: u64,
    bytes: u64,
    finished: usize,
}

impl Progress for Recorded {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.files.push((file.to_owned(), bytes));
    }

    fn advance(&mut self, bytes: u64) {
        self.done = bytes;
    }

    fn end(&mut self) {
        self.bytes += std::mem::take(&mut self.done);
        self.finished += 1;
    }
}

#[test]
fn a_repository_is_downloaded_once_and_then_opened_without_the_network() {
    let (server, cache) = (Server::start(model()), tempfile::tempdir().unwrap());
    let hub = ModelHub::at(cache.path().to_owned(), &server.endpoint);
    let mut progress = Recorded::default();
    let retriever = Retriever::load_from(&hub, "hf-hub:some/model", &mut progress).unwrap();
    assert_eq!(retriever.name(), "hf-hub:some/model");
    let mut files: Vec<&str> = progress.files.iter().map(|(name, _)| name.as_str()).collect();
    files.sort_unstable();
    let expected = ["merges.txt", "open_clip_config.json", "open_clip_model.safetensors", "vocab.json"];
    assert_eq!(files, expected, "what the model is read from and nothing else");
    assert_eq!(progress.finished, expected.len());
    assert_eq!(progress.bytes, progress.files.iter().map(|(_, bytes)| bytes).sum::<u64>());
    assert!(!server.requests().is_empty());

    let local = Retriever::open(model()).unwrap();
    let texts = ["a dog runs"];
    assert_eq!(retriever.embed_texts(&texts).unwrap().row(0), local.embed_texts(&texts).unwrap().row(0));

    Retriever::load_from(&hub.clone().with_offline(true), "hf-hub:some/model", &mut Silent).unwrap();
    Retriever::load_from(&hub, "hf-hub:some/model", &mut Silent).unwrap();
    assert_eq!(server.requests(), Vec::<String>::new(), "the cache has it all");

    let snapshot = cache.path().join("models--some--model/snapshots").join(COMMIT);
    std::fs::remove_file(snapshot.join("open_clip_model.safetensors")).unwrap();
    let offline = hub.clone().with_offline(true);
    let message = Retriever::load_from(&offline, "hf-hub:some/model", &mut Silent).unwrap_err().to_string();
    assert!(message.contains(snapshot.to_str().unwrap()), "{message}");
    assert!(message.contains("open_clip_model.safetensors") && message.contains("offline"), "{message}");
    Retriever::load_from(&hub, "hf-hub:some/model", &mut Silent).unwrap();
}

#[test]
fn offline_the_error_names_the_path_that_was_looked_for() {
    let cache = tempfile::tempdir().unwrap();
    let hub = ModelHub::at(cache.path().to_owned(), "http://127.0.0.1:9").with_offline(true);
    let message =
        Retriever::load_from(&hub, "ViT-B-32/laion2b_s34b_b79k", &mut Silent).unwrap_err().to_string();
    let path = cache.path().join("models--laion--CLIP-ViT-B-32-laion2B-s34B-b79K/refs/main");
    assert!(message.contains(path.to_str().unwrap()) && message.contains("offline"), "{message}");
}

#[test]
fn a_repository_that_does_not_exist_or_holds_no_model_is_refused_by_name() {
    let (empty, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(empty.path().join("README.md"), "nothing here").unwrap();
    let server = Server::start(empty.path().to_owned());
    let hub = ModelHub::at(cache.path().to_owned(), &server.endpoint);
    for (name, expected) in [("hf-hub:some/model", "open_clip_config.json"), ("hf-hub:some/other", "404")] {
        let message = Retriever::load_from(&hub, name, &mut Silent).unwrap_err().to_string();
        assert!(message.contains(name) && message.contains(expected), "{message}");
    }
}
