use std::sync::LazyLock;
use std::time::Duration;

use jiff::SignedDuration;

use super::*;
use crate::gc::graph::Builder;
use crate::inventory::completeness::complete;
use crate::inventory::keepset::KeepSet;
use crate::inventory::{Inventory, references};
use crate::oci::reference::Aliases;
use crate::retention::pattern::TagPattern;
use crate::retention::policy::RELEASES;

mod oracle;

pub(super) const HOST: &str = "registry.example";
static RELEASE: LazyLock<TagPattern> = LazyLock::new(|| RELEASES.parse().unwrap());
/// When everything is looked at: so many days after the beginning.
const TODAY: i64 = 1000;

pub(super) fn day(day: i64) -> Timestamp {
    Timestamp::from_second(day * 86_400).unwrap()
}

/// A registry that is made by hand.
#[derive(Default)]
pub(super) struct Shop {
    builder: Builder,
    bodies: Vec<String>,
}

impl Shop {
    /// An image with a layer, and its digest.
    pub(super) fn image(&mut self, content: &str, subject: Option<Digest>) -> Digest {
        let layer = self.blob(content);
        let config = self.blob(&format!("config of {content}"));
        let subject = subject.map_or_else(String::new, |subject| {
            format!(
                r#","subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{subject}","size":1}}"#
            )
        });
        self.manifest(format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":1}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer}","size":1}}]{subject}}}"#
        ))
    }

    pub(super) fn index(&mut self, children: &[Digest]) -> Digest {
        let children = children.iter().map(|child| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{child}","size":1}}"#
            )
        });
        let children: Vec<String> = children.collect();
        self.manifest(format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
            children.join(",")
        ))
    }

    fn blob(&mut self, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let size = content.len() as u64;
        self.builder.blob(digest, size, Some(day(0).into()));
        digest
    }

    fn manifest(&mut self, body: String) -> Digest {
        let digest = self.blob(&body);
        self.bodies.push(body);
        digest
    }

    /// A tag that was pushed on a day.
    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: Digest, pushed: i64) {
        let at = Some(day(pushed).into());
        self.builder.tag(repository, tag, Some(digest));
        self.builder.history(repository, tag, digest, at);
        self.revision(repository, digest);
    }

    pub(super) fn revision(&mut self, repository: &str, digest: Digest) {
        self.builder
            .revision(repository, digest, Some(day(0).into()));
    }

    pub(super) fn graph(self) -> Graph {
        let mut graph = self.builder.finish();
        for body in self.bodies {
            let id = graph.find(&Digest::of(body.as_bytes())).unwrap();
            if graph.node(id).is_none() {
                let parsed = graph.parse(id, body.as_bytes());
                graph.put(id, parsed);
            }
        }
        graph.settle();
        graph
    }
}

/// What somebody needs.
pub(super) fn protection(references: &str) -> Protection {
    let source = references::read_text("keep", references, day(TODAY));
    let inventory = Arc::new(Inventory {
        sources: vec![Arc::new(source)],
    });
    let kept = KeepSet::of(
        &complete(&inventory, day(TODAY)).unwrap(),
        &Aliases::default(),
        std::iter::empty(),
        SignedDuration::from_secs(1),
    );
    Protection::of(&kept, &|host| host == HOST, &|host| host == HOST)
}

pub(super) fn policy(repositories: &str, keep: Vec<Rule>) -> Policy {
    Policy {
        repositories: vec![repositories.parse().unwrap()],
        keep,
        keeps_latest: true,
        releases: vec![RELEASE.clone()],
        immutable: Vec::new(),
        untagged: None,
    }
}

fn younger(days: u64) -> Rule {
    Rule {
        younger_than: Some(Duration::from_hours(24 * days)),
        ..Rule::default()
    }
}

fn newest(count: u32) -> Rule {
    Rule {
        newest: Some(count),
        ..Rule::default()
    }
}

fn planned(graph: &Graph, protection: &Protection, policies: &[Policy]) -> Plan {
    with_doubts(graph, protection, policies, &BTreeMap::new())
}

fn with_doubts(
    graph: &Graph,
    protection: &Protection,
    policies: &[Policy],
    doubts: &BTreeMap<Box<str>, String>,
) -> Plan {
    plan(&Input {
        graph,
        protection,
        policies,
        doubts,
        since: Since::Pushed,
        now: day(TODAY),
    })
}

fn going(plan: &Plan) -> Vec<String> {
    let going = plan.going.iter();
    going
        .map(|it| format!("{}:{}", it.repository, it.tag))
        .collect()
}

fn staying(plan: &Plan) -> Vec<String> {
    let staying = plan.staying.iter().map(|it| {
        let classes: Vec<&str> = it.classes.iter().map(|class| class.as_str()).collect();
        format!("{} {}", it.tag, classes.join(","))
    });
    staying.collect()
}

#[test]
fn what_is_deployed_stays_however_old_it_is_and_whatever_it_is_called() {
    let mut shop = Shop::default();
    let mut pinned = None;
    for (tag, pushed) in [
        ("8f3a1c", 900),
        ("pr-17-wip", 900),
        ("1.2.3", 900),
        ("latest", 900),
        ("new", 999),
        ("old", 900),
        ("pinned", 900),
    ] {
        let digest = shop.image(tag, None);
        shop.tag("team/app", tag, digest, pushed);
        pinned = Some(digest).filter(|_| tag == "pinned").or(pinned);
    }
    let graph = shop.graph();
    let needed = protection(&format!(
        "{HOST}/team/app:8f3a1c\n{HOST}/team/app:pr-17-wip\nelsewhere.example/x@{}",
        pinned.unwrap()
    ));
    let plan = planned(&graph, &needed, &[policy("team/**", vec![younger(30)])]);
    assert_eq!(going(&plan), ["team/app:old"]);
    assert_eq!(
        staying(&plan),
        [
            "1.2.3 release",
            "8f3a1c listed",
            "latest release",
            "new retained",
            "pinned listed",
            "pr-17-wip listed"
        ]
    );
    let old = &plan.going[0];
    assert_eq!(old.age, 100 * 86_400);
    assert_eq!(
        old.reason,
        "pushed 100d ago; nothing needs it, and no rule keeps it"
    );
    // Its manifest, its config and its layer; all three are its own.
    let size = |content: &str| content.len() as u64;
    assert!(old.bytes > size("old") + size("config of old"));
    // Where no pattern fits, nothing goes.
    let plan = planned(&graph, &needed, &[policy("sandbox/**", vec![younger(30)])]);
    assert!(plan.going.is_empty());
    assert_eq!(plan.staying.len(), 7);
}

#[test]
fn the_first_policy_whose_pattern_fits_decides_and_newest_counts_images() {
    let mut shop = Shop::default();
    for (tag, content, pushed) in [
        ("a", "1", 990),
        ("b", "2", 980),
        ("b-too", "2", 970),
        ("c", "3", 960),
        ("c-new", "3", 995),
        ("d", "4", 950),
    ] {
        let digest = shop.image(content, None);
        shop.tag("team/app", tag, digest, pushed);
    }
    let graph = shop.graph();
    let none = Protection::default();
    let first = policy("team/*", vec![newest(2)]);
    let second = policy("**", vec![newest(100)]);
    let plan = planned(&graph, &none, &[first.clone(), second.clone()]);
    assert_eq!(going(&plan), ["team/app:b", "team/app:b-too", "team/app:d"]);
    let plan = planned(&graph, &none, &[second, first]);
    assert!(plan.going.is_empty());
    // Of a rule all holds, and of several any.
    let both = Rule {
        tags: vec!["/[a-d]/".parse().unwrap()],
        except: vec!["b".parse().unwrap()],
        newest: Some(2),
        younger_than: Some(Duration::from_hours(24 * 20)),
        used_within: None,
    };
    let used = Rule {
        used_within: Some(Duration::from_hours(1)),
        ..Rule::default()
    };
    let plan = planned(&graph, &none, &[policy("**", vec![both, used])]);
    assert_eq!(staying(&plan), ["a retained"]);
}

#[test]
fn a_child_of_what_stays_keeps_a_tag_and_signatures_follow_their_images() {
    let mut shop = Shop::default();
    let (amd, arm) = (shop.image("amd64", None), shop.image("arm64", None));
    let index = shop.index(&[amd, arm]);
    let lone = shop.image("lone", None);
    let sbom = shop.image("sbom", Some(index));
    let (kept_sig, lone_sig) = (shop.image("kept sig", None), shop.image("lone sig", None));
    let sig_of_sig = shop.image("sig of sig", None);
    let orphan = shop.image("orphan", None);
    let tag = |digest: Digest, suffix: &str| format!("sha256-{}{suffix}", digest.hex());
    shop.tag("app", "latest", index, 900);
    shop.tag("app", "old-amd64", amd, 900);
    shop.tag("app", "older-amd64", amd, 800);
    shop.tag("app", "old-arm64", arm, 900);
    shop.tag("app", "lone", lone, 900);
    shop.tag("app", "sbom", sbom, 900);
    shop.tag("app", &tag(amd, ".sig"), kept_sig, 900);
    shop.tag("app", &tag(kept_sig, ".sig"), sig_of_sig, 900);
    shop.tag("app", &tag(lone, ".sig"), lone_sig, 990);
    let gone = Digest::of(b"gone");
    shop.tag("app", &tag(gone, ".att"), orphan, 900);
    let graph = shop.graph();
    let plan = planned(
        &graph,
        &Protection::default(),
        &[policy("**", vec![younger(30)])],
    );
    let mut expected = vec![
        "app:lone".to_owned(),
        "app:older-amd64".to_owned(),
        format!("app:{}", tag(gone, ".att")),
        format!("app:{}", tag(lone, ".sig")),
    ];
    expected.sort();
    assert_eq!(going(&plan), expected);
    let of = |name: &str| {
        let found = plan.staying.iter().find(|it| &*it.tag == name).unwrap();
        let class = found.classes.first().unwrap().as_str();
        (class, found.reason.clone())
    };
    let (class, reason) = of("old-amd64");
    assert_eq!(class, "guards-child");
    let (amd, index) = (amd.short(), index.short());
    assert_eq!(
        reason,
        format!("no other tag names {amd}, a child of {index}, which stays")
    );
    assert_eq!(of("old-arm64").0, "guards-child");
    assert_eq!(of("sbom").0, "signature");
    assert_eq!(of(&tag(kept_sig, ".sig")).0, "signature");
    // With the index, all that guards its children and belongs to it may go.
    let decided = Policy {
        keeps_latest: false,
        ..policy("**", vec![younger(30)])
    };
    let plan = planned(&graph, &Protection::default(), &[decided]);
    assert!(plan.staying.is_empty(), "{:?}", staying(&plan));
}

/// By its names alone `build-100` would be older than `build-99`.
#[test]
fn of_tags_that_were_seen_first_together_none_is_chosen_by_its_name() {
    let mut shop = Shop::default();
    for (name, seen) in [
        ("99", 900),
        ("100", 900),
        ("101", 900),
        ("1", 800),
        ("2", 800),
    ] {
        let digest = shop.image(name, None);
        shop.tag("app", &format!("build-{name}"), digest, seen);
    }
    let graph = shop.graph();
    let newest = |count| Rule {
        newest: Some(count),
        ..Rule::default()
    };
    let going_of = |count, since| {
        let policies = [policy("**", vec![newest(count)])];
        going(&plan(&Input {
            graph: &graph,
            protection: &Protection::default(),
            policies: &policies,
            doubts: &BTreeMap::new(),
            since,
            now: day(TODAY),
        }))
    };
    let old = ["app:build-1", "app:build-2"];
    assert_eq!(going_of(2, Since::FirstSeen), old);
    assert_eq!(going_of(3, Since::FirstSeen), old);
    assert_eq!(going_of(4, Since::FirstSeen), [""; 0]);
    // When each was pushed is known to the second.
    assert_eq!(going_of(2, Since::Pushed).len(), 3);
}

#[test]
fn of_what_is_unclear_nothing_goes() {
    let mut shop = Shop::default();
    let digest = shop.image("1", None);
    for repository in ["clear", "doubted", "foreign", "damaged", "dangling", "torn"] {
        shop.tag(repository, "old", digest, 900);
    }
    let damage = crate::gc::graph::Damage {
        path: "repositories/damaged/_manifests/tags/x".to_owned(),
        problem: "it is no directory".to_owned(),
    };
    shop.builder.damage(Some("damaged"), damage);
    shop.tag("dangling", "broken", Digest::of(b"not stored"), 900);
    shop.builder.tag("torn", "torn", None);
    let graph = shop.graph();
    let doubts = BTreeMap::from([("doubted".into(), "nobody can tell".to_owned())]);
    let needed = protection("old.example/foreign:old");
    let plan = with_doubts(&graph, &needed, &[policy("**", vec![younger(30)])], &doubts);
    assert_eq!(going(&plan), ["clear:old"]);
    let left = plan.left_alone.iter();
    let left: Vec<String> = left
        .map(|it| format!("{}: {}", it.repository, it.reason))
        .collect();
    assert_eq!(left.len(), 5);
    assert!(
        left[0].starts_with("damaged: repositories/damaged"),
        "{left:?}"
    );
    assert!(
        left[1].starts_with("dangling: what the tag `broken` names"),
        "{left:?}"
    );
    assert_eq!(left[2], "doubted: nobody can tell");
    assert!(
        left[3].contains("`old.example/foreign:old` may mean it"),
        "{left:?}"
    );
    assert!(
        left[4].starts_with("torn: what the tag `torn` names"),
        "{left:?}"
    );
}

#[test]
fn what_several_share_is_counted_once_and_what_stays_needs_not_at_all() {
    let mut shop = Shop::default();
    let (a, b) = (shop.image("a", None), shop.image("b", None));
    let shared = shop.index(&[a, b]);
    let stays = shop.index(&[b]);
    shop.tag("app", "one", shared, 900);
    shop.tag("app", "two", shared, 900);
    shop.tag("app", "kept", stays, 999);
    for child in [a, b] {
        shop.revision("app", child);
    }
    let graph = shop.graph();
    let plan = planned(
        &graph,
        &Protection::default(),
        &[policy("**", vec![younger(30)])],
    );
    let bytes: Vec<u64> = plan.going.iter().map(|it| it.bytes).collect();
    let of = |digest: &Digest| graph.object(graph.find(digest).unwrap()).size().unwrap();
    let blobs = ("a".len() + "config of a".len()) as u64;
    assert_eq!(bytes, [of(&shared) + of(&a) + blobs, 0]);
    assert_eq!(plan.bytes(), bytes[0]);
}

#[test]
fn its_id_is_that_of_what_goes_and_of_the_policy() {
    let mut shop = Shop::default();
    for tag in ["a", "b"] {
        let digest = shop.image(tag, None);
        shop.tag("app", tag, digest, 900);
    }
    let graph = shop.graph();
    let none = Protection::default();
    let id = |policies: &[Policy]| planned(&graph, &none, policies).id(HOST, policies);
    let one = [policy("**", vec![younger(30)])];
    assert_eq!(id(&one), id(&one));
    assert_eq!(id(&one).len(), 16);
    assert_ne!(id(&one), id(&[policy("**", vec![younger(31)])]));
    assert_ne!(id(&one), id(&[policy("**", vec![newest(1)])]));
}
