//! What is served, to whom, and how much at once.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use relens::model_hub::ModelHub;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen. An address that others can reach needs a key, or `insecure`.
    pub listen: SocketAddr,
    /// The library that is searched; it may be filled later.
    pub library: PathBuf,
    /// relens's home directory: the knowledge base that is edited, judgements, thumbnails.
    pub home: PathBuf,
    /// Models that clients may name beside the first, loaded at first use.
    pub models: Vec<String>,
    /// Other names for models, as clients know them.
    pub aliases: BTreeMap<String, String>,
    /// Where models come from.
    pub hub: ModelHub,
    /// What clients must send; without it everybody who reaches the address is served.
    pub api_key: Option<String>,
    /// Whether to serve without a key on an address that others can reach.
    pub insecure: bool,
    /// Host names, beside addresses and `localhost`, under which the server may be asked.
    pub hosts: Vec<String>,
    /// Whether knowledge and judgements may not be changed.
    pub read_only: bool,
    /// The address of an immich machine-learning service that does what relens does not: faces, text in pictures.
    pub upstream: Option<String>,
    /// Whether pictures at public addresses of the network are fetched for clients.
    pub remote_images: bool,
    /// Whether the queries may stand in the log.
    pub log_queries: bool,
    /// How much at once.
    pub limits: Limits,
}

impl ServerConfig {
    /// Serves a library to this computer alone, at any free port.
    pub fn local(library: PathBuf, home: PathBuf, hub: ModelHub) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            library,
            home,
            models: Vec::new(),
            aliases: BTreeMap::new(),
            hub,
            api_key: None,
            insecure: false,
            hosts: Vec::new(),
            read_only: false,
            upstream: None,
            remote_images: false,
            log_queries: false,
            limits: Limits::default(),
        }
    }
}

/// How much one client, or all of them, can make the server do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a request's body; default 32 MiB.
    pub body_bytes: usize,
    /// Pixels of a picture that is sent; default 50 million.
    pub picture_pixels: u64,
    /// Texts or pictures in one request; default 2,048 and 64.
    pub texts_per_request: usize,
    /// See `texts_per_request`.
    pub pictures_per_request: usize,
    /// The most hits that one answer has; default 1,000.
    pub hits: usize,
    /// Pieces of work that are done at once; default: 4 for each core, so that texts of several clients meet.
    pub working: usize,
    /// Pieces of work that wait; more are told to come again later. Default 256.
    pub waiting: usize,
    /// Connections that are open at once; default 1,024.
    pub connections: usize,
    /// How long a request may take, its body included; default 30 seconds.
    pub request_time: Duration,
    /// How long a client may take to send its headers; default 10 seconds.
    pub header_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 32 << 20,
            picture_pixels: 50_000_000,
            texts_per_request: 2048,
            pictures_per_request: 64,
            hits: 1000,
            working: 4 * std::thread::available_parallelism().map_or(1, usize::from),
            waiting: 256,
            connections: 1024,
            request_time: Duration::from_secs(30),
            header_time: Duration::from_secs(10),
        }
    }
}
