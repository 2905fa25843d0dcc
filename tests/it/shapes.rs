//! Every shape that a registry holds gets the right verdict: images as real clients push them
//! (`tests/fixtures`), served by real registries, whole and with each of their objects lost in turn.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

mod layout;
mod referrers;
mod script;
mod table;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::run::{self, Ended};
use crate::support::http;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

use self::layout::{Layout, Place, Role};
use self::script::Script;
use self::table::{SHAPES, Served, Shape};

/// One image in a registry: a shape, and the object that this copy of it lost.
struct Copy<'a> {
    shape: &'a Shape,
    places: Vec<Place>,
    reference: String,
    lost: Option<String>,
}

/// Code, subject, platform, whether it counts, and the way to it.
type Found = (String, String, String, bool, String);

#[tokio::test]
async fn every_shape_gets_its_verdict_whole_and_with_each_object_lost() {
    require!("docker-registry", "registry-3.1");
    for version in Version::ALL {
        let root = tempfile::tempdir().unwrap();
        let registry = Registry::start(Options::new(version, root.path())).await;
        let script = Script::default();
        let server = script.start();
        let hosts = [registry.host(), server.host()];
        let copies: Vec<Copy<'_>> = SHAPES
            .iter()
            .flat_map(|shape| write_copies(shape, &registry, &script, &hosts))
            .collect();

        check(&copies, &hosts, None).await;
        let platforms: BTreeSet<&str> = SHAPES
            .iter()
            .flat_map(|shape| shape.narrowed.iter().map(|(platform, _)| *platform))
            .collect();
        // What counts is decided after the registry has answered: one of them is enough.
        for platform in platforms.into_iter().filter(|_| version == Version::V3) {
            check(&copies, &hosts, Some(platform)).await;
        }

        let foreign = SHAPES.iter().flat_map(|shape| {
            let layout = Layout::open(shape.name);
            let places = layout.places(&layout.tag(shape.tag));
            places
                .into_iter()
                .filter(|place| place.role == Role::Foreign)
        });
        let foreign: Vec<String> = foreign.map(|place| place.digest).collect();
        assert_eq!(foreign.len(), 1);
        let requests = registry.requests();
        let is_foreign = |path: &str| path.contains(foreign[0].as_str());
        assert!(requests.len() > 500 && !requests.iter().any(|one| is_foreign(&one.path)));

        let refused = SHAPES.iter().filter(|shape| match shape.served {
            Served::Distribution => false,
            Served::ScriptForSchema1 => version == Version::V3,
            Served::Script => true,
        });
        for shape in refused {
            let url = format!("{}/v2/{}/manifests/v1", registry.url(), shape.name);
            let status = http::client().get(url).send().await.unwrap().status();
            assert!(!status.is_success(), "{version:?} serves {}", shape.name);
        }
    }
}

/// One that is whole, and one for each object without it.
fn write_copies<'a>(
    shape: &'a Shape,
    registry: &Registry,
    script: &Script,
    hosts: &[String; 2],
) -> Vec<Copy<'a>> {
    let layout = Layout::open(shape.name);
    let tag = layout.tag(shape.tag);
    let mut places = layout.places(&tag);
    if shape.hides(&places) {
        // Its config is not read either.
        places[0].platform = None;
    }
    let there = places
        .iter()
        .filter(|place| layout.blob(&place.digest).is_some());
    let objects: BTreeSet<&str> = there.map(|place| place.digest.as_str()).collect();
    let losses = objects.into_iter().map(Some).enumerate();
    let copies = std::iter::once((usize::MAX, None))
        .chain(losses)
        .map(|(number, lost)| {
            let mut repository = shape.name.to_owned();
            if lost.is_some() {
                write!(repository, "/{}lost-{number}", shape.tag.trim_matches('.')).unwrap();
            }
            let host = &hosts[usize::from(shape.served != Served::Distribution)];
            layout.write(registry.root(), &repository, lost.unwrap_or_default());
            if shape.served != Served::Distribution {
                script.add(&repository, &layout, lost.unwrap_or_default());
            }
            Copy {
                shape,
                places: places.clone(),
                reference: format!("{host}/{repository}:{tag}"),
                lost: lost.map(ToOwned::to_owned),
            }
        });
    copies.collect()
}

async fn check(copies: &[Copy<'_>], hosts: &[String; 2], platform: Option<&str>) {
    let hosts = hosts.join(",");
    let mut arguments = vec!["verify", "--plain-http", &hosts, "-o", "json"];
    if let Some(platform) = platform {
        arguments.extend(["--platform", platform]);
    }
    let told = copies
        .iter()
        .filter(|copy| needed(copy.shape, platform).is_some());
    let told: Vec<&Copy<'_>> = told.collect();
    arguments.extend(told.iter().map(|copy| copy.reference.as_str()));
    let ended = run::pullproof(&arguments).await;
    for copy in told {
        let image = image(&ended, &copy.reference);
        let needed = needed(copy.shape, platform).unwrap();
        check_one(copy, &image, &needed, platform);
    }
}

/// The platforms that count; `None` where the table does not say.
fn needed(shape: &Shape, platform: Option<&str>) -> Option<BTreeSet<&'static str>> {
    let words = match platform {
        None => shape.platforms,
        Some(platform) => shape.narrowed.iter().find(|(one, _)| *one == platform)?.1,
    };
    // Nobody's platform never counts.
    let words = words
        .split_whitespace()
        .filter(|word| *word != "unknown/unknown");
    Some(words.collect())
}

fn check_one(copy: &Copy<'_>, image: &Value, needed: &BTreeSet<&str>, platform: Option<&str>) {
    let name = format!(
        "{} --platform {platform:?} lost {:?}: {image:#}",
        copy.reference, copy.lost
    );
    let counts = |platform: Option<&str>| platform.is_none_or(|one| needed.contains(one));
    let mut expected: BTreeSet<Found> = BTreeSet::new();
    let root = &copy.places[0];
    if copy.lost.as_ref() == Some(&root.digest) {
        expected.insert((
            "tag_missing".into(),
            "-".into(),
            "-".into(),
            true,
            String::new(),
        ));
    } else {
        let is_index = copy.places.iter().any(|place| place.role == Role::Child);
        for (code, number) in copy.shape.findings {
            let place = &copy.places[*number];
            expected.insert(found(code, place, counts(place.platform.as_deref())));
        }
        for place in &copy.places {
            let is_lost = |digest: &String| Some(digest) == copy.lost.as_ref();
            // What is below a lost manifest is not looked at, nor what is below one that cannot be read.
            let is_hidden = place.path.iter().any(is_lost) || copy.shape.hides(&copy.places);
            let code = match place.role {
                Role::Child => "child_missing",
                Role::Config => "config_missing",
                Role::Layer => "layer_missing",
                Role::Root | Role::Foreign => continue,
            };
            if is_lost(&place.digest) && !is_hidden {
                // A child without a platform is a runtime's last choice.
                let is_last = platform.is_some()
                    && place.platform.is_none()
                    && copy.places.iter().any(|other| {
                        other.path == place.path
                            && other
                                .platform
                                .as_deref()
                                .is_some_and(|one| needed.contains(one))
                    });
                let counts = !is_index || (counts(place.platform.as_deref()) && !is_last);
                expected.insert(found(code, place, counts));
            }
        }
        if let Some(platform) = platform.filter(|_| needed.is_empty()) {
            let lacking = root.clone();
            let lacking = Place {
                platform: Some(platform.to_owned()),
                ..lacking
            };
            expected.insert(found("platform_missing", &lacking, true));
        }
        check_platforms(copy, image, needed, platform, &name);
    }
    assert_eq!(findings(image), expected, "{name}");

    let counting = expected.iter().filter(|found| found.3);
    let codes: Vec<&str> = counting.map(|found| found.0.as_str()).collect();
    let verdict = match codes.as_slice() {
        [] => "pullable",
        codes if codes.iter().all(|code| *code == "unsupported") => "unknown",
        _ => "broken",
    };
    assert_eq!(image["verdict"], verdict, "{name}");
}

/// The names in their order, and which of them count.
fn check_platforms(
    copy: &Copy<'_>,
    image: &Value,
    needed: &BTreeSet<&str>,
    platform: Option<&str>,
    name: &str,
) {
    if copy.lost.is_some() {
        return;
    }
    let told = image["platforms"].as_array().unwrap().iter().map(|one| {
        let platform = one["platform"].as_str().unwrap_or("-");
        (platform, one["needed"].as_bool().unwrap())
    });
    let words = copy.shape.platforms.split_whitespace();
    let mut expected: Vec<(&str, bool)> = words.map(|one| (one, needed.contains(one))).collect();
    if let Some(lacking) = platform.filter(|_| needed.is_empty()) {
        expected.push((lacking, true));
    }
    assert_eq!(told.collect::<Vec<_>>(), expected, "{name}");
}

impl Shape {
    /// Whether its root is of a kind whose objects are not asked for.
    fn hides(&self, places: &[Place]) -> bool {
        self.findings
            .iter()
            .any(|(_, number)| places[*number].role == Role::Root)
    }
}

fn found(code: &str, place: &Place, counts: bool) -> Found {
    let platform = place.platform.clone().unwrap_or_else(|| "-".to_owned());
    (
        code.to_owned(),
        place.digest.clone(),
        platform,
        counts,
        place.path.join(" "),
    )
}

fn findings(image: &Value) -> BTreeSet<Found> {
    let findings = image["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let findings = findings.map(|finding| {
        let path = finding["path"].as_array().unwrap().iter().map(text);
        (
            text(&finding["code"]),
            text(&finding["subject"]),
            text(&finding["platform"]),
            finding["needed"].as_bool().unwrap(),
            path.collect::<Vec<_>>().join(" "),
        )
    });
    findings.collect()
}

fn image(ended: &Ended, reference: &str) -> Value {
    let view = ended.json();
    let images = view["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["reference"] == reference);
    image
        .unwrap_or_else(|| panic!("{reference}: {ended:?}"))
        .clone()
}
