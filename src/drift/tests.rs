//! What runs, compared with trees that are drawn at random, against an oracle that knows how they were
//! drawn.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use fastrand::Rng;

use super::*;
use crate::inventory::running::ImageId;
use crate::oci::reference::Reference;
use crate::verify::finding::{Finding, PlatformReport, Verdict};
use crate::verify::node::{BlobEdge, ChildEdge};

mod untagged;

/// What somebody once pushed: known from the inside, never read.
#[derive(Debug, Clone)]
enum Pushed {
    Index(String, Vec<Pushed>),
    Image(String),
    /// A layer among the children of an index.
    Layer(String),
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn config(name: &str) -> Digest {
    digest(&format!("config of {name}"))
}

impl Pushed {
    fn digest(&self) -> Digest {
        let (Self::Index(name, _) | Self::Image(name) | Self::Layer(name)) = self;
        digest(name)
    }

    fn images(&self) -> Vec<&str> {
        match self {
            Self::Index(_, children) => children.iter().flat_map(Self::images).collect(),
            Self::Image(name) => vec![name],
            Self::Layer(_) => Vec::new(),
        }
    }

    /// Everything that a node may say after it has pulled this.
    fn may_say(&self) -> BTreeSet<Digest> {
        let mut all = BTreeSet::from([self.digest()]);
        match self {
            Self::Index(_, children) => all.extend(children.iter().flat_map(Self::may_say)),
            Self::Image(name) => all.extend([config(name)]),
            Self::Layer(_) => {}
        }
        all
    }

    /// The part of it that can be known with these manifests alone, and whether that is all.
    fn readable(&self, is_read: &dyn Fn(Digest) -> bool) -> (BTreeSet<Digest>, bool) {
        let mut known = BTreeSet::from([self.digest()]);
        match self {
            Self::Layer(_) => (known, true),
            _ if !is_read(self.digest()) => (known, false),
            Self::Image(name) => {
                known.insert(config(name));
                (known, true)
            }
            Self::Index(_, children) => {
                let mut is_all = true;
                for child in children {
                    let (below, all_below) = child.readable(is_read);
                    known.extend(below);
                    is_all &= all_below;
                }
                (known, is_all)
            }
        }
    }

    fn nodes(&self, nodes: &mut HashMap<Digest, Node>) {
        let blob = |digest: Digest| BlobEdge {
            digest,
            size: 1,
            is_distributable: true,
        };
        let shape = match self {
            Self::Layer(_) => return,
            Self::Image(name) => Shape::Image {
                config: blob(config(name)),
                layers: [blob(digest(&format!("layer of {name}")))].into(),
            },
            Self::Index(_, children) => {
                for child in children {
                    child.nodes(nodes);
                }
                let edge = |child: &Self| ChildEdge {
                    digest: child.digest(),
                    size: 1,
                    platform: None,
                    is_blob: matches!(child, Self::Layer(_)),
                };
                Shape::Index(children.iter().map(edge).collect())
            }
        };
        nodes.insert(self.digest(), Node { size: 1, shape });
    }
}

/// Builds share images at times: a rebuild that changed nothing for one platform.
fn push(rng: &mut Rng, depth: u8) -> Pushed {
    let name = |rng: &mut Rng, kind: &str| format!("{kind} {}", rng.u8(..12));
    match rng.u8(..10) {
        0 if depth > 0 => Pushed::Layer(name(rng, "layer")),
        1..=4 if depth < 2 => {
            let children: Vec<Pushed> = (0..rng.u8(..4)).map(|_| push(rng, depth + 1)).collect();
            // The same children make the same index.
            Pushed::Index(format!("index of {children:?}"), children)
        }
        _ => Pushed::Image(name(rng, "image")),
    }
}

/// What a runtime writes that pulled it for one platform.
fn written(rng: &mut Rng, pulled: &Pushed, repository: &str) -> String {
    let images = pulled.images();
    let image = (!images.is_empty()).then(|| images[rng.usize(..images.len())]);
    let root = pulled.digest();
    match (rng.u8(..8), image) {
        // containerd: what was asked for.
        (0..=2, _) => format!("{repository}@{root}"),
        // CRI-O: what was chosen.
        (3, Some(image)) => format!("{repository}@{}", digest(image)),
        (4, Some(image)) => config(image).hex(),
        // Docker.
        (5, _) => format!("docker-pullable://{repository}@{root}"),
        (6, Some(image)) => format!("docker://{}", config(image)),
        // Loaded from a file.
        (7, Some(image)) => config(image).to_string(),
        _ => root.to_string(),
    }
}

#[test]
fn there_is_no_false_drift_and_none_is_missed_where_all_is_known() {
    const CASES: u64 = 10_000;
    let named: Reference = "r.example/team/app:1".parse().unwrap();
    let mut drew = [0_u32; 3];
    for seed in 0..CASES {
        let mut rng = Rng::with_seed(seed);
        // What the tag named, one after the other. Each node pulled one of them.
        let history: Vec<Pushed> = (0..rng.usize(1..5)).map(|_| push(&mut rng, 0)).collect();
        let now = history.last().unwrap();
        let mut nodes = HashMap::new();
        for pushed in &history {
            pushed.nodes(&mut nodes);
        }
        // Some are deleted, or not read yet.
        if rng.bool() {
            nodes.retain(|_, _| rng.u8(..5) > 0);
        }
        let unreadable = nodes.keys().copied().min().filter(|_| rng.u8(..8) == 0);
        if let Some(digest) = unreadable {
            let shape = Shape::Unsupported("something newer".into());
            nodes.insert(digest, Node { size: 1, shape });
        }
        let is_read = |digest: Digest| nodes.contains_key(&digest) && unreadable != Some(digest);
        let (known, is_all) = now.readable(&is_read);
        for pulled in &history {
            let repository = match rng.u8(..6) {
                // A mirror that was asked by its own name, and a name that a node made.
                0 => "mirror.example/hub/team/app",
                1 => "docker.io/library/import-2026-08-01",
                _ => "r.example/team/app",
            };
            let text = written(&mut rng, pulled, repository);
            let id = ImageId::of(&text, Some(&named)).unwrap();
            let found = relation(now.digest(), id, |digest| nodes.get(digest).cloned());
            let is_elsewhere = text.contains('@') && repository != "r.example/team/app";
            let expected = if known.contains(&id.digest) {
                Relation::Same
            } else if is_all && !is_elsewhere {
                Relation::Moved
            } else {
                Relation::CannotTell
            };
            assert_eq!(
                found, expected,
                "seed {seed}: {text} of {pulled:?}, now {now:?}"
            );
            if now.may_say().contains(&id.digest) {
                assert_ne!(
                    found,
                    Relation::Moved,
                    "seed {seed}: it is what the tag names"
                );
            }
            drew[found as usize] += 1;
        }
    }
    // None of the three is drawn so seldom that nothing was said of it.
    assert!(drew.iter().all(|count| *count > 1000), "{drew:?}");
}

#[test]
fn what_is_too_deep_or_too_much_cannot_be_told() {
    let mut tree = Pushed::Image("deep".to_owned());
    let outside = ImageId {
        digest: digest("outside"),
        place: Place::Named,
    };
    for depth in 0..=DEPTH_MAX {
        let mut nodes = HashMap::new();
        tree.nodes(&mut nodes);
        let found = relation(tree.digest(), outside, |digest| nodes.get(digest).cloned());
        let expected = if depth < DEPTH_MAX {
            Relation::Moved
        } else {
            Relation::CannotTell
        };
        assert_eq!(found, expected, "{depth}");
        tree = Pushed::Index(format!("level {depth}"), vec![tree]);
    }
    let many = (0..=NODES_MAX).map(|number| Pushed::Image(number.to_string()));
    let wide = Pushed::Index("wide".to_owned(), many.collect());
    let mut nodes = HashMap::new();
    wide.nodes(&mut nodes);
    let found = relation(wide.digest(), outside, |digest| nodes.get(digest).cloned());
    assert_eq!(found, Relation::CannotTell);
}

#[test]
fn who_cannot_tell_does_not_take_back_what_was_told() {
    let id = |name: &str| ImageId {
        digest: digest(name),
        place: Place::Named,
    };
    let compared = |others: &[(&str, Relation)]| Compared {
        key: Arc::new(ImageKey {
            reference: "r.example/app:1".parse().unwrap(),
            puller: crate::images::PullerKey::Own.into(),
        }),
        others: others
            .iter()
            .map(|(name, relation)| (id(name), *relation))
            .collect(),
    };
    let before = compared(&[
        ("a", Relation::Moved),
        ("b", Relation::CannotTell),
        ("c", Relation::Moved),
    ]);
    let now = compared(&[("a", Relation::CannotTell), ("b", Relation::CannotTell)]);
    let expected = compared(&[("a", Relation::Moved), ("b", Relation::CannotTell)]);
    assert_eq!(now.clone().after(Some(&before)), expected);
    assert_eq!(now.clone().after(None), now);
}

fn report(verdict: Verdict, platforms: &[(&str, Verdict)]) -> Report {
    let platforms = platforms.iter().map(|(platform, verdict)| PlatformReport {
        platform: (!platform.is_empty()).then(|| platform.parse().unwrap()),
        digest: Some(digest(platform)),
        verdict: *verdict,
        needed: false,
    });
    Report {
        digest: Some(digest("root")),
        verdict,
        platforms: platforms.collect(),
        findings: [].into(),
        ..Report::never_checked()
    }
}

#[test]
fn a_platform_is_lost_that_an_earlier_proof_had() {
    use Verdict::{Broken, Pullable, Unknown};
    let both = report(
        Pullable,
        &[("linux/amd64", Pullable), ("linux/arm64", Pullable)],
    );
    let one = report(Pullable, &[("linux/amd64", Pullable)]);
    let down = Report::only(Code::Unreachable, "no route".to_owned());
    let half = report(Unknown, &[("linux/amd64", Unknown)]);
    let undescribed = report(Pullable, &[("", Pullable)]);
    let mut cut = report(Broken, &[("linux/amd64", Broken)]);
    cut.findings.push(Finding {
        code: Code::Unsupported,
        subject: None,
        platform: None,
        needed: false,
        path: Vec::new(),
        message: "more than 4096".to_owned(),
    });
    let same_otherwise = report(
        Pullable,
        &[("linux/amd64", Pullable), ("linux/arm64/v8", Pullable)],
    );
    let missing_child = report(
        Broken,
        &[("linux/amd64", Pullable), ("linux/arm64", Broken)],
    );
    let none: &[&str] = &[];
    let lost: &[&str] = &["linux/arm64"];
    for (course, expected) in [
        (vec![&both, &both], none),
        (vec![&both, &one], lost),
        (vec![&both, &one, &one, &both], none),
        (vec![&both, &one, &one, &one], lost),
        (vec![&one, &both], none),
        // Doubt in between takes nothing away, and doubt alone tells nothing.
        (vec![&both, &down], none),
        (vec![&both, &down, &one], lost),
        (vec![&both, &down, &down, &cut, &one], lost),
        (vec![&both, &one, &down], lost),
        (vec![&both, &half], none),
        (vec![&both, &undescribed], none),
        (vec![&both, &undescribed, &one], lost),
        (vec![&both, &cut], none),
        (vec![&both, &same_otherwise], none),
        // It is broken, and another finding says so.
        (vec![&both, &missing_child], none),
        (vec![&down, &one], none),
    ] {
        let mut before = PlatformsBefore::default();
        let mut last: Option<&Report> = None;
        for now in &course {
            before = before.after(last, now);
            // A restart reads back what was written.
            let written = serde_json::to_string(&before).unwrap();
            before = serde_json::from_str(&written).unwrap();
            last = Some(now);
        }
        let found: Vec<String> = before.lost.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{course:?}");
    }
    let attested = report(
        Pullable,
        &[("linux/amd64", Pullable), ("unknown/unknown", Pullable)],
    );
    assert_eq!(
        PlatformsBefore::default().after(Some(&attested), &one),
        PlatformsBefore::default()
    );
}
