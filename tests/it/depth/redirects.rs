//! A registry that sends whoever asks for a blob to its storage: a real one, over a real S3 server.

use std::path::Path;

use crate::cli::run::{Ended, pullproof_in};
use crate::support::clients::Clients;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use crate::support::s3::S3;
use crate::support::tap::Tap;

/// Verifies at a depth, with a configuration that lists the registry and its storage.
async fn verify(registry: &Registry, s3: &S3, depth: &str, reference: &str) -> Ended {
    let home = tempfile::tempdir().unwrap();
    verify_in(home.path(), registry, "", &s3.host(), depth, reference).await
}

async fn verify_in(
    home: &Path,
    registry: &Registry,
    credentials: &str,
    storage: &str,
    depth: &str,
    reference: &str,
) -> Ended {
    let entry = |host: &str, more: &str| format!("- {{host: \"{host}\", plainHttp: true{more}}}\n");
    let registries = entry(&registry.host(), credentials) + &entry(storage, "");
    let text = format!("registries:\n{registries}");
    std::fs::write(home.join("pullproof.yaml"), text).unwrap();
    let arguments = ["verify", "--depth", depth, "-o", "json", reference];
    pullproof_in(home, &arguments).await
}

async fn storage_behind_a_redirect_is_read(version: Version) {
    let s3 = S3::start().await;
    let registry = Registry::start(Options::over_s3(version, &s3)).await;
    let clients = Clients::of(&registry).await;
    let whole = format!("{}/whole:1", registry.host());
    push_image(&clients, &whole, "whole").await;
    let broken = format!("{}/broken:1", registry.host());
    push_image(&clients, &broken, "broken").await;
    for depth in ["head", "read", "content"] {
        let ended = verify(&registry, &s3, depth, &whole).await;
        assert_eq!(ended.code, 0, "{depth}: {ended:?}");
    }
    let redirects = registry.requests().into_iter();
    let mut redirects = redirects.filter(|request| request.status == 307);
    assert!(
        redirects.any(|request| request.path.contains("/whole/blobs/")),
        "it serves its storage itself: {:#?}",
        registry.requests()
    );
    let layer = crate::cli::first_layer(&clients, &broken).await;
    crate::cli::run::lose_blob(&registry, &layer);
    for depth in ["read", "content"] {
        let ended = verify(&registry, &s3, depth, &broken).await;
        assert_eq!(
            ended.codes("/broken:1"),
            ["layer_missing"],
            "{depth}: {ended:?}"
        );
    }
    // The whole one is whole although the storage has just lost something.
    assert_eq!(verify(&registry, &s3, "content", &whole).await.code, 0);
}

#[tokio::test]
async fn storage_behind_a_redirect_is_read_on_2_8_2() {
    require!("docker-registry", "versitygw", "crane", "regctl");
    storage_behind_a_redirect_is_read(Version::V2).await;
}

#[tokio::test]
async fn storage_behind_a_redirect_is_read_on_3_1() {
    require!("registry-3.1", "versitygw", "crane", "regctl");
    storage_behind_a_redirect_is_read(Version::V3).await;
}

/// What the storage hears is written down: the registry's password must not be in it.
#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    require!("registry-3.1", "versitygw", "crane", "regctl", "htpasswd");
    let s3 = S3::start().await;
    let tap = Tap::start(&s3.host());
    let options = Options::over_s3_at(Version::V3, &s3, &tap.host());
    let registry = Registry::start(options.with_passwords(&[("alice", "wonderland")])).await;
    let clients = Clients::of(&registry).await;
    clients.login(&registry.host(), "alice", "wonderland").await;
    let reference = format!("{}/app:1", registry.host());
    push_image(&clients, &reference, "app").await;
    let home = tempfile::tempdir().unwrap();
    std::fs::copy(clients.credentials(), home.path().join("login.json")).unwrap();
    let login = ", credentials: {dockerConfig: {file: login.json}}";
    let before = tap.said().len();
    let ended = verify_in(
        home.path(),
        &registry,
        login,
        &tap.host(),
        "read",
        &reference,
    )
    .await;
    assert_eq!(ended.code, 0, "{ended:?}");
    let said = tap.said().split_off(before).to_lowercase();
    let ours = said
        .split("\r\n\r\n")
        .filter(|request| request.contains("user-agent: pullproof"));
    let ours: Vec<&str> = ours.collect();
    assert!(ours.len() >= 2, "a layer and a config are read: {said}");
    for request in ours {
        assert!(!request.contains("authorization:"), "{request}");
    }
}
