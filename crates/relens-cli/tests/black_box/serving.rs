//! `relens serve` as a process, and `relens mine judged`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::workplace::{Workplace, errors};

/// A running server and where it listens.
struct Served {
    process: Child,
    address: String,
}

impl Served {
    fn start(workplace: &Workplace, options: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"][..], options].concat();
        let mut process = workplace.process(&arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().unwrap().contains("http://")).unwrap().unwrap();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        Self { process, address }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}",
            self.address
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn end(mut self) -> std::process::ExitStatus {
        kill(Pid::from_raw(self.process.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.process.wait().unwrap()
    }
}

#[test]
fn the_library_is_served_while_it_grows_until_the_server_is_told_to_end() {
    let workplace = Workplace::new();
    let server = Served::start(&workplace, &[]);
    assert_eq!(server.ask("GET", "/api/v1/health", "").0, 200);
    let search = || server.ask("POST", "/api/v1/search", &json!({"query": "a red thing"}).to_string());
    assert_eq!(search().0, 404, "there is no library yet");
    workplace.pictures("pictures", 3);
    workplace.relens(&["index", "pictures"]).assert().success();
    let (status, answer) = search();
    assert_eq!((status, &answer["total"]), (200, &json!(3)), "{answer}");
    assert!(server.end().success());
}

#[test]
fn what_was_marked_right_becomes_a_dataset() {
    let workplace = Workplace::new();
    workplace.pictures("pictures", 3);
    workplace.relens(&["index", "pictures"]).assert().success();
    let nothing = workplace.relens(&["mine", "judged", "--output", "judged.json"]).assert().code(1);
    assert!(errors(&nothing).contains("nothing was judged yet"), "{}", errors(&nothing));
    let server = Served::start(&workplace, &[]);
    let (_, found) = server.ask("POST", "/api/v1/search", &json!({"query": "a red thing"}).to_string());
    let judgement = json!({"query": "a red thing", "id": found["hits"][1]["id"], "right": true});
    assert_eq!(server.ask("POST", "/api/v1/judgements", &judgement.to_string()).0, 200);
    assert!(server.end().success());
    workplace.relens(&["mine", "judged", "--output", "judged.json"]).assert().success();
    let dataset: Value =
        serde_json::from_slice(&fs_err::read(workplace.path("judged.json")).unwrap()).unwrap();
    let images = dataset["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    let judged: Vec<&Value> =
        images.iter().filter(|image| image["sentences"] == json!([{"raw": "a red thing"}])).collect();
    let path = found["hits"][1]["path"].as_str().unwrap();
    assert!(judged.len() == 1 && path.ends_with(judged[0]["filename"].as_str().unwrap()), "{dataset}");
}

#[test]
fn what_others_could_reach_needs_a_key_and_an_alias_a_model() {
    let workplace = Workplace::new();
    let open = workplace.relens(&["serve", "--listen", "0.0.0.0:0"]).assert().code(1);
    assert!(errors(&open).contains("--api-key-file"), "{}", errors(&open));
    let alias = workplace.relens(&["serve", "--alias", "ViT=nothing"]).assert().code(2);
    assert!(errors(&alias).contains("expected the name of a model that is served"), "{}", errors(&alias));
}
