//! The service that does what relens does not.

use std::time::Duration;

use crate::error::ServerError;

/// How long a connection to it may take.
const CONNECTION_TIME: Duration = Duration::from_secs(5);

/// Another service in immich's form.
pub(crate) struct Upstream {
    pub(crate) client: reqwest::Client,
    /// The address of its `/predict`.
    pub(crate) predict: String,
}

impl Upstream {
    /// At `address`, such as `http://immich-machine-learning:3003`.
    ///
    /// # Errors
    /// [`ServerError::Setting`] if it is no address.
    pub(crate) fn new(address: &str) -> Result<Self, ServerError> {
        relens::llm::install_tls_provider();
        let refuse = |found: String| ServerError::Setting {
            setting: "--upstream",
            expected: "an address such as http://immich-machine-learning:3003".to_owned(),
            found,
        };
        let url = reqwest::Url::parse(address).map_err(|error| refuse(format!("`{address}` ({error})")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(refuse(format!("`{address}`")));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECTION_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self { client, predict: format!("{}/predict", address.trim_end_matches('/')) })
    }
}
