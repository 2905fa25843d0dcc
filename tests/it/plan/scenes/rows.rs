//! What distribution's own collectors lose, most of it.

use super::Scene;
use crate::plan::tree::{OCI_INDEX, Object, Tree, index_body, write};

/// A tagged index whose children have no tag.
pub(crate) fn index_with_untagged_children() -> Scene {
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let index = tree.index("app", "index", &[&amd64, &arm64]);
    tree.tag("app", "v1", &index);
    tree.image("app", "old");
    Scene::of(tree)
}

/// A tagged index of an index.
pub(crate) fn index_of_an_index() -> Scene {
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let inner = tree.index("app", "inner", &[&amd64, &arm64]);
    let outer = tree.index("app", "outer", &[&inner]);
    tree.tag("app", "v1", &outer);
    tree.image("app", "old");
    Scene::of(tree)
}

/// An index of which one repository has one child, and another all.
pub(crate) fn sparse_here_and_whole_there() -> Scene {
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("whole", "amd64"), tree.image("whole", "arm64"));
    let index = tree.index("whole", "index", &[&amd64, &arm64]);
    tree.tag("whole", "v1", &index);
    // Its first child only.
    for name in ["amd64.config", "amd64.layer-1", "amd64.layer-2"] {
        let object = tree.find(name);
        tree.link_layer("a-part", &object);
    }
    tree.link_revision("a-part", &amd64);
    tree.link_revision("a-part", &index);
    tree.tag("a-part", "v1", &index);
    tree.image("whole", "old");
    Scene::of(tree)
}

/// What refers to a tagged image, and to one that goes.
pub(crate) fn untagged_referrers() -> Scene {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.referrer("app", "signature", &app);
    // Its subject goes, and so does it.
    let old = tree.image("app", "old");
    tree.referrer("app", "old-signature", &old);
    Scene::of(tree)
}

/// A repository without a tag, of which one image runs.
pub(crate) fn no_tags_and_one_runs() -> Scene {
    let mut tree = Tree::new();
    let running = tree.image("by-digest", "running");
    tree.image("by-digest", "old");
    Scene::of(tree).runs("by-digest", &running)
}

/// An index of which only the beginning was written: what it lists is not known.
pub(crate) fn torn_manifest() -> Scene {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    // An index of which only the beginning was written: what it lists is not known.
    let child = tree.image("app", "child");
    let torn = index_body("torn", &[&child]).to_string();
    tree.manifest_of("app", "torn", OCI_INDEX, &torn.as_bytes()[..100]);
    tree.image("app", "untagged");
    tree.sound("other");
    Scene::of(tree)
}

/// An image that runs by its digest; its tag names another one.
pub(crate) fn running_image_whose_tag_moved() -> Scene {
    let mut tree = Tree::new();
    let running = tree.image("app", "running");
    tree.tag("app", "v1", &running);
    let next = tree.image("app", "next");
    tree.tag("app", "v1", &next);
    Scene::of(tree).runs("app", &running)
}

/// The same of an index.
pub(crate) fn running_index_whose_tag_moved() -> Scene {
    running_of_an_index("index")
}

/// The same of which only one child runs.
pub(crate) fn running_child_whose_tag_moved() -> Scene {
    running_of_an_index("amd64")
}

/// The same where the runtime tells the child by its config.
pub(crate) fn running_config_whose_tag_moved() -> Scene {
    running_of_an_index("amd64.config")
}

fn running_of_an_index(name: &str) -> Scene {
    let mut tree = Tree::new();
    let (amd64, arm64) = (tree.image("app", "amd64"), tree.image("app", "arm64"));
    let index = tree.index("app", "index", &[&amd64, &arm64]);
    tree.tag("app", "v1", &index);
    let next = tree.image("app", "next");
    tree.tag("app", "v1", &next);
    let running = tree.find(name);
    Scene::of(tree).runs("app", &running)
}

/// A link to a manifest that has no bytes.
pub(crate) fn empty_revision_link() -> Scene {
    empty_link(&|tree, app| tree.revision_of("app", app))
}

/// A link to a layer that has no bytes.
pub(crate) fn empty_layer_link() -> Scene {
    empty_link(&|tree, _| tree.layer_of("app", &tree.find("app.layer-1")))
}

fn empty_link(link: &dyn Fn(&Tree, &Object) -> std::path::PathBuf) -> Scene {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.image("app", "untagged");
    tree.sound("other");
    write(&link(&tree, &app), b"");
    Scene::of(tree)
}
