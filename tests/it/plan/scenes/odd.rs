//! What no registry writes, or left lying about when it died.

use std::fs;

use super::Scene;
use crate::plan::tree::{sound, write};

const UUID: &str = "123e4567-e89b-42d3-a456-426614174000";

/// Files that distribution 3 was to rename when it died.
pub(crate) fn files_to_be_renamed() -> Scene {
    let tree = sound();
    let app = tree.find("app");
    let layer = tree.layer_of("app", &tree.find("app.layer-1"));
    for beside in [
        tree.revision_of("app", &app),
        layer,
        tree.tags("app").join("v1/current/link"),
        tree.data_of(&app),
    ] {
        let file = beside.file_name().unwrap().to_str().unwrap();
        write(
            &beside.with_file_name(format!("{file}.{UUID}.tmp")),
            b"sha2",
        );
    }
    Scene::of(tree)
}

/// A directory in the place of a layer's data.
pub(crate) fn directory_as_data() -> Scene {
    let tree = sound();
    let data = tree.data_of(&tree.find("app.layer-1"));
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    Scene::of(tree)
}

/// A directory in the place of a manifest's link.
pub(crate) fn directory_as_revision() -> Scene {
    let tree = sound();
    let link = tree.revision_of("app", &tree.find("app"));
    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    Scene::of(tree)
}
