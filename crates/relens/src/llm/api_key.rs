//! The key that an endpoint asks for.

use std::collections::HashSet;
use std::fmt;

/// So many characters of a key in a row are never shown. A shorter key is only hidden where all of it stands.
const SHOWN_PART: usize = 6;
/// What stands in the place of a key, or of a part of it.
const PLACEHOLDER: &str = "[key]";

/// A secret: it is sent to the endpoint and never shown, logged or stored.
#[derive(Clone, Default)]
pub struct ApiKey(Option<String>);

impl ApiKey {
    /// The value of an environment variable; no key if it is not set or empty, which local servers do not mind.
    pub fn from_environment(variable: &str) -> Self {
        Self::new(&std::env::var(variable).unwrap_or_default())
    }

    /// This key; none if it is empty.
    pub fn new(key: &str) -> Self {
        let key = key.trim();
        Self((!key.is_empty()).then(|| key.to_owned()))
    }

    /// The header's value, for the transport alone.
    pub(super) fn bearer(&self) -> Option<String> {
        self.0.as_ref().map(|key| format!("Bearer {key}"))
    }

    /// The text with the key taken out, and every part of it that has six characters or more: servers quote
    /// keys in their errors, and cut them off.
    pub fn redact(&self, text: &str) -> String {
        let Some(key) = &self.0 else { return text.to_owned() };
        let key: Vec<char> = key.chars().collect();
        let window = key.len().min(SHOWN_PART);
        let parts: HashSet<&[char]> = key.windows(window).collect();
        let characters: Vec<char> = text.chars().collect();
        let mut secret = vec![false; characters.len()];
        for (start, part) in characters.windows(window).enumerate() {
            if parts.contains(part) {
                secret.iter_mut().skip(start).take(window).for_each(|secret| *secret = true);
            }
        }
        let mut shown = String::with_capacity(text.len());
        let mut within = false;
        for (character, secret) in characters.into_iter().zip(secret) {
            match (secret, within) {
                (false, _) => shown.push(character),
                (true, false) => shown.push_str(PLACEHOLDER),
                (true, true) => {}
            }
            within = secret;
        }
        shown
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "ApiKey([key])" } else { "ApiKey(none)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        let key = ApiKey::new(" sk-secret\n");
        assert_eq!(format!("{key:?}"), "ApiKey([key])");
        assert_eq!(key.redact("wrong key sk-secret, sk-secret"), "wrong key [key], [key]");
        assert_eq!(key.bearer().unwrap(), "Bearer sk-secret");
        assert!(ApiKey::new(" ").bearer().is_none());
    }

    #[test]
    fn no_part_of_six_characters_is_shown() {
        let key = ApiKey::new("sk-abcdefghijkl");
        assert_eq!(key.redact("cut: sk-abcdefg"), "cut: [key]");
        assert_eq!(key.redact("…defghi… and hijkl"), "…[key]… and hijkl");
        assert_eq!(key.redact("sk-abcdefghijklsk-abcdefghijkl!"), "[key]!");
        assert_eq!(ApiKey::new("abc").redact("ab abc ü"), "ab [key] ü");
        assert_eq!(ApiKey::new("").redact("ab"), "ab");
        let text = "defghij".repeat(3);
        for start in 0..key.0.as_ref().unwrap().len() - 5 {
            let part = &key.0.as_ref().unwrap()[start..start + 6];
            assert!(!key.redact(&text).contains(part), "{part}");
        }
    }
}
