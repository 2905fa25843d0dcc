use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{Namespace, PodSpec};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::demo::layout::Layout;
use crate::oci::reference::Reference;

const HOST: &str = "127.0.0.1:5000";

struct Written {
    root: TempDir,
    tree: Tree,
    scene: Scene,
}

fn written() -> Written {
    let root = TempDir::new().unwrap();
    let tree = Tree::new(root.path());
    let scene = write(&tree).unwrap();
    Written { root, tree, scene }
}

impl Written {
    /// What is missing of everything that a client pulls, on any platform.
    fn missing(&self, repository: &str, root: Digest) -> Vec<Digest> {
        let layout = Layout::new(self.root.path());
        let Ok(body) = self.tree.read(root) else {
            return vec![root];
        };
        if !layout.revision_link(repository, root).exists() {
            return vec![root];
        }
        match Manifest::parse(&body, None).unwrap() {
            Manifest::Index { children, .. } => children
                .iter()
                .flat_map(|child| self.missing(repository, child.digest))
                .collect(),
            Manifest::Image { config, layers, .. } => layers
                .iter()
                .chain([&config])
                .map(|blob| blob.digest)
                .filter(|digest| {
                    let linked = layout.layer_link(repository, *digest).exists();
                    !linked || self.tree.read(*digest).is_err()
                })
                .collect(),
            Manifest::Unsupported { media_type } => panic!("{media_type}"),
        }
    }

    /// What each tag misses, of those that miss anything.
    fn broken_tags(&self) -> BTreeMap<String, Vec<Digest>> {
        BUILDS
            .iter()
            .flat_map(|build| build.tags.iter().map(|tag| (build.repository, *tag)))
            .map(|(repository, tag)| {
                let root = self.tree.tagged(repository, tag).unwrap();
                (
                    format!("{repository}:{tag}"),
                    self.missing(repository, root),
                )
            })
            .filter(|(_, missing)| !missing.is_empty())
            .collect()
    }
}

/// Namespace, kind and pod of every workload, read as the API server would.
fn pods(yaml: &str) -> Vec<(String, String, PodSpec)> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let mut pods = Vec::new();
    for document in documents {
        let kind = document["kind"].as_str().unwrap().to_owned();
        let namespace = document["metadata"]["namespace"].as_str();
        let namespace = namespace.unwrap_or_default().to_owned();
        let template = match kind.as_str() {
            "Namespace" => {
                serde_json::from_value::<Namespace>(document).unwrap();
                continue;
            }
            "Deployment" => {
                let object: Deployment = serde_json::from_value(document).unwrap();
                object.spec.unwrap().template
            }
            "StatefulSet" => {
                let object: StatefulSet = serde_json::from_value(document).unwrap();
                object.spec.unwrap().template
            }
            "DaemonSet" => {
                let object: DaemonSet = serde_json::from_value(document).unwrap();
                object.spec.unwrap().template
            }
            "CronJob" => {
                let object: CronJob = serde_json::from_value(document).unwrap();
                let spec = object.spec.unwrap();
                assert_eq!(spec.suspend, Some(true));
                spec.job_template.spec.unwrap().template
            }
            other => panic!("{other}"),
        };
        pods.push((namespace, kind, template.spec.unwrap()));
    }
    pods
}

#[test]
fn everything_that_the_workloads_use_is_in_the_tree() {
    let written = written();
    let pods = pods(&written.scene.workloads(HOST));
    let (mut namespaces, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut used, mut with_init, mut pinned) = (BTreeSet::new(), 0, 0);
    for (namespace, kind, pod) in pods {
        namespaces.insert(namespace);
        kinds.insert(kind);
        let init = pod.init_containers.unwrap_or_default();
        with_init += usize::from(!init.is_empty());
        for container in pod.containers.into_iter().chain(init) {
            let reference: Reference = container.image.unwrap().parse().unwrap();
            assert_eq!(reference.host(), HOST);
            let (repository, tag) = (reference.repository(), reference.tag().unwrap());
            let digest = written.tree.tagged(repository, tag).unwrap();
            if let Some(pin) = reference.digest() {
                assert_eq!(pin, digest);
                pinned += 1;
            }
            assert!(
                written.missing(repository, digest).is_empty(),
                "{reference}"
            );
            used.insert(repository.to_owned());
        }
    }
    let all: BTreeSet<_> = BUILDS
        .iter()
        .map(|build| build.repository.to_owned())
        .collect();
    assert_eq!(used, all, "every repository is in use");
    assert_eq!(
        namespaces,
        ["batch", "payments", "shop"].map(str::to_owned).into()
    );
    let expected = ["CronJob", "DaemonSet", "Deployment", "StatefulSet"];
    assert_eq!(kinds, expected.map(str::to_owned).into());
    assert_eq!((with_init, pinned), (2, 1));
}

#[test]
fn every_tag_is_whole_and_one_build_is_garbage() {
    let written = written();
    assert_eq!(written.broken_tags(), BTreeMap::new());
    let live: BTreeSet<_> = BUILDS
        .iter()
        .flat_map(|build| build.tags.iter().map(|tag| (build.repository, *tag)))
        .map(|(repository, tag)| written.tree.tagged(repository, tag).unwrap())
        .collect();
    let untagged: Vec<_> = BUILDS
        .iter()
        .filter(|build| !live.contains(&write_build(&written.tree, build).unwrap()))
        .map(|build| build.version)
        .collect();
    assert_eq!(untagged, ["v2.4.0-rc1"]);
}

#[test]
fn the_sweep_breaks_one_tag_and_restore_mends_it() {
    let written = written();
    let swept = sweep_arm64_child(&written.tree).unwrap();
    assert_eq!((swept.repository, swept.tag), ("team/checkout", "latest"));
    assert_eq!(swept.platform.to_string(), "linux/arm64/v8");
    let broken = BTreeMap::from([("team/checkout:latest".to_owned(), vec![swept.digest])]);
    assert_eq!(written.broken_tags(), broken);
    assert!(
        sweep_arm64_child(&written.tree).is_err(),
        "there is nothing left to sweep"
    );
    swept.restore(&written.tree).unwrap();
    assert_eq!(written.broken_tags(), BTreeMap::new());
}

#[test]
fn repositories_share_layers() {
    let written = written();
    let mut holders: BTreeMap<Digest, BTreeSet<&str>> = BTreeMap::new();
    for build in BUILDS {
        let root = write_build(&written.tree, build).unwrap();
        let mut manifests = vec![root];
        while let Some(manifest) = manifests.pop() {
            match Manifest::parse(&written.tree.read(manifest).unwrap(), None).unwrap() {
                Manifest::Index { children, .. } => {
                    manifests.extend(children.iter().map(|child| child.digest));
                }
                Manifest::Image { layers, .. } => {
                    for layer in layers {
                        holders
                            .entry(layer.digest)
                            .or_default()
                            .insert(build.repository);
                    }
                }
                Manifest::Unsupported { media_type } => panic!("{media_type}"),
            }
        }
    }
    assert!(holders.values().filter(|holders| holders.len() > 1).count() >= 5);
}
