use std::collections::BTreeMap;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::oci::manifest::Manifest;

const REPOSITORY: &str = "team/app";

fn amd64() -> Platform {
    Platform::new("linux", "amd64", None)
}

/// One tagged index of two images with one layer each, and an attestation.
fn write(tree: &Tree, dialect: Dialect) -> (Descriptor, Vec<Descriptor>) {
    let mut children = Vec::new();
    for platform in [amd64(), Platform::new("linux", "arm64", Some("v8"))] {
        let content = format!("for {platform}\n");
        let layer = tree
            .layer(REPOSITORY, dialect, &[("etc/motd", content.as_bytes())])
            .unwrap();
        let image = Image {
            dialect,
            platform: &platform,
            version: "v1",
            layers: &[layer],
        };
        children.push(tree.image(REPOSITORY, &image).unwrap());
    }
    if dialect == Dialect::Oci {
        let subject = children[0].digest;
        children.insert(1, tree.attestation(REPOSITORY, subject).unwrap());
    }
    let index = tree.index(REPOSITORY, dialect, &children).unwrap();
    tree.tag(REPOSITORY, "v1", index.digest).unwrap();
    (index, children)
}

/// Every file below the root, with its content.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let relative = path.strip_prefix(root).unwrap().to_owned();
                files.insert(relative, fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_file_is_one_that_distribution_writes() {
    let root = TempDir::new().unwrap();
    let tree = Tree::new(root.path());
    let (index, children) = write(&tree, Dialect::Oci);
    let files = files(root.path());
    let v2 = Path::new("docker/registry/v2");
    let repository = v2.join("repositories").join(REPOSITORY);
    let mut expected = BTreeMap::new();
    let mut blob = |digest: Digest| {
        let hex = digest.hex();
        let data = v2.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]));
        let content = files[&data].clone();
        assert_eq!(Digest::of(&content), digest);
        expected.insert(data, content);
    };
    let mut links = Vec::new();
    for manifest in children.iter().chain([&index]) {
        blob(manifest.digest);
        links.push((
            format!("_manifests/revisions/sha256/{}/link", manifest.digest.hex()),
            manifest.digest,
        ));
        let body = tree.read(manifest.digest).unwrap();
        assert_eq!(manifest.size, body.len() as u64);
        match Manifest::parse(&body, None).unwrap() {
            Manifest::Image { config, layers, .. } => {
                for object in layers.iter().chain([&config]) {
                    blob(object.digest);
                    assert_eq!(object.size, tree.read(object.digest).unwrap().len() as u64);
                    links.push((
                        format!("_layers/sha256/{}/link", object.digest.hex()),
                        object.digest,
                    ));
                }
            }
            Manifest::Index {
                children: named, ..
            } => assert_eq!(named, children),
            Manifest::Unsupported { media_type } => panic!("{media_type}"),
        }
    }
    links.push(("_manifests/tags/v1/current/link".to_owned(), index.digest));
    links.push((
        format!(
            "_manifests/tags/v1/index/sha256/{}/link",
            index.digest.hex()
        ),
        index.digest,
    ));
    for (path, digest) in links {
        expected.insert(repository.join(path), digest.to_string().into_bytes());
    }
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    assert_eq!(files, expected);
}

#[test]
fn the_same_calls_write_the_same_bytes() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for dialect in [Dialect::Oci, Dialect::Docker] {
        write(&Tree::new(one.path()), dialect);
        write(&Tree::new(two.path()), dialect);
        write(&Tree::new(two.path()), dialect);
    }
    assert_eq!(files(one.path()), files(two.path()));
}

#[test]
fn a_moved_tag_keeps_its_history() {
    let root = TempDir::new().unwrap();
    let tree = Tree::new(root.path());
    let (index, children) = write(&tree, Dialect::Docker);
    tree.tag(REPOSITORY, "v1", children[0].digest).unwrap();
    assert_eq!(tree.tagged(REPOSITORY, "v1").unwrap(), children[0].digest);
    let layout = Layout::new(root.path());
    for digest in [index.digest, children[0].digest] {
        assert!(layout.tag_history(REPOSITORY, "v1", digest).exists());
    }
}

#[test]
fn what_is_lost_is_gone_and_can_be_put_back() {
    let root = TempDir::new().unwrap();
    let tree = Tree::new(root.path());
    let (_, children) = write(&tree, Dialect::Oci);
    let before = files(root.path());
    let child = &children[0];
    let bytes = tree.lose_manifest(REPOSITORY, child.digest).unwrap();
    assert_eq!(files(root.path()).len(), before.len() - 2);
    assert!(tree.read(child.digest).is_err());
    let restored = tree
        .manifest(REPOSITORY, &child.media_type, &bytes)
        .unwrap();
    assert_eq!(restored.digest, child.digest);
    assert_eq!(files(root.path()), before);

    let Manifest::Image { layers, .. } = Manifest::parse(&bytes, None).unwrap() else {
        panic!("not an image")
    };
    let layer = &layers[0];
    let bytes = tree.lose_blob(layer.digest).unwrap();
    assert_eq!(files(root.path()).len(), before.len() - 1);
    tree.blob(REPOSITORY, &layer.media_type, &bytes).unwrap();
    assert_eq!(files(root.path()), before);
}

#[test]
fn an_attestation_names_the_child_before_it() {
    let root = TempDir::new().unwrap();
    let tree = Tree::new(root.path());
    let (index, children) = write(&tree, Dialect::Oci);
    let index: serde_json::Value =
        serde_json::from_slice(&tree.read(index.digest).unwrap()).unwrap();
    let attestation = &index["manifests"][1];
    assert_eq!(attestation["platform"]["os"], "unknown");
    assert_eq!(
        attestation["annotations"]["vnd.docker.reference.digest"],
        children[0].digest.to_string()
    );
    assert!(index["manifests"][0].get("annotations").is_none());
}
