use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::verify::depth::Depth;
use crate::verify::judge;
use crate::verify::node::Node;
use crate::verify::round::Resolved;
use crate::verify::table::ObjectState;
use crate::verify::target::{AuthId, Cadence, Needs, Root};

const CADENCE: Cadence = Cadence {
    interval: SignedDuration::from_mins(10),
    blob_interval: SignedDuration::from_hours(1),
};

/// A table in which each object was asked for and is there, until somebody says otherwise.
struct Scene {
    table: Table,
    target: Target,
    root: Digest,
    bodies: HashMap<Digest, Bytes>,
    objects: Vec<(Digest, ObjectKind)>,
}

fn blob(name: &str) -> serde_json::Value {
    let digest = Digest::of(name.as_bytes());
    serde_json::json!({"digest": digest, "size": name.len(),
        "mediaType": "application/vnd.oci.image.layer.v1.tar+zstd"})
}

impl Scene {
    /// An index of these platforms, each with a layer of its own and one that all share, and an
    /// attestation of the first.
    fn new(platforms: &[&str], needs: Needs) -> Self {
        let mut scene = Self {
            table: Table::default(),
            target: Target {
                repository: "team/app".into(),
                root: Root::Digest(Digest::default()),
                content: AuthId::OWN,
                access: None,
                needs,
            },
            root: Digest::default(),
            bodies: HashMap::new(),
            objects: Vec::new(),
        };
        let mut children = Vec::new();
        for platform in platforms {
            let (os, architecture) = platform.split_once('/').unwrap();
            let layers = [blob("shared by all"), blob(&format!("layer {platform}"))];
            let digest = scene.manifest(&blob(&format!("config {platform}")), &layers);
            let size = scene.bodies[&digest].len();
            children.push(serde_json::json!({"digest": digest, "size": size,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "platform": {"os": os, "architecture": architecture}}));
        }
        let attestation = scene.manifest(&blob("no config"), &[blob("provenance")]);
        children.push(serde_json::json!({"digest": attestation,
            "size": scene.bodies[&attestation].len(),
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": children[0]["digest"]}}));
        scene.root = scene.put(
            &serde_json::json!({"schemaVersion": 2, "manifests": children,
            "mediaType": "application/vnd.oci.image.index.v1+json"}),
        );
        scene.target.root = Root::Digest(scene.root);
        scene
    }

    fn manifest(&mut self, config: &serde_json::Value, layers: &[serde_json::Value]) -> Digest {
        for named in layers.iter().chain([config]) {
            let digest = named["digest"].as_str().unwrap().parse().unwrap();
            let size = named["size"].as_u64();
            self.set(digest, ObjectKind::Blob, Fact::Present { size });
        }
        self.put(
            &serde_json::json!({"schemaVersion": 2, "config": config, "layers": layers,
            "mediaType": "application/vnd.oci.image.manifest.v1+json"}),
        )
    }

    fn put(&mut self, manifest: &serde_json::Value) -> Digest {
        let body = Bytes::from(manifest.to_string());
        let digest = Digest::of(&body);
        let node = Node::read(&body);
        let size = Some(node.size);
        self.table.add_node(digest, &node);
        self.bodies.insert(digest, body);
        self.set(digest, ObjectKind::Manifest, Fact::Present { size });
        digest
    }

    fn set(&mut self, digest: Digest, kind: ObjectKind, fact: Fact) {
        let key = ObjectKey {
            auth: AuthId::OWN,
            repository: self.table.repository_id(&self.target.repository),
            digest,
            kind,
        };
        let state = ObjectState {
            fact,
            proven_at: Some(Timestamp::UNIX_EPOCH),
            read_at: None,
            suspect: Depth::Head,
            round: 0,
            depth: 0,
        };
        if self.table.objects.get(&key).is_none() {
            self.objects.push((digest, kind));
        }
        self.table.objects.get_or_insert(key, state.clone());
        self.table.objects.update(&key, |known| *known = state);
    }

    fn report(&self) -> Report {
        let resolved = Resolved::default();
        let now = Timestamp::UNIX_EPOCH;
        judge::judge(&self.target, &self.table, &resolved, CADENCE, now)
    }

    fn tree(&self, report: &Report) -> Object {
        let look = Look {
            table: &self.table,
            target: &self.target,
            report,
            bodies: &|digest| self.bodies.get(digest).cloned(),
        };
        tree(&look).unwrap()
    }
}

fn nodes(platforms: &[&str]) -> Needs {
    let platforms = platforms.iter().map(|one| one.parse().unwrap());
    Needs::These(platforms.collect())
}

fn fact(number: u8) -> Fact {
    match number {
        0 => Fact::Missing,
        1 => Fact::WrongDigest,
        2 => Fact::Short { read: 0 },
        3 => Fact::Unasked,
        4 => Fact::Present { size: Some(1) },
        _ => Fact::Unknown {
            code: Code::ServerError,
            message: "the registry answered 500".into(),
        },
    }
}

proptest! {
    /// Whatever is wrong, the tree says at its root what the judge says, and shows each finding at
    /// the place that it is about.
    #[test]
    fn the_tree_says_what_the_judge_says(
        faults in prop::collection::vec((0_usize..100, 0_u8..6), 0..4),
        needed in 0_usize..3,
    ) {
        let needs = [
            Needs::All,
            nodes(&["linux/amd64"]),
            nodes(&["linux/amd64", "linux/s390x"]),
        ];
        let mut scene = Scene::new(&["linux/amd64", "linux/arm64"], needs[needed].clone());
        for (at, number) in faults {
            let (digest, kind) = scene.objects[at % scene.objects.len()];
            scene.set(digest, kind, fact(number));
        }
        let report = scene.report();
        let tree = scene.tree(&report);
        prop_assert_eq!(tree.state, report.verdict);
        for finding in &report.findings {
            let mut is_shown = false;
            tree.visit(&mut Vec::new(), &mut |above, object| {
                let path: Vec<_> = above.iter().filter_map(|one| one.digest).collect();
                let is_place = object.digest == finding.subject && path == finding.path;
                let is_lacking = object.kind == Kind::Platform
                    && object.platform == finding.platform;
                is_shown |= (is_place || is_lacking) && object.code == Some(finding.code);
            });
            prop_assert!(is_shown, "{:?}", finding);
        }
    }
}

#[test]
fn what_nobody_asked_is_not_shown_as_there() {
    let mut scene = Scene::new(&["linux/amd64"], Needs::All);
    let report = scene.report();
    assert_eq!(report.verdict, Verdict::Pullable);
    let layer = Digest::of(b"layer linux/amd64");
    // The judge has not seen it yet: the tree does not say more than is known.
    scene.set(layer, ObjectKind::Blob, Fact::Unasked);
    let tree = scene.tree(&report);
    assert_eq!(tree.state, Verdict::Unknown);
    let mut codes = Vec::new();
    tree.visit(&mut Vec::new(), &mut |_, object| codes.extend(object.code));
    assert_eq!(codes, [Code::NeverChecked]);
}

#[test]
fn sharing_sizes_and_attestations_are_told() {
    let scene = Scene::new(&["linux/amd64", "linux/arm64"], nodes(&["linux/amd64"]));
    let tree = scene.tree(&scene.report());
    let [amd64, arm64, attestation] = tree.children.as_slice() else {
        panic!("{tree:#?}")
    };
    assert_eq!((amd64.needed, arm64.needed), (true, false));
    assert_eq!(amd64.children[1].shared_by, ["linux/arm64"]);
    assert_eq!(arm64.children[1].shared_by, ["linux/amd64"]);
    assert_eq!(amd64.children[2].shared_by, [""; 0]);
    assert_eq!(attestation.kind, Kind::Attestation);
    assert_eq!(
        attestation.attests,
        Some((amd64.digest.unwrap(), amd64.platform.clone()))
    );
    let own: u64 = amd64.children.iter().filter_map(|one| one.size).sum();
    assert_eq!(amd64.total, Some(own + amd64.size.unwrap()));
    // What both name counts once.
    let shared = "shared by all".len() as u64;
    let children = tree.children.iter().filter_map(|one| one.total);
    let sum: u64 = children.sum();
    assert_eq!(tree.total, Some(sum - shared + tree.size.unwrap()));
}

#[test]
fn a_sum_without_what_was_not_followed_is_no_sum() {
    let mut scene = Scene::new(&["linux/amd64", "linux/arm64"], Needs::All);
    let whole = scene.tree(&scene.report());
    let arm64 = whole.children[1].digest.unwrap();
    scene.set(arm64, ObjectKind::Manifest, Fact::Missing);
    let tree = scene.tree(&scene.report());
    assert!(whole.total.is_some());
    assert_eq!(
        (tree.total, tree.children[0].total),
        (None, whole.children[0].total)
    );
}

#[test]
fn an_index_that_names_itself_over_and_over_is_cut() {
    let mut scene = Scene::new(&["linux/amd64"], Needs::All);
    let mut child = scene.root;
    for _ in 0..3 {
        let size = scene.bodies[&child].len();
        let named = serde_json::json!({"digest": child, "size": size,
            "mediaType": "application/vnd.oci.image.index.v1+json"});
        child = scene.put(
            &serde_json::json!({"schemaVersion": 2, "manifests": vec![named; 500],
            "mediaType": "application/vnd.oci.image.index.v1+json"}),
        );
    }
    scene.root = child;
    scene.target.root = Root::Digest(child);
    let tree = scene.tree(&scene.report());
    let mut count = 0;
    tree.visit(&mut Vec::new(), &mut |_, _| count += 1);
    assert!(count <= NODES_MAX + 1, "{count}");
}
