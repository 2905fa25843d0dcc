//! Who was let in is named, and no secret is told.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use pullproof::oci::digest::Digest;
use serde_json::json;

use super::super::run::{Ended, pullproof, pullproof_in};
use crate::credentials::secrets::{by, deployment, secret};
use crate::credentials::{log_in, with_password};
use crate::daemon::shop::{OFTEN, namespace, of_namespace, require_shop};
use crate::support::parts::require;
use crate::support::registry::Version;
use crate::support::server::Server;

/// In every form in which it could slip out.
fn tells_no_secret(ended: &Ended) {
    // alice:wonder, alice:guess
    for secret in ["wonder", "YWxpY2U6d29uZGVy", "guess", "YWxpY2U6Z3Vlc3M"] {
        assert!(!ended.stdout.contains(secret), "{secret}: {}", ended.stdout);
        assert!(!ended.stderr.contains(secret), "{secret}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn the_credential_is_named_and_never_told() {
    require!(
        "docker-registry",
        "registry-3.1",
        "htpasswd",
        "crane",
        "regctl"
    );
    for version in Version::ALL {
        let stock = with_password(version).await;
        let host = stock.host();
        let reference = format!("{host}/app:1");
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let run = async |code: i32, codes: &[&str], credential: Option<&str>, page: &str| {
            let given = ["explain", "--plain-http", &host, &reference];
            let ended = pullproof_in(home, &[&given[..], &["-o", "json"]].concat()).await;
            assert_eq!(ended.code, code, "{ended:?}");
            tells_no_secret(&ended);
            let view = ended.json();
            let findings = view["findings"].as_array().unwrap().iter();
            let found: Vec<_> = findings.map(|one| one["code"].clone()).collect();
            assert_eq!(
                (json!(found), &view["credential"]),
                (json!(codes), &json!(credential))
            );
            let ended = pullproof_in(home, &given).await;
            tells_no_secret(&ended);
            assert!(ended.stdout.contains(page), "{page}: {}", ended.stdout);
        };

        run(3, &["unauthorized"], None, "as       anonymous: not let in").await;
        log_in(home, &host, "guess").await;
        run(3, &["unauthorized"], None, "docker config file: not let in").await;
        log_in(home, &host, "wonder").await;
        let own = "docker config file";
        run(0, &[], Some(own), "as       docker config file").await;

        // The same by the configuration.
        let file = home.join("registry.json");
        std::fs::rename(home.join(".docker/config.json"), &file).unwrap();
        let entry = format!(
            "registries: [{{host: \"{host}\", credentials: {{dockerConfig: {{file: {}}}}}}}]\n",
            file.display()
        );
        std::fs::write(home.join("pullproof.yaml"), entry).unwrap();
        let own = "registry entry's credential";
        run(0, &[], Some(own), "as       registry entry's credential").await;
    }
}

#[tokio::test]
async fn a_workloads_pull_secret_is_named_and_so_is_the_workload() {
    require_shop!();
    require!("htpasswd");
    let stock = with_password(Version::V3).await;
    let reference = format!("{}/app:1", stock.host());
    let (cluster, namespace) = namespace().await;
    secret(cluster, &namespace, "regcred", &stock.host(), "wonder").await;
    secret(cluster, &namespace, "old", &stock.host(), "guess").await;
    let yaml = deployment(&namespace, "web", &reference, &by(&["regcred"]))
        + &deployment(&namespace, "legacy", &reference, &by(&["old"]));
    cluster.apply_yaml(&yaml).await;
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.admin().kubeconfig;
    let configuration = of_namespace(&kubeconfig, &namespace, &[stock.entry(OFTEN)]);
    std::fs::write(home.path().join("pullproof.yaml"), configuration).unwrap();

    let ended = pullproof_in(home.path(), &["explain", "-o", "json", &reference]).await;
    tells_no_secret(&ended);
    // It is there, and one of the two workloads may not have it.
    assert_eq!(ended.code, 3, "{ended:?}");
    let view = ended.json();
    let label = format!("pull secret {namespace}/regcred");
    assert_eq!(view["credential"], label);
    assert_eq!(view["findings"][0]["code"], "unauthorized");
    let others = &view["other_credentials"];
    assert_eq!(
        json!([others[0]["credential"], others[0]["verdict"]]),
        json!([format!("{namespace}/regcred"), "pullable"])
    );
    // What the one is not shown, the other is.
    assert_eq!(view["tree"]["state"], "pullable");
    assert_eq!(view["referrers"]["subjects"], json!([view["digest"]]));
    assert_eq!(view["keeps"].as_array().unwrap().len(), 2);
    let users = view["used_by"].as_array().unwrap().iter();
    let users: Vec<_> = users
        .map(|user| json!([user["name"], user["class"]]))
        .collect();
    assert_eq!(
        json!(users),
        json!([["legacy", "runtime"], ["web", "runtime"]])
    );
    let page = pullproof_in(home.path(), &["explain", &reference]).await;
    tells_no_secret(&page);
    assert!(
        page.stdout.contains("Deployment/web (app, scaled to zero)"),
        "{page:?}"
    );
}

/// A registry that keeps its blobs elsewhere and sends there with a signature, as those on S3 do.
#[tokio::test]
async fn of_a_redirect_only_the_host_is_told() {
    let config = json!({"os": "linux", "architecture": "amd64"}).to_string();
    let layer = "a layer".to_owned();
    let named = |content: &str| {
        json!({"mediaType": "application/vnd.oci.image.layer.v1.tar",
            "size": content.len(), "digest": Digest::of(content.as_bytes())})
    };
    let manifest = json!({"schemaVersion": 2, "config": named(&config), "layers": [named(&layer)],
        "mediaType": "application/vnd.oci.image.manifest.v1+json"})
    .to_string();
    let blobs = Arc::new([config, layer]);
    let bucket = Server::start(Router::new().fallback(move |uri: Uri| {
        let blobs = Arc::clone(&blobs);
        async move { stored(&uri, blobs.as_ref()) }
    }));
    // A loopback name, so that it is another host than the registry's.
    let elsewhere = bucket.url();
    let digest = Digest::of(manifest.as_bytes());
    let server = Server::start(Router::new().fallback(move |method: Method, uri: Uri| {
        let (manifest, elsewhere) = (manifest.clone(), elsewhere.clone());
        async move {
            let path = uri.path().to_owned();
            if path.contains("/blobs/") && method == Method::GET {
                let to = format!("{elsewhere}/bucket/hidden-key{path}?X-Amz-Signature=f00dcafe");
                return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, to)]).into_response();
            }
            if path.ends_with("/manifests/1") || path.ends_with(&digest.to_string()) {
                return ([("docker-content-digest", digest.to_string())], manifest).into_response();
            }
            let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
            (StatusCode::NOT_FOUND, body).into_response()
        }
    }));
    let host = server.host();
    // The bucket is at a loopback address, where only a host that was named may be.
    let hosts = format!("{host},{}", bucket.host());
    let reference = format!("{host}/app:1");
    for output in ["json", "table", "wide"] {
        let arguments = [
            "explain",
            "--plain-http",
            &hosts,
            "--depth",
            "read",
            "-o",
            output,
            &reference,
        ];
        let ended = pullproof(&arguments).await;
        for text in [&ended.stdout, &ended.stderr] {
            for secret in ["Signature", "f00dcafe", "hidden-key"] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        assert!(ended.stdout.contains(&bucket.host()), "{ended:?}");
        assert!(ended.stdout.contains("307"), "{ended:?}");
    }
}

fn stored(uri: &Uri, blobs: &[String]) -> Response {
    let of = |blob: &&String| {
        let digest = Digest::of(blob.as_bytes()).to_string();
        uri.path().ends_with(&digest)
    };
    match blobs.iter().find(of) {
        Some(blob) => blob.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
