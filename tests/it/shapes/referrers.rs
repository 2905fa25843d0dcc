//! What refers to an image, and what schema 1 is called, as real clients leave it in a registry.

use std::collections::BTreeSet;

use pullproof::oci::digest::Digest;
use pullproof::oci::referrer::{self, DigestTag, DigestTagKind};
use pullproof::oci::schema1;

use super::layout::Layout;
use crate::support::clients::Clients;
use crate::support::http;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

fn digest(layout: &Layout, tag: &str) -> Digest {
    layout.places(tag)[0].digest.parse().unwrap()
}

/// The kinds of tag in a layout that name this subject.
fn kinds(layout: &Layout, subject: Digest) -> BTreeSet<DigestTagKind> {
    let tags = layout.tags().into_iter();
    let tags = tags.filter_map(|(tag, _)| DigestTag::parse(&tag));
    tags.filter(|tag| tag.subject == subject)
        .map(|tag| tag.kind)
        .collect()
}

#[test]
fn the_digest_of_a_signed_schema_1_manifest_is_that_of_what_was_signed() {
    let signed = Layout::open("schema1");
    let body = signed.blob(&digest(&signed, "v1").to_string()).unwrap();
    let unsigned = digest(&Layout::open("schema1-unsigned"), "v1");
    assert_eq!(schema1::payload_digest(&body), Some(unsigned));
    let changed = String::from_utf8(body).unwrap().replace("linux", "plan9");
    assert_ne!(schema1::payload_digest(changed.as_bytes()), Some(unsigned));
    // What is not signed has the digest of its bytes and no other.
    let body = Layout::open("schema1-unsigned")
        .blob(&unsigned.to_string())
        .unwrap();
    assert_eq!(schema1::payload_digest(&body), None);
}

#[test]
fn cosigns_tags_and_bundles_name_their_subject() {
    let layout = Layout::open("cosign");
    let subject = digest(&layout, "v1");
    assert_eq!(kinds(&layout, subject), DigestTagKind::ALL.into());

    let kind = DigestTagKind::Referrers;
    let list = DigestTag { subject, kind }.to_string();
    let referrers = referrer::parse(&layout.blob(&digest(&layout, &list).to_string()).unwrap());
    let referrers = referrers.unwrap();
    // A signature and an attestation.
    assert_eq!(referrers.len(), 2);
    for referrer in referrers {
        let body = layout.blob(&referrer.digest.to_string()).unwrap();
        assert_eq!(body.len() as u64, referrer.size);
        let manifest: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(manifest["subject"]["digest"], subject.to_string());
    }
}

#[test]
fn regctls_list_tells_what_each_referrer_is() {
    let layout = Layout::open("referrers");
    let subject = digest(&layout, "v1");
    let kind = DigestTagKind::Referrers;
    assert_eq!(kinds(&layout, subject), [kind].into());
    let list = DigestTag { subject, kind }.to_string();
    let body = layout.blob(&digest(&layout, &list).to_string()).unwrap();
    let types = referrer::parse(&body).unwrap().into_iter();
    // In an order that the client leaves to chance.
    let types: BTreeSet<String> = types.filter_map(|one| one.artifact_type).collect();
    let expected = ["application/spdx+json", "application/vnd.example.check.v1"];
    assert_eq!(types, expected.map(str::to_owned).into());
    // An ordinary image is no empty list.
    referrer::parse(&layout.blob(&subject.to_string()).unwrap()).unwrap_err();
}

#[tokio::test]
async fn distribution_has_no_referrers_api_and_a_client_writes_the_tag() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::new(version, root.path())).await;
        let clients = Clients::of(&registry).await;
        let reference = format!("{}/app:1", registry.host());
        let subject: Digest = push_image(&clients, &reference, "one")
            .await
            .parse()
            .unwrap();
        let tag = DigestTag {
            subject,
            kind: DigestTagKind::Referrers,
        };
        let get = async |path: &str| {
            let url = format!("{}/v2/app/{path}", registry.url());
            let accept = "application/vnd.oci.image.index.v1+json";
            let request = http::client().get(url).header("accept", accept);
            let response = request.send().await.unwrap();
            (response.status().as_u16(), response.bytes().await.unwrap())
        };
        assert_eq!(get(&format!("referrers/{subject}")).await.0, 404);
        assert_eq!(get(&format!("manifests/{tag}")).await.0, 404);
        std::fs::write(clients.home().join("note"), "note").unwrap();
        let put = [
            "artifact",
            "put",
            "--artifact-type",
            "application/vnd.example.note",
        ];
        let put = [&put[..], &["--subject", &reference, "-f", "note"]].concat();
        clients.regctl(&put).await;
        assert_eq!(get(&format!("referrers/{subject}")).await.0, 404);
        let (status, body) = get(&format!("manifests/{tag}")).await;
        assert_eq!(status, 200, "{version:?}");
        let referrers = referrer::parse(&body).unwrap();
        assert_eq!(referrers.len(), 1);
        let kind = referrers[0].artifact_type.as_deref();
        assert_eq!(kind, Some("application/vnd.example.note"));
    }
}
