//! The HTTP client of the tests.

use std::path::Path;

use reqwest::{Certificate, Client};
use serde_json::Value;

/// The library chooses no crypto provider by itself, so that the daemon decides; here we do.
pub(crate) fn install_crypto_provider() {
    // It fails when another test has installed it before; that is the same one.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
}

/// Speaks to loopback. It trusts no authority, so that TLS fails unless a test names one.
pub(crate) fn client() -> Client {
    build(Vec::new())
}

pub(crate) fn client_trusting(authority: &Path) -> Client {
    let text = std::fs::read(authority).expect("the authority's certificate is there");
    build(vec![Certificate::from_pem(&text).expect("a certificate")])
}

fn build(authorities: Vec<Certificate>) -> Client {
    install_crypto_provider();
    Client::builder()
        .no_proxy()
        .tls_certs_only(authorities)
        .build()
        .expect("a client needs no more than a crypto provider")
}

/// Fetches JSON; none unless the answer is a success, so that it can be polled.
pub(crate) async fn get_json(client: &Client, url: &str) -> Option<Value> {
    let response = client.get(url).send().await.ok()?.error_for_status().ok()?;
    serde_json::from_slice(&response.bytes().await.ok()?).ok()
}

/// Sends JSON, and panics unless the answer is a success.
pub(crate) async fn post_json(client: &Client, url: &str, body: &Value) -> String {
    let request = client.post(url).header("content-type", "application/json");
    let response = request
        .body(body.to_string())
        .send()
        .await
        .expect("it answers");
    let status = response.status();
    let text = response.text().await.expect("the answer is text");
    assert!(status.is_success(), "POST {url} answered {status}: {text}");
    text
}
