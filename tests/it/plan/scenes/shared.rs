//! What is linked and gone, and what several have.

use super::Scene;
use crate::plan::tree::Tree;

/// The link of a manifest that is gone.
pub(crate) fn dangling_revision() -> Scene {
    let mut tree = Tree::new();
    let app = tree.image("app", "app");
    tree.tag("app", "v1", &app);
    let gone = tree.image("app", "gone");
    tree.image("app", "old");
    std::fs::remove_dir_all(tree.data_of(&gone).parent().unwrap()).unwrap();
    Scene::of(tree)
}

/// A layer that a tagged image shares with garbage, in its repository and in another.
pub(crate) fn layer_shared_with_garbage() -> Scene {
    let mut tree = Tree::new();
    let shared = tree.layer("app", "shared");
    let own = tree.layer("app", "own");
    let app = tree.image_of("app", "app", std::slice::from_ref(&shared));
    tree.tag("app", "v1", &app);
    tree.image_of("app", "old", &[shared.clone(), own]);
    // In another repository its link goes, and the data stays.
    tree.sound("other");
    tree.link_layer("other", &shared);
    tree.image_of("other", "unused", &[shared]);
    Scene::of(tree)
}

/// Garbage that two repositories link.
pub(crate) fn garbage_in_two_repositories() -> Scene {
    let mut tree = Tree::new();
    tree.sound("other");
    for name in ["other-old.config", "other-old.layer-1", "other-old.layer-2"] {
        tree.link_layer("mounted", &tree.find(name));
    }
    tree.link_revision("mounted", &tree.find("other-old"));
    let again = tree.image("mounted", "own");
    tree.tag("mounted", "v1", &again);
    Scene::of(tree)
}
