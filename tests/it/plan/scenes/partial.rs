//! Repositories of which a part is missing.

use std::fs;

use super::Scene;
use crate::plan::tree::Tree;

/// A tagged image and one that may go.
pub(crate) fn tree() -> Tree {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    tree.image("app", "old");
    tree
}

/// A repository that has no layer.
pub(crate) fn repository_without_layers() -> Scene {
    let mut tree = tree();
    let lone = tree.index("lone", "index", &[]);
    tree.tag("lone", "v1", &lone);
    Scene::of(tree)
}

/// A repository whose links to manifests are gone.
pub(crate) fn repository_without_revisions() -> Scene {
    let mut tree = tree();
    let other = tree.image("other", "other");
    tree.tag("other", "v1", &other);
    fs::remove_dir_all(tree.repository("other").join("_manifests/revisions")).unwrap();
    Scene::of(tree)
}

/// Repositories that lie within others.
pub(crate) fn repositories_within_others() -> Scene {
    let mut tree = Tree::new();
    for repository in ["a", "a/b", "a/b/c", "a-b"] {
        let name = repository.replace('/', "-in-");
        let kept = tree.image(repository, &format!("kept-{name}"));
        tree.tag(repository, "v1", &kept);
        tree.image(repository, &format!("old-{name}"));
    }
    // A tag that looks like a part of the tree.
    let kept = tree.find("kept-a");
    tree.tag("a", "_layers", &kept);
    Scene::of(tree)
}
