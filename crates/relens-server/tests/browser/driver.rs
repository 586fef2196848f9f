//! As much of the WebDriver protocol as the tests need: chromedriver, a window, elements, keys, scripts.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// The key of an element in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long to wait for what the page does not show yet.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often to look.
const PAUSE: Duration = Duration::from_millis(50);

/// A browser without a screen, ended when it is dropped.
pub(crate) struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// The first program of these that is there.
fn find(names: &[&str]) -> Option<String> {
    let works = |name: &&&str| {
        let run = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    names.iter().find(works).map(|name| (*name).to_owned())
}

impl Browser {
    /// Starts a browser; none, and a message, where chromedriver or Chromium is missing.
    pub(crate) async fn start() -> Option<Self> {
        let driver = find(&["chromedriver", "/usr/lib/chromium/chromedriver"]);
        let browser = find(&["chromium", "chromium-browser", "google-chrome"]);
        let (Some(driver), Some(_)) = (driver, browser) else {
            eprintln!("skipped: expected chromedriver and chromium, found one or none of them");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new(driver)
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        relens::llm::install_tls_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut started = Self { driver, client, session: format!("http://127.0.0.1:{port}") };
        let ready = async |browser: &Self| {
            let status = browser.client.get(format!("{}/status", browser.session)).send().await;
            status.is_ok_and(|status| status.status().is_success()).then_some(())
        };
        eventually("chromedriver to listen", async || ready(&started).await).await;
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
        ];
        let options = json!({ "args": arguments });
        let log = json!({"browser": "ALL"});
        let capabilities = json!({"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": log}});
        let made = started.post("/session", json!({"capabilities": capabilities})).await;
        let id = made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned();
        started.session = format!("{}/session/{id}", started.session);
        Some(started)
    }

    /// Closes the window, which the driver would leave behind.
    pub(crate) async fn end(self) {
        let _ = self.client.delete(&self.session).send().await;
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.session);
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_string());
        let text = request.send().await.unwrap().text().await.unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["value"].clone()
    }

    pub(crate) async fn open(&self, address: &str) {
        self.post("/url", json!({"url": address})).await;
    }

    /// Runs a script in the page, which may wait, and returns what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
        );
        self.post("/execute/async", json!({"script": script, "args": []})).await
    }

    /// The element that a selector finds, as soon as it is there.
    async fn element(&self, selector: &str) -> String {
        let find = async || {
            let body = json!({"using": "css selector", "value": selector});
            self.post("/element", body).await[ELEMENT].as_str().map(str::to_owned)
        };
        eventually(selector, find).await
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.command_of(selector, "click", json!({})).await;
    }

    pub(crate) async fn write(&self, selector: &str, text: &str) {
        self.command_of(selector, "clear", json!({})).await;
        self.command_of(selector, "value", json!({"text": text})).await;
    }

    /// Gives a command to an element. The page may draw it anew between finding and asking: then it is found again.
    async fn command_of(&self, selector: &str, command: &str, body: Value) {
        let done = async || {
            let element = self.element(selector).await;
            let error = self.post(&format!("/element/{element}/{command}"), body.clone()).await;
            let gone = error["error"] == "stale element reference";
            assert!(error.is_null() || gone, "{selector}: {error}");
            (!gone).then_some(())
        };
        eventually(selector, done).await;
    }

    /// Presses a key where the focus is.
    pub(crate) async fn press(&self, key: &str) {
        let keys = json!([{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]);
        let actions = json!([{"type": "key", "id": "keyboard", "actions": keys}]);
        self.post("/actions", json!({"actions": actions})).await;
    }

    /// Waits until a script returns something that is true.
    pub(crate) async fn until(&self, expression: &str) {
        let holds = async || (self.run(&format!("return Boolean({expression})")).await == true).then_some(());
        eventually(expression, holds).await;
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        self.command(
            "Emulation.setDeviceMetricsOverride",
            json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
            }),
        )
        .await;
    }

    /// Lets the page believe that its user likes it dark, or light.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.command("Emulation.setEmulatedMedia", json!({"features": feature})).await;
    }

    async fn command(&self, command: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({"cmd": command, "params": parameters})).await;
    }

    /// Keeps a picture of the page where `RELENS_SCREENSHOTS` says, if it says so.
    pub(crate) async fn screenshot(&self, name: &str) {
        let Some(directory) = std::env::var_os("RELENS_SCREENSHOTS") else { return };
        let url = format!("{}/screenshot", self.session);
        let text = self.client.get(url).send().await.unwrap().text().await.unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        use base64::Engine as _;
        let png = base64::engine::general_purpose::STANDARD.decode(value["value"].as_str().unwrap()).unwrap();
        std::fs::write(std::path::Path::new(&directory).join(name), png).unwrap();
    }

    /// What the page complained about.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({"type": "browser"})).await;
        let severe = entries.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }
}

/// Looks again and again until there is something.
async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
