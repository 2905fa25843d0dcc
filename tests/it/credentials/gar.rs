//! Google's registry: an access token, whoever pullproof is to Google.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::support::parts::{self, require};
use crate::support::process::run_well;
use crate::support::server::Server;

use super::scripted::{Door, Environment, Scripted, assert_unavailable, form, verify};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const ACCOUNT: &str = "puller@project.example";

/// Google's token services and a metadata server, at one address.
struct Google {
    server: Server,
    /// With the public key, and room for what openssl is to look at.
    home: tempfile::TempDir,
}

impl Google {
    /// With the files that name it: a service account's key, and external accounts.
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new(parts::path("openssl"));
            command.args(arguments).current_dir(home.path());
            run_well(command)
        };
        for (key, public) in [("key.pem", "public.pem"), ("other.pem", "other-public.pem")] {
            openssl(&[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-out",
                key,
            ])
            .await;
            openssl(&["pkey", "-in", key, "-pubout", "-out", public]).await;
        }
        let host = Arc::new(Mutex::new(String::new()));
        let state = (Arc::new(home.path().to_owned()), Arc::clone(&host));
        let server = Server::start(Router::new().fallback(answer).with_state(state));
        *host.lock().unwrap() = server.host();
        let url = server.url();
        let write = |name: &str, content: Value| {
            std::fs::write(path(name), content.to_string()).unwrap();
        };
        for (name, key) in [("account.json", "key.pem"), ("stranger.json", "other.pem")] {
            let key = std::fs::read_to_string(path(key)).unwrap();
            write(
                name,
                json!({
                    "type": "service_account", "client_email": ACCOUNT, "private_key_id": "k1",
                    "private_key": key, "token_uri": format!("{url}/token"),
                }),
            );
        }
        std::fs::write(path("subject"), "subject-token\n").unwrap();
        write("subject.json", json!({"access": "subject-token"}));
        let external = |source: Value, more: Value| {
            let mut account = json!({
                "type": "external_account", "audience": "//iam.example/providers/p",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": format!("{url}/sts"), "credential_source": source,
            });
            account
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            account
        };
        let text = json!({"file": path("subject")});
        let nested = json!({"file": path("subject.json"),
            "format": {"type": "json", "subject_token_field_name": "access"}});
        let impersonated =
            json!({"service_account_impersonation_url": format!("{url}/impersonate")});
        write("federated.json", external(text.clone(), json!({})));
        write("impersonating.json", external(nested, impersonated));
        write(
            "elsewhere.json",
            external(text, json!({"token_url": "http://sts.example/"})),
        );
        write("url.json", external(json!({"url": url}), json!({})));
        write(
            "person.json",
            json!({"type": "authorized_user", "refresh_token": "hunter2"}),
        );
        write(
            "broken.json",
            json!({"type": "service_account", "private_key": "hunter2"}),
        );
        Self { server, home }
    }

    fn file(&self, name: &str) -> Environment {
        let file = self.home.path().join(name).display().to_string();
        vec![("GOOGLE_APPLICATION_CREDENTIALS", file)]
    }
}

type Shared = (Arc<std::path::PathBuf>, Arc<Mutex<String>>);

async fn answer(
    State((home, host)): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let form = form(&body);
    let has = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .all(|(key, value)| form.get(*key).map(String::as_str) == Some(*value))
    };
    let token = |token: &str| {
        axum::Json(json!({"access_token": token, "expires_in": 3599, "token_type": "Bearer"}))
            .into_response()
    };
    let refused = || {
        let problem = json!({"error": "invalid_grant", "error_description": "told hunter2"});
        (StatusCode::BAD_REQUEST, axum::Json(problem)).into_response()
    };
    match uri.path() {
        "/token" => {
            let audience = format!("http://{}/token", host.lock().unwrap());
            let is_asked = has(&[("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")]);
            if is_asked && is_signed(&home, &audience, &form["assertion"]) {
                token("ya29.account")
            } else {
                refused()
            }
        }
        "/sts"
            if has(&[
                (
                    "grant_type",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ),
                ("audience", "//iam.example/providers/p"),
                ("scope", SCOPE),
                (
                    "requested_token_type",
                    "urn:ietf:params:oauth:token-type:access_token",
                ),
                ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
                ("subject_token", "subject-token"),
            ]) =>
        {
            token("ya29.federated")
        }
        "/impersonate" if header("authorization") == Some("Bearer ya29.federated") => {
            let asked: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(asked["scope"], json!([SCOPE]));
            let until = SystemClock.now() + jiff::SignedDuration::from_hours(1);
            axum::Json(json!({"accessToken": "ya29.impersonated", "expireTime": until.to_string()}))
                .into_response()
        }
        "/computeMetadata/v1/instance/service-accounts/default/token"
            if header("metadata-flavor") == Some("Google") =>
        {
            token("ya29.metadata")
        }
        _ => refused(),
    }
}

/// Whether a JWT says what it should, and openssl finds the account's key behind its signature.
fn is_signed(home: &Path, audience: &str, assertion: &str) -> bool {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    assert_eq!(parts[0], json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let now = SystemClock.now().as_second();
    let issued = parts[1]["iat"].as_i64().unwrap();
    assert!((now - 60..=now + 1).contains(&issued), "{issued} at {now}");
    let expected = json!({
        "iss": ACCOUNT, "scope": SCOPE, "aud": audience, "iat": issued, "exp": issued + 3600,
    });
    assert_eq!(parts[1], expected);
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    std::fs::write(path("signed"), signed).unwrap();
    std::fs::write(
        path("signature"),
        URL_SAFE_NO_PAD.decode(signature).unwrap(),
    )
    .unwrap();
    let mut openssl = Command::new(parts::path("openssl"));
    openssl
        .args(["dgst", "-sha256", "-verify"])
        .arg(home.join("public.pem"));
    openssl
        .arg("-signature")
        .arg(path("signature"))
        .arg(path("signed"));
    openssl.output().unwrap().status.success()
}

fn configure(home: &Path, registry: &Scripted, gar: &str) {
    let text = format!(
        "registries: [{{host: \"{}\", plainHttp: true, credentials: {{gar: {gar}}}}}]\n",
        registry.host()
    );
    std::fs::write(home.join("pullproof.yaml"), text).unwrap();
}

#[tokio::test]
async fn every_way_to_be_somebody_to_google_leads_to_an_access_token() {
    require!("openssl");
    let google = Google::new().await;
    let home = google.home.path();
    let metadata: Environment = vec![("GCE_METADATA_HOST", google.server.host())];
    let written = "{applicationCredentials: {file: account.json}}";
    for (gar, environment, token) in [
        (written, Vec::new(), "ya29.account"),
        // What is configured comes before what is around.
        (written, google.file("federated.json"), "ya29.account"),
        ("{}", google.file("account.json"), "ya29.account"),
        ("{}", google.file("federated.json"), "ya29.federated"),
        ("{}", google.file("impersonating.json"), "ya29.impersonated"),
        ("{}", metadata, "ya29.metadata"),
    ] {
        let registry = Scripted::new(Door::Token);
        registry.allow(&format!("oauth2accesstoken:{token}"), "");
        configure(home, &registry, gar);
        let ended = verify(home, &registry, &environment).await;
        assert_eq!(ended.code, 0, "{token}: {ended:?}");
        assert!(!ended.stdout.contains("ya29"), "{ended:?}");
    }
}

#[tokio::test]
async fn where_google_gives_no_token_nothing_is_asked_and_nothing_is_broken() {
    require!("openssl");
    let google = Google::new().await;
    let home = google.home.path();
    let registry = Scripted::new(Door::Token);
    configure(home, &registry, "{}");
    let nowhere: Environment = vec![("GCE_METADATA_HOST", "127.0.0.1:1".to_owned())];
    for (environment, told) in [
        (google.file("stranger.json"), "answered 400 (invalid_grant)"),
        (google.file("none.json"), "cannot be read"),
        (google.file("broken.json"), "it is not the JSON of"),
        (google.file("person.json"), "others need a person"),
        (google.file("url.json"), "is not a file"),
        (
            google.file("elsewhere.json"),
            "neither https nor on this machine",
        ),
        (nowhere, "there is no file of credentials"),
    ] {
        let ended = verify(home, &registry, &environment).await;
        assert_unavailable(&ended, told, &["hunter2", "subject-token", "BEGIN"]);
    }
    assert!(registry.seen().is_empty(), "it was asked as somebody else");
}
