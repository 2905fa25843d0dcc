//! Manifests of every kind, and what ties one to another.

use serde_json::json;

use super::case::{Case, image, rows};
use super::tree::{OCI_LAYER, OCI_MANIFEST, Tree};
use crate::support::parts::require;

const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

#[tokio::test]
async fn a_chain_of_referrers_stays_with_its_subject() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let bom = tree.referrer("app", "bom", &app);
    tree.referrer("app", "bom-signature", &bom);
    // Of an index's child, which has no tag itself.
    let child = tree.image("app", "child");
    let index = tree.index("app", "index", &[&child]);
    tree.tag("app", "multi", &index);
    tree.referrer("app", "child-signature", &child);
    let old = tree.image("app", "old");
    let old_bom = tree.referrer("app", "old-bom", &old);
    tree.referrer("app", "old-bom-signature", &old_bom);
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 12 of 18 blobs, 4 of 18 links; freed 10 of 10",
            "lost 9 of 18 blobs, 9 of 18 links; freed 10 of 10"
        ]
    );
    let referrer = |name: &str| {
        ["config", "layer", "manifest"].map(|kind| match kind {
            "manifest" => format!("manifest app {name}"),
            _ => format!("{kind} app {name}.{kind}"),
        })
    };
    let expected = [
        image("app", "old"),
        referrer("old-bom").to_vec(),
        referrer("old-bom-signature").to_vec(),
    ];
    assert_eq!(case.garbage().await, rows(&expected, &[]));
}

/// Clients keep referrers in an index by this tag where the registry has no list of them.
#[tokio::test]
async fn a_fallback_tag_keeps_what_it_lists() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let signature = tree.referrer("app", "signature", &app);
    let list = tree.index("app", "list", &[&signature]);
    tree.tag("app", &format!("sha256-{}", app.hex()), &list);
    // The list before this one.
    let before = tree.index("app", "before", &[]);
    tree.image("app", "old");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 2 of 8 blobs, 1 of 8 links; freed 5 of 5",
            "lost 0 of 8 blobs, 0 of 8 links; freed 5 of 5"
        ]
    );
    assert_eq!(before.name, "before");
    let expected = rows(&[image("app", "old")], &["manifest app before"]);
    assert_eq!(case.garbage().await, expected);
}

/// They are tags as all others. One that was signed again leaves the signature before without a tag.
#[tokio::test]
async fn signatures_by_tag_stay_and_what_they_replaced_goes() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let tag = format!("sha256-{}.sig", app.hex());
    let first = tree.image("app", "first-signature");
    tree.tag("app", &tag, &first);
    let second = tree.image("app", "second-signature");
    tree.tag("app", &tag, &second);
    // Its image is gone for long, and it is a tag all the same.
    let orphan = tree.image("app", "orphan");
    tree.tag("app", &format!("sha256-{}.att", "0".repeat(64)), &orphan);
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4",
            "lost 0 of 12 blobs, 0 of 12 links; freed 4 of 4"
        ]
    );
    let history = format!("tag_history app:{tag} first-signature");
    let expected = rows(&[image("app", "first-signature")], &[&history]);
    assert_eq!(case.garbage().await, expected);
}

/// As BuildKit's cache does.
#[tokio::test]
async fn plain_blobs_that_an_index_lists_stay() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let (one, two) = (tree.layer("cache", "one"), tree.layer("cache", "two"));
    let index = tree.index("cache", "index", &[&one, &two]);
    tree.tag("cache", "latest", &index);
    tree.image("cache", "old");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 3 blobs, 0 of 3 links; freed 4 of 4",
            "lost 0 of 3 blobs, 0 of 3 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("cache", "old"));
}

/// What a repository has as a layer and nobody has as a manifest is a blob, whatever an index calls it.
#[tokio::test]
async fn a_plain_blob_that_is_called_a_manifest_stays_what_it_is() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let blob = tree.layer("cache", "blob");
    let index = tree.index("cache", "index", &[&blob.called(OCI_MANIFEST)]);
    tree.tag("cache", "latest", &index);
    tree.image("cache", "untagged");
    tree.sound("other");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 6 blobs, 0 of 6 links; freed 8 of 8",
            "lost 0 of 6 blobs, 0 of 6 links; freed 8 of 8"
        ]
    );
    let ours = case.plan().await;
    let expected = rows(
        &[image("cache", "untagged"), image("other", "other-old")],
        &[],
    );
    assert_eq!(case.told(&ours.planned.rows()), expected);
    assert_eq!(case.damaged(&ours), [""; 0]);
}

/// A child that is called a layer, or nothing, is a manifest all the same.
#[tokio::test]
async fn a_child_is_a_manifest_whatever_its_index_calls_it() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let (one, two) = (tree.image("app", "one"), tree.image("app", "two"));
    let (one, two) = (one.called(OCI_LAYER), two.called("application/example"));
    let index = tree.index("app", "index", &[&one, &two]);
    tree.tag("app", "v1", &index);
    tree.image("app", "old");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 6 of 9 blobs, 2 of 9 links; freed 4 of 4",
            "lost 0 of 9 blobs, 0 of 9 links; freed 4 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("app", "old"));
}

#[tokio::test]
async fn a_child_that_only_another_repository_has_keeps_it_there() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let child = tree.image("origin", "child");
    let index = tree.index("sparse", "index", &[&child]);
    tree.tag("sparse", "v2", &index);
    tree.sound("sparse");
    tree.sound("origin");
    let mut case = Case::of(&tree);
    // No client can pull it through either repository's tags, and nobody could say that it is not wanted.
    for name in ["child.config", "child.layer-1", "child.layer-2"] {
        let object = tree.find(name);
        case = case.pushed(tree.layer_of("origin", &object), &object);
    }
    let case = case.pushed(tree.revision_of("origin", &child), &child);
    assert_eq!(
        case.deeds().await,
        [
            "lost 3 of 13 blobs, 1 of 13 links; freed 8 of 8",
            "lost 3 of 13 blobs, 3 of 13 links; freed 8 of 8"
        ]
    );
    let all = [image("origin", "origin-old"), image("sparse", "sparse-old")];
    assert_eq!(case.garbage().await, rows(&all, &[]));
}

#[tokio::test]
async fn whatever_a_manifest_of_an_unknown_kind_names_stays() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let model = tree.layer("models", "weights");
    let card = tree.layer("models", "card");
    let body = json!({
        "schemaVersion": 2,
        "mediaType": "application/example.model.v7+json",
        "weights": {"shards": [{"at": model.digest}]},
        "card": format!("see {}.", card.digest),
    });
    let manifest = tree.manifest(
        "models",
        "model",
        "application/example.model.v7+json",
        &body,
    );
    tree.tag("models", "v7", &manifest);
    tree.image("models", "old");
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.image("app", "app-old");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "aborted (unrecognized manifest content type application/example.model.v7+json), lost 0 of 7 blobs, 0 of 7 links; freed 0 of 8",
            "aborted (unrecognized manifest content type application/example.model.v7+json), lost 0 of 7 blobs, 0 of 7 links; freed 0 of 8"
        ]
    );
    let expected = rows(&[image("models", "old"), image("app", "app-old")], &[]);
    assert_eq!(case.garbage().await, expected);
}

/// What registries stored ten years ago; 3.1 has forgotten how to read it.
#[tokio::test]
async fn whatever_a_manifest_of_schema_1_names_stays() {
    require!("docker-registry", "registry-3.1");
    let mut tree = Tree::new();
    let layer = tree.layer("ancient", "layer");
    let body = json!({
        "schemaVersion": 1,
        "name": "ancient",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest}],
        "history": [{"v1Compatibility": "{}"}],
    });
    let manifest = tree.manifest("ancient", "manifest", DOCKER_SCHEMA1, &body);
    tree.tag("ancient", "v1", &manifest);
    tree.image("ancient", "old");
    let case = Case::of(&tree);
    assert_eq!(
        case.deeds().await,
        [
            "lost 0 of 2 blobs, 0 of 2 links; freed 4 of 4",
            "aborted (unrecognized manifest schema version 1), lost 0 of 2 blobs, 0 of 2 links; freed 0 of 4"
        ]
    );
    assert_eq!(case.garbage().await, image("ancient", "old"));
}
