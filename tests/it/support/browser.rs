//! A real Chromium, driven by the W3C's WebDriver protocol and, where that has no word for it, by Chromium's
//! own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::parts;
use super::process::{Ending, Process, free_port};
use super::wait::wait_until;

const START_BOUND: Duration = Duration::from_mins(1);
const ARRIVE_BOUND: Duration = Duration::from_secs(30);

/// The name of an element's id in every answer (WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// The key, as WebDriver writes it (section 17.4.2).
pub(crate) const TAB: char = '\u{e004}';

/// As wide as on a desk, in CSS pixels.
pub(crate) const DESK: u32 = 1280;

/// One browser with one window, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    // The driver ends the browser that it started.
    _driver: Process,
    client: reqwest::Client,
    session: String,
    _directory: TempDir,
}

/// An element of the page that is shown.
#[derive(Debug, Clone)]
pub(crate) struct Element(String);

impl Browser {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let mut command = Command::new(parts::path("chromedriver"));
        command
            .arg(format!("--port={port}"))
            .env("HOME", directory.path());
        let driver = Process::start(command, "chromedriver", directory.path(), Ending::Terminate);
        driver.wait_until_it_listens(port, START_BOUND).await;
        let client = http::client();
        let url = format!("http://127.0.0.1:{port}/session");
        let wanted = capabilities(directory.path());
        let answer = http::post_json(&client, &url, &wanted).await;
        let answer: Value = serde_json::from_str(&answer).expect("the driver speaks JSON");
        let id = answer["value"]["sessionId"].as_str().expect("a session");
        let browser = Self {
            _driver: driver,
            client,
            session: format!("{url}/{id}"),
            _directory: directory,
        };
        browser.set_width(DESK).await;
        browser
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer = http::post_json(&self.client, &url, body).await;
        let answer: Value = serde_json::from_str(&answer).expect("the driver speaks JSON");
        answer["value"].clone()
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}/{path}", self.session);
        let answer = http::get_json(&self.client, &url).await;
        answer.unwrap_or_else(|| panic!("GET {path} is no success"))["value"].clone()
    }

    async fn text_of(&self, path: &str) -> String {
        let value = self.get(path).await;
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Opens an address, and waits until it is loaded. It stays as it is: what reloads by itself would take the
    /// elements away from under a test.
    pub(crate) async fn open(&self, url: &str) {
        self.post("url", &json!({"url": url})).await;
        self.script("window.stop()").await;
    }

    pub(crate) async fn url(&self) -> String {
        self.text_of("url").await
    }

    /// Waits until it is at an address that has all of these in it, and has loaded it: a click only begins a way.
    pub(crate) async fn arrive(&self, parts: &[&str]) -> String {
        let what = format!("the browser is at {parts:?}");
        wait_until(&what, ARRIVE_BOUND, async || {
            let url = self.url().await;
            let state = self.script("return document.readyState").await;
            (parts.iter().all(|part| url.contains(part)) && state == "complete").then_some(url)
        })
        .await
    }

    pub(crate) async fn title(&self) -> String {
        self.text_of("title").await
    }

    /// The elements that a CSS selector means, in their order.
    pub(crate) async fn all(&self, selector: &str) -> Vec<Element> {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.post("elements", &query).await;
        let found = found.as_array().cloned().unwrap_or_default();
        let id =
            |element: &Value| Element(element[ELEMENT].as_str().unwrap_or_default().to_owned());
        found.iter().map(id).collect()
    }

    /// The first of them.
    pub(crate) async fn one(&self, selector: &str) -> Element {
        let found = self.all(selector).await.into_iter().next();
        match found {
            Some(element) => element,
            None => panic!("{selector} is not on {}", self.url().await),
        }
    }

    /// The first link whose text holds this.
    pub(crate) async fn link(&self, text: &str) -> Element {
        let query = json!({"using": "partial link text", "value": text});
        let found = self.post("element", &query).await;
        Element(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    pub(crate) async fn click(&self, element: &Element) {
        self.post(&format!("element/{}/click", element.0), &json!({}))
            .await;
    }

    pub(crate) async fn fill(&self, element: &Element, text: &str) {
        let path = format!("element/{}/value", element.0);
        self.post(&path, &json!({"text": text})).await;
    }

    /// What is seen of it.
    pub(crate) async fn text(&self, element: &Element) -> String {
        self.text_of(&format!("element/{}/text", element.0)).await
    }

    /// Its role in the accessibility tree.
    pub(crate) async fn role(&self, element: &Element) -> String {
        self.text_of(&format!("element/{}/computedrole", element.0))
            .await
    }

    /// What a screen reader calls it.
    pub(crate) async fn label(&self, element: &Element) -> String {
        self.text_of(&format!("element/{}/computedlabel", element.0))
            .await
    }

    /// Presses a key, and lets it go.
    pub(crate) async fn press(&self, key: char) {
        let keys = json!({"actions": [{"type": "key", "id": "keyboard", "actions": [
            {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]});
        self.post("actions", &keys).await;
    }

    /// What a script of the test's own says; the page has none.
    pub(crate) async fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
            .await
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn chromium(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.post("goog/cdp/execute", &body).await
    }

    /// How wide the page is, in CSS pixels.
    pub(crate) async fn set_width(&self, width: u32) {
        let metrics =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.chromium("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    pub(crate) async fn set_scheme(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        let media = json!({"features": [feature]});
        self.chromium("Emulation.setEmulatedMedia", media).await;
    }

    /// What the browser complained of since it was asked last: violations of a policy above all.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let told = self.post("se/log", &json!({"type": "browser"})).await;
        let told = told.as_array().cloned().unwrap_or_default();
        told.iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}

fn capabilities(directory: &Path) -> Value {
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:loggingPrefs": {"browser": "ALL"},
        "goog:chromeOptions": {
            "binary": parts::path("chromium"),
            // The tests may run as root, and where shared memory is small.
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--no-proxy-server", "--hide-scrollbars", profile],
        },
    }}})
}
