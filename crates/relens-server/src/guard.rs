//! Who is served: the key, the names under which the server may be asked, and the pages that may ask.
//!
//! A page that a browser has loaded from elsewhere must not reach a server on the same computer: neither by asking it
//! directly (`Origin`, `Sec-Fetch-Site`) nor by a name that suddenly means this computer (`Host`, DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::config::ServerConfig;
use crate::engine::Services;
use crate::error::ServerError;
use crate::problem::HttpProblem;

/// The cookie that a browser sends in place of the key, for pictures cannot be asked for with a header.
const COOKIE: &str = "relens_session";
/// Only what comes with the page may run or be shown; `data:` and `blob:` are pictures that the page makes itself.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What decides who is served.
pub(crate) struct Guard {
    key: Option<String>,
    session: String,
    hosts: Vec<String>,
}

impl Guard {
    /// # Errors
    /// [`ServerError::Unprotected`] if others can reach the address and nothing keeps them out;
    /// [`ServerError::Setting`] for a key that can be guessed.
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        let open = !config.listen.ip().is_loopback();
        if open && config.api_key.is_none() && !config.insecure {
            return Err(ServerError::Unprotected { address: config.listen });
        }
        if let Some(key) = &config.api_key
            && (key.len() < 16 || !key.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            return Err(ServerError::Setting {
                setting: "the API key",
                expected: "at least 16 printable characters without blanks".to_owned(),
                found: format!("{} bytes", key.len()),
            });
        }
        let key = config.api_key.clone();
        // Made from the key, so that a session outlives a restart and ends when the key changes.
        let session =
            blake3::derive_key("relens 2026 session cookie", key.as_deref().unwrap_or("").as_bytes());
        Ok(Self { key, session: URL_SAFE_NO_PAD.encode(session), hosts: config.hosts.clone() })
    }

    /// The cookie that stands for the key.
    fn cookie(&self) -> String {
        format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000", self.session)
    }

    fn check(&self, request: &Request) -> Result<(), HttpProblem> {
        let headers = request.headers();
        let host = host_of(request);
        self.check_host(host.as_deref())?;
        check_origin(headers, host.as_deref(), request.method())?;
        if self.key.is_none() || is_open(request.uri().path()) || self.has_key(headers) {
            return Ok(());
        }
        Err(HttpProblem::new(
            StatusCode::UNAUTHORIZED,
            "expected the server's key, as `Authorization: Bearer KEY` or `X-Api-Key: KEY`; found none, or another",
        ))
    }

    /// With a key, a page under a strange name gets nowhere: it does not have the key.
    fn check_host(&self, host: Option<&str>) -> Result<(), HttpProblem> {
        let known = match host.map(without_port) {
            Some(name) => {
                let name = name.to_ascii_lowercase();
                is_local_or_address(&name) || self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&name))
            }
            None => false,
        };
        if known || self.key.is_some() {
            return Ok(());
        }
        let found = host.unwrap_or("none").chars().take(100).collect::<String>();
        let expected = "localhost, an address, or a name given by --host";
        Err(HttpProblem::field("Host", expected, format!("`{found}`"))
            .with_status(StatusCode::MISDIRECTED_REQUEST))
    }

    /// Whether the request has the key or the cookie. The time that takes does not depend on how much of it is right.
    fn has_key(&self, headers: &HeaderMap) -> bool {
        let Some(key) = &self.key else { return true };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let mut cookies = text("cookie").unwrap_or_default().split(';').map(str::trim);
        let session = cookies.find_map(|cookie| cookie.strip_prefix(COOKIE)?.strip_prefix('='));
        let same = |sent: Option<&str>, right: &str| match sent {
            // Hashes have one length, so that not even the key's length can be measured.
            Some(sent) => {
                let (sent, right) = (blake3::hash(sent.as_bytes()), blake3::hash(right.as_bytes()));
                bool::from(sent.as_bytes().ct_eq(right.as_bytes()))
            }
            None => false,
        };
        same(bearer, key) || same(text("x-api-key"), key) || same(session, &self.session)
    }
}

/// What may be had without the key: the page itself, which asks for it, and whether the server is there.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/api" | "/ping" | "/api/v1/health" | "/health" | "/favicon.ico")
        || path.starts_with("/page/")
}

fn host_of(request: &Request) -> Option<String> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(|authority| authority.as_str())).map(str::to_owned)
}

fn without_port(host: &str) -> &str {
    if let Some(address) = host.strip_prefix('[') {
        return address.split(']').next().unwrap_or(address);
    }
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Addresses cannot be rebound: only names can.
fn is_local_or_address(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok()
}

fn check_origin(headers: &HeaderMap, host: Option<&str>, method: &Method) -> Result<(), HttpProblem> {
    let refuse = |field: &str, found: &str| {
        let found: String = found.chars().take(100).collect();
        let expected = "the server's own page, or a program that is no browser";
        Err(HttpProblem::field(field, expected, format!("`{found}`")).with_status(StatusCode::FORBIDDEN))
    };
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or("?");
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        if authority.is_none() || authority != host {
            return refuse("Origin", origin);
        }
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A link on another page may be followed, but nothing may be asked for from there.
    let followed = method == Method::GET && text("sec-fetch-mode") == Some("navigate");
    match text("sec-fetch-site") {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if followed => Ok(()),
        Some(site) => refuse("Sec-Fetch-Site", site),
    }
}

/// Refuses whom the guard does not know, and gives every answer the headers that keep browsers careful.
pub(crate) async fn guard(
    State((guard, engine)): State<(Arc<Guard>, Arc<Services>)>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            engine.metrics.request("refused", problem.status().as_u16(), std::time::Duration::ZERO);
            problem.into_response()
        }
    };
    let headers = response.headers_mut();
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(PAGE_POLICY));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// `POST /api/v1/session`: a browser that sent the key gets a cookie in its place.
pub(crate) async fn session(State(guard): State<Arc<Guard>>) -> Response {
    match HeaderValue::from_str(&guard.cookie()) {
        Ok(cookie) => (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response(),
        Err(_) => HttpProblem::internal("the session cannot be made").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_local_names_are_taken_for_this_server() {
        for (host, local) in [
            ("localhost:7788", true),
            ("127.0.0.1:7788", true),
            ("[::1]:7788", true),
            ("192.168.0.7", true),
            ("relens.localhost", true),
            ("evil.example:7788", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.nip.io", false),
        ] {
            assert_eq!(is_local_or_address(without_port(host)), local, "{host}");
        }
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let check = |headers: &[(&'static str, &'static str)], method: Method| {
            let headers = headers.iter().map(|&(name, value)| {
                (header::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            check_origin(&headers.collect(), Some("localhost:7788"), &method).is_ok()
        };
        assert!(check(&[], Method::POST));
        assert!(check(&[("origin", "http://localhost:7788")], Method::POST));
        assert!(!check(&[("origin", "http://localhost:8080")], Method::POST));
        assert!(!check(&[("origin", "null")], Method::POST));
        assert!(!check(&[("sec-fetch-site", "cross-site")], Method::GET));
        let navigation = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert!(check(&navigation, Method::GET) && !check(&navigation, Method::POST));
    }
}
