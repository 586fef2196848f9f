//! Pictures at addresses of the network, where the server may fetch them.
//!
//! A client must not reach through the server what it cannot reach itself: only public addresses are connected to, the one
//! that was checked and no other, and every redirection is checked anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::http::header;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::problem::HttpProblem;

/// How often an address may lead to another one.
const MOST_REDIRECTIONS: usize = 3;
/// How long all of it may take.
const FETCHING_TIME: Duration = Duration::from_secs(10);

/// Fetches pictures.
pub(crate) struct RemoteImages {
    most_bytes: usize,
    may_connect: fn(SocketAddr) -> bool,
}

impl RemoteImages {
    /// Fetches pictures of `most_bytes` at most from public addresses.
    pub(crate) fn new(most_bytes: usize) -> Self {
        relens::llm::install_tls_provider();
        Self { most_bytes, may_connect: |address| is_public(address.ip()) }
    }

    /// The bytes at an address; `field` says in errors which. Called from threads that may wait.
    ///
    /// # Errors
    /// The address is none, is not public, does not answer in time, or has more bytes than are taken.
    pub(crate) fn fetch(&self, address: &str, field: &str) -> Result<Vec<u8>, HttpProblem> {
        let fetching = tokio::time::timeout(FETCHING_TIME, self.follow(address));
        let fetched = tokio::runtime::Handle::current().block_on(fetching);
        let fetched = fetched.unwrap_or_else(|_| Err("an address that does not answer in time".to_owned()));
        fetched.map_err(|found| HttpProblem::field(field, "the address of a picture", found))
    }

    async fn follow(&self, address: &str) -> Result<Vec<u8>, String> {
        let mut url = Url::parse(address).map_err(|_| "no address".to_owned())?;
        for _ in 0..=MOST_REDIRECTIONS {
            let response = self.ask(&url).await?;
            let Some(next) = redirection(&response) else { return self.read(response).await };
            url = url.join(&next).map_err(|_| "a redirection to no address".to_owned())?;
        }
        Err("an address that leads to too many others".to_owned())
    }

    async fn ask(&self, url: &Url) -> Result<Response, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("an address that is neither http nor https".to_owned());
        }
        let unreachable = || "an address that cannot be reached".to_owned();
        let host = url.host_str().ok_or_else(unreachable)?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().ok_or_else(unreachable)?;
        let resolved = tokio::net::lookup_host((host, port)).await.map_err(|_| unreachable())?;
        let resolved: Vec<SocketAddr> = resolved.collect();
        if resolved.is_empty() || !resolved.iter().all(|address| (self.may_connect)(*address)) {
            return Err("an address that is not public".to_owned());
        }
        // The name is not resolved again: it may mean something else by then.
        let client = Client::builder()
            .redirect(Policy::none())
            .resolve_to_addrs(host, &resolved)
            .no_proxy()
            .build()
            .map_err(|error| error.to_string())?;
        client.get(url.clone()).send().await.map_err(|_| unreachable())
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, String> {
        if !response.status().is_success() {
            return Err(format!("an address that answers {}", response.status().as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|_| "an answer that breaks off".to_owned())? {
            if bytes.len() + part.len() > self.most_bytes {
                return Err(format!("more than {} bytes", self.most_bytes));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

fn redirection(response: &Response) -> Option<String> {
    let next = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    next.to_str().ok().map(str::to_owned)
}

/// Whether an address is one of the public network, and not of this computer, its neighbours, or a tunnel to them.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

/// As IANA's registry of special addresses has it.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast();
    let [first, second, third, _] = address.octets();
    // This network, shared by providers, protocols, benchmarks, reserved and broadcast.
    let reserved = matches!(
        (first, second, third),
        (0, _, _) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) | (240..=255, _, _)
    );
    !special && !reserved
}

/// Global unicast alone (2000::/3), without protocols, tunnels (Teredo, 6to4) and documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let special =
        (first == 0x2001 && (second < 0x200 || second == 0xdb8)) || first == 0x2002 || first == 0x3fff;
    first & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn only_the_public_network_is_public() {
        for address in ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// Answers every connection with `answer`.
    async fn answering(answer: String) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn what_a_redirection_leads_to_is_checked_too() {
        let secret = answering(answer("200 OK", "", "secret")).await;
        let leads = format!("Location: http://127.0.0.1:{secret}/\r\n");
        let redirecting = answering(answer("302 Found", &leads, "")).await;
        let images = RemoteImages::new(1000);
        for refused in [secret, redirecting] {
            let found = images.follow(&format!("http://127.0.0.1:{refused}/")).await.unwrap_err();
            assert_eq!(found, "an address that is not public");
        }
        assert_eq!(
            images.follow("file:///etc/passwd").await.unwrap_err(),
            "an address that is neither http nor https"
        );
        // As if even ports were public.
        let open = RemoteImages { most_bytes: 8, may_connect: |address| address.port() % 2 == 0 };
        let even = async |answer: String| loop {
            let port = answering(answer.clone()).await;
            if port % 2 == 0 {
                return port;
            }
        };
        let odd = loop {
            let port = answering(answer("200 OK", "", "secret")).await;
            if port % 2 == 1 {
                break port;
            }
        };
        let small = even(answer("200 OK", "", "picture")).await;
        assert_eq!(open.follow(&format!("http://127.0.0.1:{small}/a.png")).await.unwrap(), b"picture");
        let onward = even(answer("302 Found", &format!("Location: http://127.0.0.1:{small}/\r\n"), "")).await;
        assert_eq!(open.follow(&format!("http://127.0.0.1:{onward}/")).await.unwrap(), b"picture");
        let inward = even(answer("302 Found", &format!("Location: http://127.0.0.1:{odd}/\r\n"), "")).await;
        let found = open.follow(&format!("http://127.0.0.1:{inward}/")).await.unwrap_err();
        assert_eq!(found, "an address that is not public");
        let large = even(answer("200 OK", "", "a large picture")).await;
        assert_eq!(
            open.follow(&format!("http://127.0.0.1:{large}/")).await.unwrap_err(),
            "more than 8 bytes"
        );
        let circle = even(answer("302 Found", "Location: /\r\n", "")).await;
        let found = open.follow(&format!("http://127.0.0.1:{circle}/")).await.unwrap_err();
        assert_eq!(found, "an address that leads to too many others");
    }
}
