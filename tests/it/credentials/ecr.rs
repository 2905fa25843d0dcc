//! Amazon's registry: who pullproof is to AWS, the signed request, and the password that it gives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pullproof::clock::{Clock as _, SystemClock};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::daemon::shop::{OFTEN, of_list};
use crate::support::daemon::Daemon;
use crate::support::server::Server;

use super::scripted::{Door, Environment, Scripted, assert_unavailable, verify};

const REGION: &str = "eu-west-1";

/// ECR's API, STS, and the metadata services of an instance and of a pod, at one address.
struct Amazon {
    server: Server,
    asked: Arc<Mutex<Asked>>,
}

struct Asked {
    /// Secret keys and session tokens by the id of the access key.
    keys: BTreeMap<&'static str, (&'static str, Option<&'static str>)>,
    life: Duration,
    passwords: usize,
    registry: Arc<Scripted>,
    is_away: bool,
}

impl Amazon {
    fn new(registry: &Arc<Scripted>, life: Duration) -> Self {
        let asked = Arc::new(Mutex::new(Asked {
            keys: BTreeMap::from([
                ("AKIDFILE", ("file/secret+", None)),
                ("AKIDENV", ("env/secret+", Some("env-session"))),
                ("ASIAWEB", ("web/secret+", Some("web-session=="))),
                ("ASIAPOD", ("pod/secret+", Some("pod-session"))),
                (
                    "ASIAINSTANCE",
                    ("instance/secret+", Some("instance-session")),
                ),
            ]),
            life,
            passwords: 0,
            registry: Arc::clone(registry),
            is_away: false,
        }));
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&asked));
        Self {
            server: Server::start(router),
            asked,
        }
    }

    fn url(&self) -> String {
        self.server.url()
    }

    fn passwords(&self) -> usize {
        self.asked.lock().unwrap().passwords
    }
}

async fn answer(
    State(asked): State<Arc<Mutex<Asked>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut asked = asked.lock().unwrap();
    if asked.is_away {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forbidden = StatusCode::FORBIDDEN.into_response();
    let keys = |id: &str| {
        let (secret, token) = asked.keys[id];
        axum::Json(json!({
            "Code": "Success", "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
            "Expiration": "2099-01-01T00:00:00Z",
        }))
        .into_response()
    };
    match (method.as_str(), uri.path()) {
        ("POST", "/") if header("x-amz-target").is_some() => {
            if !is_signed(&asked, &headers, &body) {
                let problem =
                    json!({"__type": "InvalidSignatureException", "message": "told hunter2"});
                return (StatusCode::BAD_REQUEST, axum::Json(problem)).into_response();
            }
            asked.passwords += 1;
            let pair = format!("AWS:password-{}", asked.passwords);
            asked.registry.allow(&pair, "");
            let life = i64::try_from(asked.life.as_secs()).unwrap();
            let expires = SystemClock.now().as_second() + life;
            axum::Json(json!({"authorizationData": [{
                "authorizationToken": STANDARD.encode(pair), "expiresAt": expires,
                "proxyEndpoint": "https://registry.example",
            }]}))
            .into_response()
        }
        ("POST", "/") => {
            let text = String::from_utf8_lossy(&body);
            let wanted = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&\
                          RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fpuller&RoleSessionName=pullproof&\
                          WebIdentityToken=service-account";
            if text != wanted {
                let problem =
                    "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
                return (StatusCode::FORBIDDEN, problem).into_response();
            }
            let (secret, token) = asked.keys["ASIAWEB"];
            format!(
                "<R><Credentials><AccessKeyId>ASIAWEB</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{}</SessionToken></Credentials></R>",
                token.unwrap()
            )
            .into_response()
        }
        ("GET", "/v1/credentials") if header("authorization") == Some("pod-token") => {
            keys("ASIAPOD")
        }
        ("PUT", "/latest/api/token")
            if header("x-aws-ec2-metadata-token-ttl-seconds").is_some() =>
        {
            "imds-session".into_response()
        }
        ("GET", path) if header("x-aws-ec2-metadata-token") == Some("imds-session") => match path {
            "/latest/meta-data/iam/security-credentials/" => "node-role".into_response(),
            "/latest/meta-data/iam/security-credentials/node-role" => keys("ASIAINSTANCE"),
            _ => forbidden,
        },
        _ => forbidden,
    }
}

fn hash(content: &[u8]) -> Vec<u8> {
    Sha256::digest(content).to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let digits = bytes.iter().flat_map(digits);
    digits
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

/// RFC 2104, written out, so that what is checked is not what signed.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = key.to_vec();
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = hash(&[&pad(0x36)[..], message].concat());
    hash(&[&pad(0x5c)[..], &inner].concat())
}

/// Whether a request is signed as AWS wants it, by one of the keys, just now.
fn is_signed(asked: &Asked, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let Some(authorization) = header("authorization") else {
        return false;
    };
    let part = |name: &str| {
        let (_, rest) = authorization.split_once(name).unwrap();
        rest.split(',').next().unwrap().to_owned()
    };
    let (credential, signed, signature) = (
        part("Credential="),
        part("SignedHeaders="),
        part("Signature="),
    );
    let (id, scope) = credential.split_once('/').unwrap();
    let Some((secret, token)) = asked.keys.get(id) else {
        return false;
    };
    let date = header("x-amz-date").unwrap();
    let day = SystemClock.now().strftime("%Y%m%d").to_string();
    assert!(date.starts_with(&day), "it is signed for {date}");
    assert_eq!(scope, format!("{day}/{REGION}/ecr/aws4_request"));
    let lines: Vec<String> = signed
        .split(';')
        .map(|name| format!("{name}:{}\n", header(name).unwrap()))
        .collect();
    let lines = lines.concat();
    for name in ["host", "x-amz-date", "x-amz-target"] {
        assert!(
            signed.split(';').any(|known| known == name),
            "{name} is not signed"
        );
    }
    let canonical = format!("POST\n/\n\n{lines}\n{signed}\n{}", hex(&hash(body)));
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&hash(canonical.as_bytes()))
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    header("x-amz-security-token") == *token && hex(&hmac(&key, to_sign.as_bytes())) == signature
}

fn configure(home: &Path, registry: &Scripted, amazon: &Amazon, more: &str) {
    let text = format!(
        "registries: [{{host: \"{}\", plainHttp: true, credentials: {{ecr: {{region: {REGION}, endpoint: \"{}\"{more}}}}}}}]\n",
        registry.host(),
        amazon.url()
    );
    std::fs::write(home.join("pullproof.yaml"), text).unwrap();
}

/// A home with the files that AWS's clients are told of, and what tells of them.
struct Ways {
    home: tempfile::TempDir,
    url: String,
}

impl Ways {
    fn new(amazon: &Amazon) -> Self {
        let home = tempfile::tempdir().unwrap();
        let key = |secret: &str| {
            format!("[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = {secret}\n")
        };
        for (name, text) in [
            ("key", key("file/secret+").as_str()),
            ("wrong-key", &key("hunter2")),
            ("token", "service-account\n"),
            ("pod-token", "pod-token"),
        ] {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        let url = amazon.url();
        Self { home, url }
    }

    fn file(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    fn role(&self, token: &str) -> Environment {
        vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", self.file(token)),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/puller".to_owned()),
            ("AWS_ENDPOINT_URL_STS", self.url.clone()),
        ]
    }

    fn pod(&self, token: &str) -> Environment {
        let url = format!("{}/v1/credentials", self.url);
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", self.file(token)),
        ]
    }
}

fn instance(url: &str) -> Environment {
    vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.to_owned())]
}

fn key_of_environment(secret: &str) -> Environment {
    vec![
        ("AWS_ACCESS_KEY_ID", "AKIDENV".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
        ("AWS_SESSION_TOKEN", "env-session".to_owned()),
    ]
}

#[tokio::test]
async fn every_way_to_be_somebody_to_aws_leads_to_a_password() {
    let registry = Arc::new(Scripted::new(Door::Basic));
    let amazon = Amazon::new(&registry, Duration::from_hours(12));
    let ways = Ways::new(&amazon);
    let file = ", accessKey: {file: key}";
    for (name, more, environment) in [
        ("file", file, Vec::new()),
        // What is configured comes before what is around.
        ("file first", file, key_of_environment("wrong")),
        ("environment", "", key_of_environment("env/secret+")),
        ("web identity", "", ways.role("token")),
        ("pod identity", "", ways.pod("pod-token")),
        ("instance", "", instance(&ways.url)),
    ] {
        configure(ways.home.path(), &registry, &amazon, more);
        let before = amazon.passwords();
        let ended = verify(ways.home.path(), &registry, &environment).await;
        assert_eq!(ended.code, 0, "{name}: {ended:?}");
        assert_eq!(amazon.passwords(), before + 1, "{name}");
        let expected = format!("AWS:password-{}", before + 1);
        let asked = registry.who_asked("/v2/team/");
        assert!(asked.contains(&expected), "{name}");
    }
}

#[tokio::test]
async fn where_aws_gives_no_password_nothing_is_asked_and_nothing_is_broken() {
    let registry = Arc::new(Scripted::new(Door::Basic));
    let amazon = Amazon::new(&registry, Duration::from_hours(12));
    let ways = Ways::new(&amazon);
    let plain = "http://registry.example/x".to_owned();
    // Who names a role means it: none of what comes after is tried.
    let mixed = [ways.role("pod-token"), ways.pod("pod-token")].concat();
    for (more, environment, told) in [
        (
            ", accessKey: {file: wrong-key}",
            Vec::new(),
            "ECR's API answered 400 (InvalidSignatureException)",
        ),
        ("", ways.role("none"), "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("", mixed, "STS) answered 403 (AccessDenied)"),
        ("", ways.pod("token"), "credential service answered 403"),
        ("", instance("http://127.0.0.1:1"), "there is no access key"),
        (
            "",
            vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", plain)],
            "neither https nor on this machine",
        ),
    ] {
        configure(ways.home.path(), &registry, &amazon, more);
        let ended = verify(ways.home.path(), &registry, &environment).await;
        assert_unavailable(&ended, told, &["hunter2", "service-account"]);
    }
    assert!(registry.seen().is_empty(), "it was asked as somebody else");
}

#[tokio::test]
async fn a_password_is_renewed_before_it_expires_and_nobody_notices() {
    let registry = Arc::new(Scripted::new(Door::Basic));
    // Renewed from half of its life on, by whichever round comes then.
    let amazon = Amazon::new(&registry, Duration::from_secs(6));
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    std::fs::write(path("keep.txt"), format!("{}/team/app:1", registry.host())).unwrap();
    let key = "aws_access_key_id = AKIDFILE\naws_secret_access_key = file/secret+\n";
    std::fs::write(path("key"), key).unwrap();
    let entry = format!(
        "  - {{host: \"{}\", plainHttp: true, verify: {OFTEN}, credentials: {{ecr: {{region: {REGION}, endpoint: \"{}\", accessKey: {{file: {}}}}}}}}}\n",
        registry.host(),
        amazon.url(),
        path("key").display()
    );
    let daemon = Daemon::start(&of_list(&path("keep.txt"), &[entry]));
    daemon
        .wait_until("the third password is used", async || {
            let asked = registry.who_asked("/v2/team/");
            asked.contains(&"AWS:password-3".to_owned()).then_some(())
        })
        .await;
    daemon
        .wait_for_series("workload_image_pullable", &[" 1"])
        .await;
    assert!(
        daemon
            .series("workload_image_unknown{", &[])
            .await
            .is_empty()
    );

    // With the service gone for longer than a password lives, nothing is known, and nothing broken.
    amazon.asked.lock().unwrap().is_away = true;
    daemon
        .wait_for_series("workload_image_unknown", &["credential_unavailable"])
        .await;
    assert!(
        daemon
            .series("workload_image_failure{", &[])
            .await
            .is_empty()
    );
}
