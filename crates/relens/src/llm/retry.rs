//! How long to wait before a request is repeated.

use std::time::{Duration, SystemTime};

use rand::RngExt;

use super::settings::RetrySettings;

/// The longest `Retry-After` that is believed; a broken clock must not stop a run for years.
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// The pause after attempt number `attempt` (from 1) has failed: doubling, with jitter between half and all of it, so
/// that many requests do not come back at once. What the endpoint asks for is never cut short.
pub(super) fn pause(settings: &RetrySettings, attempt: u32, wish: Option<Duration>) -> Duration {
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
        let settings = RetrySettings::default();
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
