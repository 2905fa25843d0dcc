//! Azure's registry: an access token of the identity platform, exchanged for a refresh token.

use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::support::server::Server;

use super::scripted::{Door, Environment, Scripted, assert_unavailable, form, verify};

const RESOURCE: &str = "https://management.azure.com/";

/// The identity platform, and the metadata service of a machine, at one address.
async fn answer(uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let token = |token: &str| {
        // The metadata service has its numbers in quotes.
        let body = json!({"access_token": token, "expires_in": "3599", "token_type": "Bearer"});
        axum::Json(body).into_response()
    };
    let form = form(&body);
    let is_client = |key: &str, proof: &str| {
        let scope = format!("{RESOURCE}.default");
        [
            ("grant_type", "client_credentials"),
            ("client_id", "client"),
            ("scope", &scope),
            (key, proof),
        ]
        .iter()
        .all(|(key, value)| form.get(*key).map(String::as_str) == Some(*value))
    };
    let assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let is_assertion =
        form.get("client_assertion_type").map(String::as_str) == Some(assertion_type);
    match uri.path() {
        "/tenant/oauth2/v2.0/token" if is_client("client_secret", "s3cret") => {
            token("of a principal")
        }
        "/tenant/oauth2/v2.0/token"
            if is_client("client_assertion", "federated-token") && is_assertion =>
        {
            token("of a workload")
        }
        "/metadata/identity/oauth2/token" if headers.get("metadata").is_some() => {
            let url = reqwest::Url::parse(&format!("http://host{uri}")).unwrap();
            let of = |name: &str| {
                let mut pairs = url.query_pairs();
                pairs
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.into_owned())
            };
            assert_eq!(of("api-version").as_deref(), Some("2018-02-01"));
            assert_eq!(of("resource").as_deref(), Some(RESOURCE));
            match of("client_id") {
                Some(client) => token(&format!("of {client}")),
                None => token("of a machine"),
            }
        }
        _ => {
            let problem = json!({"error": "invalid_client", "error_description": "told hunter2"});
            (StatusCode::UNAUTHORIZED, axum::Json(problem)).into_response()
        }
    }
}

struct Azure {
    server: Server,
    home: tempfile::TempDir,
}

impl Azure {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("secret", "s3cret\n"),
            ("wrong-secret", "hunter2"),
            ("token", "federated-token"),
        ] {
            std::fs::write(home.path().join(name), text).unwrap();
        }
        Self {
            server: Server::start(Router::new().fallback(answer)),
            home,
        }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// What Azure's webhook writes into a pod.
    fn workload(&self, token: &str) -> Environment {
        vec![
            (
                "AZURE_FEDERATED_TOKEN_FILE",
                self.home().join(token).display().to_string(),
            ),
            ("AZURE_CLIENT_ID", "client".to_owned()),
            ("AZURE_TENANT_ID", "tenant".to_owned()),
            ("AZURE_AUTHORITY_HOST", format!("{}/", self.server.url())),
        ]
    }

    fn authority(&self) -> Environment {
        vec![("AZURE_AUTHORITY_HOST", self.server.url())]
    }

    fn machine(&self) -> Environment {
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.server.url())]
    }

    fn configure(&self, registry: &Scripted, acr: &str) {
        let text = format!(
            "registries: [{{host: \"{}\", plainHttp: true, credentials: {{acr: {acr}}}}}]\n",
            registry.host()
        );
        std::fs::write(self.home().join("pullproof.yaml"), text).unwrap();
    }
}

fn principal(secret: &str) -> String {
    format!("{{tenantId: tenant, clientId: client, clientSecret: {{file: {secret}}}}}")
}

#[tokio::test]
async fn every_way_to_be_somebody_to_azure_leads_to_a_refresh_token() {
    let azure = Azure::new();
    let of_environment = [
        ("AZURE_CLIENT_SECRET", "s3cret".to_owned()),
        ("AZURE_CLIENT_ID", "client".to_owned()),
        ("AZURE_TENANT_ID", "tenant".to_owned()),
    ];
    let of_environment = [of_environment.to_vec(), azure.authority()].concat();
    // What is configured comes before what is around.
    let around = [azure.workload("none"), azure.machine()].concat();
    for (acr, environment, access) in [
        (principal("secret"), azure.authority(), "of a principal"),
        (principal("secret"), around, "of a principal"),
        ("{}".to_owned(), of_environment, "of a principal"),
        ("{}".to_owned(), azure.workload("token"), "of a workload"),
        ("{}".to_owned(), azure.machine(), "of a machine"),
        ("{clientId: mine}".to_owned(), azure.machine(), "of mine"),
    ] {
        let registry = Scripted::new(Door::Token);
        registry.exchange(access, "r3fresh");
        registry.allow("refresh:r3fresh", "");
        azure.configure(&registry, &acr);
        let ended = verify(azure.home(), &registry, &environment).await;
        assert_eq!(ended.code, 0, "{acr} {access}: {ended:?}");
        // The access token goes to the exchange, the refresh token to the realm, neither to an image.
        assert_eq!(registry.who_asked("/oauth2/token"), ["refresh:r3fresh"]);
        assert!(!ended.stdout.contains("r3fresh"), "{ended:?}");
    }
}

#[tokio::test]
async fn where_azure_gives_no_token_nothing_is_asked_and_nothing_is_broken() {
    let azure = Azure::new();
    let registry = Scripted::new(Door::Token);
    let nowhere: Environment = vec![(
        "AZURE_POD_IDENTITY_AUTHORITY_HOST",
        "http://127.0.0.1:1".to_owned(),
    )];
    let plain: Environment = vec![("AZURE_AUTHORITY_HOST", "http://login.example".to_owned())];
    for (acr, environment, told) in [
        (
            principal("wrong-secret"),
            azure.authority(),
            "answered 401 (invalid_client)",
        ),
        (
            principal("secret"),
            plain,
            "neither https nor on this machine",
        ),
        (
            "{}".to_owned(),
            azure.workload("none"),
            "AZURE_FEDERATED_TOKEN_FILE",
        ),
        // Whoever is refused as a workload is not asked for as the machine.
        (
            "{}".to_owned(),
            [azure.workload("wrong-secret"), azure.machine()].concat(),
            "answered 401 (invalid_client)",
        ),
        ("{}".to_owned(), nowhere, "there is no client secret"),
        // An identity that the registry does not know.
        (
            "{}".to_owned(),
            azure.machine(),
            "/oauth2/exchange answered 401 (UNAUTHORIZED)",
        ),
    ] {
        azure.configure(&registry, &acr);
        let ended = verify(azure.home(), &registry, &environment).await;
        assert_unavailable(&ended, told, &["hunter2", "s3cret", "federated-token"]);
    }
    assert!(
        registry.who_asked("/v2/").is_empty(),
        "it was asked as somebody else"
    );
    assert!(registry.who_asked("/oauth2/token").is_empty());
}
