//! One attempt: a request goes out, and what comes back is told apart; and how long to wait before the next.

use std::sync::Once;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use super::api_key::ApiKey;
use super::error::LlmError;
use super::settings::{ClientConfig, RetryConfig};
use super::wire::{self, Received};

/// The longest reply that is read; a long text with its numbers has a hundredth of it.
const LARGEST_REPLY: usize = 16 << 20;

/// How an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another attempt may succeed.
    Passing {
        /// What happened.
        reason: String,
        /// How long the endpoint asks to wait.
        wait: Option<Duration>,
        /// Whether the endpoint may have charged for it: it had the whole request, and no refusal came back.
        charged: bool,
    },
    /// The key is not accepted.
    Key { status: u16, message: String },
    /// The request is not accepted.
    Rejected { status: u16, message: String },
}

/// Chooses what encrypts connections of this process, which has to be done before the first client is made.
pub fn install_tls_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another part of the program may have chosen already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A connection pool to one endpoint.
#[derive(Debug)]
pub(super) struct Transport {
    client: Client,
    url: String,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &ClientConfig, key: &ApiKey) -> Result<Self, LlmError> {
        install_tls_provider();
        let refuse = |field, found: String| LlmError::Setting {
            field,
            expected: "one that requests can be made with".to_owned(),
            found,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(bearer) = key.bearer() {
            let mut value = HeaderValue::from_str(&bearer)
                .map_err(|_| refuse("key", "one with characters that no header can hold".to_owned()))?;
            // The library then leaves it out of what it prints.
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = Client::builder()
            .default_headers(headers)
            .timeout(settings.timeout)
            // A redirect could carry the key to another host.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(settings.in_flight);
        if settings.base_url.starts_with("http://") {
            // Without TLS no certificates are needed, and a machine without any can still ask a local server.
            builder = builder.tls_certs_only([]);
        }
        if is_local(&settings.base_url) {
            // A proxy for the internet cannot reach this machine's own servers.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| refuse("base URL", chain(&error)))?;
        Ok(Self { client, timeout: settings.timeout, url: format!("{}/chat/completions", settings.base_url) })
    }

    /// Sends a request and reads what comes back, within the time and the bytes that there are for all of it.
    pub(super) async fn attempt(&self, body: Vec<u8>) -> Result<Received, Failure> {
        // The client's own timeout begins anew with a redirect or an interim answer; this one does not.
        tokio::time::timeout(self.timeout, self.exchange(body)).await.unwrap_or_else(|_| {
            Err(Failure::Passing { reason: "no reply in time".to_owned(), wait: None, charged: true })
        })
    }

    async fn exchange(&self, body: Vec<u8>) -> Result<Received, Failure> {
        let mut response =
            self.client.post(&self.url).body(body).send().await.map_err(|error| passing(&error))?;
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let wait = wait.and_then(|value| retry_after(value, SystemTime::now()));
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| passing(&error))? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST_REPLY {
                let reason = format!("expected a reply of at most {LARGEST_REPLY} bytes, found a longer one");
                return Err(Failure::Passing { reason, wait: None, charged: status.is_success() });
            }
        }
        if status.is_success() {
            return wire::received(&body).map_err(|reason| Failure::Passing {
                reason: format!("the reply is not what the protocol says: {reason}"),
                wait: None,
                charged: true,
            });
        }
        let message = wire::error_message(&body);
        let code = status.as_u16();
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
                Failure::Key { status: code, message }
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS => {
                Failure::Passing { reason: format!("status {code}: {message}"), wait, charged: false }
            }
            _ if status.is_server_error() => {
                Failure::Passing { reason: format!("status {code}: {message}"), wait, charged: false }
            }
            _ => Failure::Rejected { status: code, message },
        })
    }
}

/// An error of the connection. A request that never left cannot have been charged for.
fn passing(error: &reqwest::Error) -> Failure {
    let reason = if error.is_timeout() { "no reply in time".to_owned() } else { chain(error) };
    // Once the request was sent, the server may have worked on it.
    Failure::Passing { reason, wait: None, charged: !error.is_connect() }
}

/// An error with its causes, without addresses.
fn chain(error: &reqwest::Error) -> String {
    let mut text = "the connection failed".to_owned();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn is_local(base_url: &str) -> bool {
    let host = reqwest::Url::parse(base_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    matches!(host.as_deref(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

/// The longest `Retry-After` that is believed; a broken clock must not stop a run for years.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// The pause after attempt number `attempt` (from 1) has failed: doubling, with jitter between half and all of it, so
/// that many requests do not come back at once. What the endpoint asks for is never cut short.
pub(super) fn pause(settings: &RetryConfig, attempt: u32, wish: Option<Duration>) -> Duration {
    let doubled = settings.first_pause.saturating_mul(2u32.saturating_pow(attempt.saturating_sub(1).min(20)));
    // Drawn at random, so that requests that failed together do not come back together.
    let own = doubled.min(settings.longest_pause).mul_f64(rand::rng().random_range(0.5..=1.0));
    match wish {
        // Never sooner than the server asks.
        Some(wish) => own.max(wish),
        None => own,
    }
}

/// Reads `Retry-After`: seconds, or a date.
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        let usable = seconds.is_finite() && seconds >= 0.0;
        return usable.then(|| Duration::from_secs_f64(seconds.min(LONGEST_WISH.as_secs_f64())));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoints_wish_is_honoured_and_pauses_grow() {
        let settings = RetryConfig::default();
        for attempt in 1..12 {
            let full = Duration::from_millis(500 << (attempt - 1)).min(settings.longest_pause);
            let pause = pause(&settings, attempt, None);
            assert!(pause >= full / 2 && pause <= full, "{attempt}: {pause:?}");
        }
        assert!(pause(&settings, 1, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert_eq!(pause(&settings, 1, Some(Duration::from_secs(700))), Duration::from_secs(700));
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        assert_eq!(retry_after(" 3 ", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("0.5", now), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT", now), Some(Duration::from_secs(10)));
        for wrong in ["", "soon", "-1", "NaN"] {
            assert_eq!(retry_after(wrong, now), None, "{wrong}");
        }
        assert_eq!(retry_after("1e300", now), Some(LONGEST_WISH));
    }
}
