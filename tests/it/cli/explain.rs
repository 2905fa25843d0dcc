//! `explain`: the tree and the page, over real registries with real images.

mod credentials;
mod digest;
mod drawn;
mod mirrors;
mod referrers;

use serde_json::{Value, json};

use super::run::{Ended, lose_blob, pullproof};
use crate::support::clients::Clients;
use crate::support::images::{Format, push_index};
use crate::support::parts::require;
use crate::support::process::free_port;
use crate::support::registry::{Options, Registry, Version};

async fn explain(host: &str, more: &[&str]) -> Ended {
    pullproof(&[&["explain", "--plain-http", host], more].concat()).await
}

/// All objects of a tree.
fn objects(tree: &Value) -> Vec<&Value> {
    let children = tree["children"].as_array().unwrap().iter();
    std::iter::once(tree)
        .chain(children.flat_map(objects))
        .collect()
}

fn object<'a>(tree: &'a Value, digest: &str) -> &'a Value {
    let all = objects(tree);
    let found = all.iter().find(|one| one["digest"] == digest);
    found.unwrap_or_else(|| panic!("{digest} is not in {tree:#}"))
}

/// The children of an index as the registry has it.
async fn children(clients: &Clients, reference: &str) -> Vec<String> {
    let index = clients.crane(&["manifest", reference]).await;
    let index: Value = serde_json::from_str(&index).unwrap();
    let children = index["manifests"].as_array().unwrap().iter();
    children
        .map(|child| child["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// For each fault: the same verdict, digest and findings as `verify` has, the same exit code, and in
/// the tree the code at the object that it is about.
async fn it_says_what_verify_says(version: Version) {
    let root = tempfile::tempdir().unwrap();
    let registry = Registry::start(Options::new(version, root.path()).with_deletes()).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let reference = |name: &str| format!("{host}/{name}:1");
    for (name, format) in [
        ("whole", Format::Oci),
        ("child", Format::Docker),
        ("layer", Format::Oci),
    ] {
        push_index(&clients, &reference(name), name, format).await;
    }
    let child = children(&clients, &reference("child")).await.remove(1);
    clients
        .crane(&["delete", &format!("{host}/child@{child}")])
        .await;
    let image = children(&clients, &reference("layer")).await.remove(0);
    let layer = super::layers(&clients, &format!("{host}/layer@{image}")).await[1].clone();
    lose_blob(&registry, &layer);
    let away = format!("127.0.0.1:{}/app:1", free_port());
    let hosts = format!("{host},{}", away.split('/').next().unwrap());

    for (reference, code, at, state) in [
        (reference("whole"), 0, None, "pullable"),
        (
            reference("child"),
            2,
            Some((&child, "child_missing")),
            "broken",
        ),
        (
            reference("layer"),
            2,
            Some((&layer, "layer_missing")),
            "broken",
        ),
        (reference("nowhere"), 2, None, "broken"),
        (away, 3, None, "unknown"),
    ] {
        let arguments = ["--plain-http", hosts.as_str(), "-o", "json", &reference];
        let verified = pullproof(&[&["verify"], &arguments[..]].concat()).await;
        let ended = pullproof(&[&["explain"], &arguments[..]].concat()).await;
        assert_eq!((verified.code, ended.code), (code, code), "{ended:?}");
        let (verified, view) = (verified.json(), ended.json());
        let verified = &verified["images"][0];
        for key in ["reference", "digest", "verdict", "findings"] {
            assert_eq!(view[key], verified[key], "{key} of {reference}");
        }
        assert_eq!(view["verdict"], state);
        let tree = &view["tree"];
        if verified["digest"].is_null() {
            assert!(tree.is_null(), "{tree:#}");
            continue;
        }
        assert_eq!(tree["state"], state);
        // What verify says of each platform, the tree says too.
        for platform in verified["platforms"].as_array().unwrap() {
            let shown = object(tree, platform["digest"].as_str().unwrap());
            assert_eq!(shown["state"], platform["verdict"], "{shown:#}");
            assert_eq!(shown["platform"], platform["platform"], "{shown:#}");
        }
        let all = objects(tree);
        let found = all.iter().filter(|one| !one["code"].is_null());
        let found: Vec<_> = found
            .map(|one| json!([one["digest"], one["code"]]))
            .collect();
        let expected: Vec<_> = at
            .iter()
            .map(|(digest, code)| json!([digest, code]))
            .collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn it_says_what_verify_says_on_2_8_2() {
    require!("docker-registry", "crane", "regctl", "buildah");
    it_says_what_verify_says(Version::V2).await;
}

#[tokio::test]
async fn it_says_what_verify_says_on_3_1() {
    require!("registry-3.1", "crane", "regctl", "buildah");
    it_says_what_verify_says(Version::V3).await;
}

#[tokio::test]
async fn a_head_that_lies_is_seen_by_reading() {
    require!("registry-3.1", "crane", "regctl", "buildah");
    let root = tempfile::tempdir().unwrap();
    let options = Options::new(Version::V3, root.path()).with_descriptor_cache();
    let registry = Registry::start(options).await;
    let clients = Clients::of(&registry).await;
    let host = registry.host();
    let reference = format!("{host}/app:1");
    push_index(&clients, &reference, "app", Format::Oci).await;
    let image = children(&clients, &reference).await.remove(0);
    let layer = super::layers(&clients, &format!("{host}/app@{image}")).await[1].clone();
    // The registry has seen it, and remembers.
    assert_eq!(explain(&host, &[&reference]).await.code, 0);
    lose_blob(&registry, &layer);
    let head = explain(&host, &["-o", "json", &reference]).await;
    assert_eq!(head.code, 0, "{head:?}");
    let read = explain(&host, &["--depth", "read", "-o", "json", &reference]).await;
    assert_eq!(read.code, 2, "{read:?}");
    let view = read.json();
    assert_eq!(view["depth"], "read");
    let shown = object(&view["tree"], &layer);
    assert_eq!(
        json!([shown["state"], shown["code"]]),
        json!(["broken", "layer_missing"])
    );
    // What was asked shows the lie: a byte was promised each time.
    let exchanges = view["exchanges"].as_array().unwrap().iter();
    let reads = exchanges.filter(|one| {
        let path = one["path"].as_str().unwrap();
        path.ends_with(&layer) && one["method"] == "GET"
    });
    let reads: Vec<_> = reads.map(|one| one["status"].clone()).collect();
    assert!(reads.len() >= 2, "{reads:?}");
    assert!(reads.iter().all(|status| status == 206), "{reads:?}");
}

#[tokio::test]
async fn what_is_wrongly_used_is_64_and_names_the_way_out() {
    for (subject, told) in [
        ("registry.example/UPPER:1", "is not an image reference"),
        (
            "sha256:0123456789ab",
            "`-o wide` and `-o json` show digests whole",
        ),
        ("--depth", "content"),
    ] {
        let ended = pullproof(&["explain", subject]).await;
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.stderr.contains(told), "{ended:?}");
        assert_eq!(ended.stdout, "");
    }
    let ended = pullproof(&["explain"]).await;
    assert_eq!(ended.code, 64, "{ended:?}");
    assert!(ended.stderr.contains("REF|DIGEST"), "{ended:?}");
}
