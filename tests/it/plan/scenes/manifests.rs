//! Manifests of every kind, and what ties one to another.

use serde_json::json;

use super::Scene;
use crate::plan::tree::{OCI_LAYER, OCI_MANIFEST, Tree};

const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What refers to what refers, and to the child of an index.
pub(crate) fn chain_of_referrers() -> Scene {
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
    Scene::of(tree)
}

/// The list of referrers as clients keep it by a tag, and the list before.
pub(crate) fn fallback_tag() -> Scene {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let signature = tree.referrer("app", "signature", &app);
    let list = tree.index("app", "list", &[&signature]);
    tree.tag("app", &format!("sha256-{}", app.hex()), &list);
    // The list before this one.
    tree.index("app", "before", &[]);
    tree.image("app", "old");
    Scene::of(tree)
}

/// Signatures by tag, one of them replaced, one without its image.
pub(crate) fn signatures_by_tag() -> Scene {
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
    Scene::of(tree)
}

/// An index of plain blobs, as BuildKit makes for its cache.
pub(crate) fn plain_blobs_as_children() -> Scene {
    let mut tree = Tree::new();
    let (one, two) = (tree.layer("cache", "one"), tree.layer("cache", "two"));
    let index = tree.index("cache", "index", &[&one, &two]);
    tree.tag("cache", "latest", &index);
    tree.image("cache", "old");
    Scene::of(tree)
}

/// An index that calls a plain blob a manifest.
pub(crate) fn plain_blob_called_a_manifest() -> Scene {
    let mut tree = Tree::new();
    let blob = tree.layer("cache", "blob");
    let index = tree.index("cache", "index", &[&blob.called(OCI_MANIFEST)]);
    tree.tag("cache", "latest", &index);
    tree.image("cache", "untagged");
    tree.sound("other");
    Scene::of(tree)
}

/// An index that calls its children something else.
pub(crate) fn children_called_otherwise() -> Scene {
    let mut tree = Tree::new();
    let (one, two) = (tree.image("app", "one"), tree.image("app", "two"));
    let (one, two) = (one.called(OCI_LAYER), two.called("application/example"));
    let index = tree.index("app", "index", &[&one, &two]);
    tree.tag("app", "v1", &index);
    tree.image("app", "old");
    Scene::of(tree)
}

/// A manifest of a media type that nobody knows.
pub(crate) fn unknown_media_type() -> Scene {
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
    Scene::of(tree)
}

/// What registries stored ten years ago.
pub(crate) fn schema_1() -> Scene {
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
    Scene::of(tree)
}

/// The child of an index that only another repository has. No client can pull it through either
/// repository's tags, and nobody could say that it is not wanted.
pub(crate) fn child_of_another_repository() -> Scene {
    let mut tree = Tree::new();
    let child = tree.image("origin", "child");
    let index = tree.index("sparse", "index", &[&child]);
    tree.tag("sparse", "v2", &index);
    tree.sound("sparse");
    tree.sound("origin");
    let names = ["child.config", "child.layer-1", "child.layer-2"];
    let scene = Scene::of(tree).pushed_revision("origin", "child");
    names
        .into_iter()
        .fold(scene, |scene, name| scene.pushed_layer("origin", name))
}
