//! The key that an endpoint asks for.

use std::fmt;

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

    /// The text with every occurrence of the key taken out: servers quote it in their errors.
    pub fn redact(&self, text: &str) -> String {
        match &self.0 {
            Some(key) => text.replace(key.as_str(), "[key]"),
            None => text.to_owned(),
        }
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
}
