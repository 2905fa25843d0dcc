use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::gc::graph::Builder;

/// Bodies by their names, and who links them.
#[derive(Default)]
struct Tree {
    bodies: BTreeMap<&'static str, Vec<u8>>,
    revisions: Vec<(&'static str, &'static str)>,
    layers: Vec<(&'static str, &'static str)>,
    tags: Vec<(&'static str, &'static str, &'static str)>,
}

impl Tree {
    fn digest(&self, name: &str) -> Digest {
        Digest::of(&self.bodies[name])
    }

    fn descriptor(&self, name: &str) -> Value {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        json!({"mediaType": media_type, "digest": self.digest(name), "size": self.bodies[name].len()})
    }

    /// An image with a layer, its link to it included.
    fn image(
        &mut self,
        repository: &'static str,
        name: &'static str,
        layer: &'static str,
        subject: Option<&str>,
    ) {
        self.bodies.insert(layer, layer.as_bytes().to_vec());
        self.layers.push((repository, layer));
        let body = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.descriptor(layer), "layers": [],
            "subject": subject.map(|it| self.descriptor(it)), "annotations": {"name": name}});
        self.bodies.insert(name, body.to_string().into_bytes());
        self.revisions.push((repository, name));
    }

    fn index(&mut self, repository: &'static str, name: &'static str, children: &[&str]) {
        let children: Vec<Value> = children.iter().map(|it| self.descriptor(it)).collect();
        let body = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children});
        self.bodies.insert(name, body.to_string().into_bytes());
        self.revisions.push((repository, name));
    }

    fn graph(&self) -> Graph {
        let mut builder = Builder::default();
        for body in self.bodies.values() {
            builder.blob(Digest::of(body), body.len() as u64, None);
        }
        for (repository, name) in &self.revisions {
            builder.revision(repository, self.digest(name), None);
        }
        for (repository, name) in &self.layers {
            builder.layer(repository, self.digest(name), None);
        }
        for (repository, tag, name) in &self.tags {
            builder.tag(repository, *tag, Some(self.digest(name)));
        }
        let mut graph = builder.finish();
        let needed: Vec<Digest> = Vec::new();
        loop {
            let unread = graph.unread(&needed);
            if unread.is_empty() {
                graph.settle();
                return graph;
            }
            for id in unread {
                let digest = graph.object(id).digest;
                let body = self.bodies.values().find(|it| Digest::of(it) == digest);
                let parsed = graph.parse(id, body.unwrap());
                graph.put(id, parsed);
            }
        }
    }

    fn without(&self, name: &str) -> Self {
        let mut other = Self {
            bodies: self.bodies.clone(),
            revisions: self.revisions.clone(),
            layers: self.layers.clone(),
            tags: self.tags.clone(),
        };
        other.bodies.remove(name);
        other.revisions.retain(|(_, it)| *it != name);
        other.layers.retain(|(_, it)| *it != name);
        other.tags.retain(|(_, _, it)| *it != name);
        other
    }
}

/// A tagged index of two, a tagged image with a signature, one that only runs, and one that nobody needs.
fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.image("app", "amd64", "amd64.layer", None);
    tree.image("app", "arm64", "arm64.layer", None);
    tree.index("app", "index", &["amd64", "arm64"]);
    tree.index("app", "outer", &["index"]);
    tree.image("app", "tagged", "tagged.layer", None);
    tree.image("app", "signature", "signature.layer", Some("tagged"));
    tree.image("app", "running", "running.layer", None);
    tree.image("app", "garbage", "garbage.layer", None);
    tree.tags.push(("app", "v1", "outer"));
    tree.tags.push(("app", "v2", "tagged"));
    tree
}

fn names(tree: &Tree, losses: &[Loss]) -> Vec<String> {
    let name = |loss: &Loss| match loss.what.digest() {
        Some(digest) => {
            let mut bodies = tree.bodies.iter();
            bodies
                .find(|(_, it)| Digest::of(it) == *digest)
                .unwrap()
                .0
                .to_string()
        }
        None => loss.to_string(),
    };
    let mut names: Vec<String> = losses.iter().map(name).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn what_has_no_tag_of_its_own_is_at_risk_where_such_manifests_go() {
    let tree = tree();
    let graph = tree.graph();
    let needed = [tree.digest("running")];
    assert!(endangered(&graph, &needed, Untagged::Kept).is_empty());
    let of = |keeps_children| {
        let untagged = Untagged::Taken { keeps_children };
        names(&tree, &endangered(&graph, &needed, untagged))
    };
    // 2.8 goes by tags alone; 3.0 and later spare what an index leads to. Both take signatures and what runs.
    assert_eq!(
        of(false),
        ["amd64", "arm64", "index", "running", "signature"]
    );
    assert_eq!(of(true), ["running", "signature"]);
    // A child with a tag of its own goes by neither.
    let mut tagged = self::tree();
    for (tag, name) in [
        ("a", "amd64"),
        ("b", "arm64"),
        ("c", "index"),
        ("d", "signature"),
    ] {
        tagged.tags.push(("app", tag, name));
    }
    let untagged = Untagged::Taken {
        keeps_children: false,
    };
    assert!(endangered(&tagged.graph(), &[], untagged).is_empty());
    // The runtime tells it by its config.
    let needed = [tree.digest("running.layer")];
    let found = endangered(
        &graph,
        &needed,
        Untagged::Taken {
            keeps_children: true,
        },
    );
    assert_eq!(names(&tree, &found), ["running", "signature"]);
}

#[test]
fn everything_that_is_kept_is_missed_and_nothing_else_is() {
    let tree = tree();
    let before = tree.graph();
    let needed = [tree.digest("running")];
    let lost_without = |name: &str| {
        let after = tree.without(name).graph();
        names(&tree, &lost(&before, &after, &needed))
    };
    assert!(lost(&before, &tree.graph(), &needed).is_empty());
    for name in ["garbage", "garbage.layer"] {
        assert!(lost_without(name).is_empty(), "{name}");
    }
    let kept = [
        "amd64",
        "amd64.layer",
        "arm64",
        "index",
        "tagged.layer",
        "signature",
        "signature.layer",
        "running",
        "running.layer",
    ];
    for name in kept {
        assert_eq!(lost_without(name), [name]);
    }
    assert_eq!(lost_without("tagged"), ["app: the tag v2", "tagged"]);
    // Only the link of a repository, or only the bytes.
    for (is_layer, name) in [(true, "tagged.layer"), (false, "tagged"), (false, "amd64")] {
        let mut less = self::tree();
        let links = if is_layer {
            &mut less.layers
        } else {
            &mut less.revisions
        };
        links.retain(|(_, it)| *it != name);
        let found = lost(&before, &less.graph(), &needed);
        assert_eq!(names(&tree, &found), [name]);
    }
    // Bytes that are cut off.
    let mut cut = Builder::default();
    for body in tree.bodies.values() {
        cut.blob(Digest::of(body), 1, None);
    }
    assert!(!lost(&before, &cut.finish(), &needed).is_empty());
    let (count, bytes) = freed(&before, &tree.without("garbage").graph());
    assert_eq!((count, bytes), (1, tree.bodies["garbage"].len() as u64));
}

#[test]
fn the_words_of_distributions_collector_say_whether_untagged_manifests_go() {
    let taken = Untagged::Taken {
        keeps_children: false,
    };
    for argv in [
        &["registry", "garbage-collect", "-m", "c.yml"][..],
        &["registry", "garbage-collect", "--delete-untagged", "c.yml"],
        &[
            "registry",
            "garbage-collect",
            "--delete-untagged=true",
            "c.yml",
        ],
        &["/bin/registry", "garbage-collect", "-dm", "c.yml"],
        &["sh", "-c", "registry garbage-collect 'c.yml' -m; echo done"],
        &[
            "kubectl",
            "exec",
            "registry-0",
            "--",
            "registry",
            "garbage-collect",
            "c.yml",
            "-m=1",
        ],
    ] {
        assert_eq!(Untagged::of(argv.iter().copied(), false), taken, "{argv:?}");
    }
    for argv in [
        &["registry", "garbage-collect", "c.yml"][..],
        &["registry", "garbage-collect", "--dry-run", "c.yml"],
        &[
            "registry",
            "garbage-collect",
            "--delete-untagged=false",
            "c.yml",
        ],
        &["python", "-m", "tool"],
        &[],
    ] {
        assert_eq!(
            Untagged::of(argv.iter().copied(), false),
            Untagged::Kept,
            "{argv:?}"
        );
    }
}
