//! Links that name something else, or nothing, and tags with a past.

use std::fs;

use super::Scene;
use crate::plan::paths::{current, history};
use crate::plan::tree::{Tree, write};

/// Two images with tags in `app`, an untagged one there, and one in `other`.
pub(crate) fn tree() -> Tree {
    let mut tree = Tree::new();
    for name in ["one", "two"] {
        let object = tree.image("app", name);
        tree.tag("app", name, &object);
    }
    tree.image("app", "untagged");
    tree.sound("other");
    tree
}

/// A tag of which only the history was written.
pub(crate) fn tag_without_a_current_link() -> Scene {
    let tree = tree();
    let untagged = tree.find("untagged");
    write(
        &history(tree.root(), "app", "dead", &untagged.digest),
        untagged.digest.as_bytes(),
    );
    Scene::of(tree)
}

/// Links to data that is gone, all of one image.
pub(crate) fn dangling_layers() -> Scene {
    let tree = tree();
    for name in [
        "untagged",
        "untagged.config",
        "untagged.layer-1",
        "untagged.layer-2",
    ] {
        let data = tree.data_of(&tree.find(name));
        fs::remove_dir_all(data.parent().unwrap()).unwrap();
    }
    Scene::of(tree)
}

/// A link as some editors end a file.
pub(crate) fn link_with_a_newline() -> Scene {
    let tree = tree();
    let one = tree.find("one");
    write(
        &tree.revision_of("app", &one),
        format!("{}\n", one.digest).as_bytes(),
    );
    Scene::of(tree)
}

/// A link to a manifest that names another one.
pub(crate) fn revision_link_of_another() -> Scene {
    let tree = tree();
    let untagged = tree.find("untagged");
    write(
        &tree.revision_of("app", &tree.find("one")),
        untagged.digest.as_bytes(),
    );
    Scene::of(tree)
}

/// A link to a layer that names one of another repository.
pub(crate) fn layer_link_of_another() -> Scene {
    let tree = tree();
    let old = tree.find("other-old.layer-1");
    // In a repository whose own garbage it is not.
    write(
        &tree.layer_of("app", &tree.find("one.layer-1")),
        old.digest.as_bytes(),
    );
    Scene::of(tree)
}

/// A tagged manifest without its link.
pub(crate) fn tagged_without_a_revision() -> Scene {
    let tree = tree();
    let one = tree.find("one");
    fs::remove_dir_all(tree.revision_of("app", &one).parent().unwrap()).unwrap();
    Scene::of(tree)
}

/// A tag that holds this in the place of a digest.
pub(crate) fn tag_with(content: &str) -> Scene {
    let tree = tree();
    write(&current(tree.root(), "app", "one"), content.as_bytes());
    Scene::of(tree)
}

/// A manifest that runs, and whose link somebody deleted. All that it needs is there still.
pub(crate) fn running_without_a_revision() -> Scene {
    let tree = tree();
    let untagged = tree.find("untagged");
    fs::remove_dir_all(tree.revision_of("app", &untagged).parent().unwrap()).unwrap();
    let names = ["untagged.config", "untagged.layer-1", "untagged.layer-2"];
    let scene = Scene::of(tree).runs("app", &untagged);
    names
        .into_iter()
        .fold(scene, |scene, name| scene.pushed_layer("app", name))
}

/// A tag that named another image for a while.
pub(crate) fn tag_with_a_past() -> Scene {
    let mut tree = tree();
    let before = tree.image("app", "before");
    tree.tag("app", "one", &before);
    tree.tag("app", "one", &tree.find("one"));
    Scene::of(tree)
}

/// Data that no repository links.
pub(crate) fn lone_data() -> Scene {
    let mut tree = tree();
    tree.data("lone", "", b"nobody's");
    Scene::of(tree)
}
