//! A snapshot in, the text of a scrape out.

use super::*;
use crate::drift::{Disagreement, Drift, Kind};
use crate::images::{Image, ImageKey, Puller, PullerKey};
use crate::inventory::marks::{AllMarks, Mark, Marked, MarkedNamespace, Marks, sorted};
use crate::inventory::running::{Reason, Refusal};
use crate::inventory::{Class, TopOwner, User};
use crate::metrics::exposition::{Exposition, Format};
use crate::oci::digest::Digest;
use crate::registry::stats::Stats;
use crate::state::{Detailed, Details};
use crate::state::{ImageState, Named, ObjectCounts, SourceStatus};
use crate::verify::finding::{Finding, PlatformReport, Report};
use crate::verify::target::Needs;
use jiff::{SignedDuration, Timestamp};

fn user(namespace: &str, name: &str, class: Class) -> User {
    User {
        owner: Arc::new(TopOwner {
            cluster: None,
            namespace: namespace.into(),
            kind: "Deployment".into(),
            name: name.into(),
        }),
        container: "app".into(),
        image: "app:v1".into(),
        class,
        via: None,
        since: None,
        idle: None,
    }
}

fn image(reference: &str, report: Report, users: Vec<User>) -> ImageState {
    ImageState {
        named: Named::Image(Arc::new(Image {
            name: reference.into(),
            registry: "r.example".into(),
            key: Arc::new(ImageKey {
                reference: reference.parse().unwrap(),
                puller: PullerKey::Own.into(),
            }),
            puller: Puller::Own.into(),
            needs: Needs::All,
            users: users.into_iter().map(Arc::new).collect(),
            running: None,
        })),
        proven_at: report.proven_at,
        report: Arc::new(report),
        since: Second::new(0),
        is_known: false,
    }
}

fn pullable() -> Report {
    Report {
        verdict: Verdict::Pullable,
        findings: vec![].into(),
        proven_at: Some(Second::new(1000)),
        ..Report::never_checked()
    }
}

fn broken(findings: &[(Code, &str)]) -> Report {
    let findings: Vec<_> = findings
        .iter()
        .map(|(code, platform)| Finding {
            code: *code,
            subject: None,
            platform: platform.parse().ok(),
            needed: true,
            path: vec![],
            message: "x".to_owned(),
        })
        .collect();
    let platform = |verdict, text: &str| PlatformReport {
        platform: text.parse().ok(),
        digest: None,
        verdict,
        needed: true,
    };
    Report {
        verdict: Verdict::Broken,
        platforms: vec![
            platform(Verdict::Pullable, "linux/amd64"),
            platform(Verdict::Broken, "linux/arm64"),
        ]
        .into(),
        findings: findings.into(),
        ..Report::never_checked()
    }
}

fn scrape(images: Vec<ImageState>, caps: Caps, format: Format) -> String {
    marked(images, AllMarks::default(), caps, format)
}

fn marked(images: Vec<ImageState>, marks: AllMarks, caps: Caps, format: Format) -> String {
    let snapshot = Snapshot {
        endpoints: vec![],
        at: Timestamp::UNIX_EPOCH,
        sequence: 1,
        sources: vec![SourceStatus {
            name: "prod".into(),
            incomplete: Some("forbidden".to_owned()),
            complete_at: None,
            references: 3,
            ..SourceStatus::default()
        }],
        images: images.into_iter().map(Arc::new).collect(),
        registries: vec![RegistryStatus {
            host: "r.example".into(),
            is_up: Some(true),
            last_completed_at: Some(Timestamp::from_second(1200).unwrap()),
            last_clean_at: None,
            last_duration: Some(SignedDuration::from_millis(1500)),
            interval: SignedDuration::from_secs(600),
            objects: [
                ObjectCounts {
                    blobs: 12,
                    bytes: 3456,
                },
                ObjectCounts::default(),
                ObjectCounts { blobs: 1, bytes: 0 },
            ],
            rate_limit_remaining: None,
            requests_per_day: 99,
        }],
        marks,
        tags: Arc::default(),
        histories: Arc::default(),
        is_ready: true,
        baseline_images: 0,
    };
    let (_keep, snapshots) = watch::channel(Arc::new(snapshot));
    let (_keep, is_current) = watch::channel(true);
    let exposition = Exposition::new(
        SnapshotCollector::new(snapshots, is_current, caps),
        &Stats::default(),
    );
    let mut text = String::new();
    exposition.encode(format, &mut text).unwrap();
    // The process differs from run to run.
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("process_"))
        .collect();
    kept.join(
        "
",
    ) + "
"
}

const CAPS: Caps = Caps {
    series: 1000,
    series_per_namespace: 100,
};

fn scene() -> Vec<ImageState> {
    vec![
        image(
            "r.example/app:v1",
            pullable(),
            vec![user("shop", "web", Class::Runtime)],
        ),
        image(
            "r.example/api:v2",
            broken(&[
                (Code::ChildMissing, "linux/arm64"),
                (Code::LayerMissing, "linux/arm64"),
                (Code::ConfigMissing, "linux/amd64"),
            ]),
            vec![
                user("shop", "api", Class::Rollback),
                user("shop", "api", Class::Runtime),
            ],
        ),
        image(
            "r.example/odd:v3",
            Report::only(Code::Timeout, "x".to_owned()),
            vec![user("ugly \"quoted\"\\\n", "web", Class::Listed)],
        ),
    ]
}

#[test]
fn a_scrape_as_it_is() {
    insta::assert_snapshot!(scrape(scene(), CAPS, Format::OpenMetrics));
}

#[test]
fn the_old_text_format_has_the_same_samples() {
    let samples = |format| -> Vec<String> {
        let text = scrape(scene(), CAPS, format);
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(ToOwned::to_owned)
            .collect()
    };
    assert_eq!(samples(Format::OpenMetrics), samples(Format::Text));
    let text = scrape(scene(), CAPS, Format::Text);
    assert!(!text.contains("# EOF") && !text.contains(" info\n"));
    assert!(text.contains("# TYPE pullproof_series_dropped_total counter\n"));
}

#[test]
fn one_namespace_cannot_fill_the_scrape_and_what_is_broken_is_cut_last() {
    let mut images: Vec<ImageState> = (0..50)
        .map(|n| {
            let users = vec![user("noisy", &format!("w{n}"), Class::Runtime)];
            image(&format!("r.example/a:v{n}"), pullable(), users)
        })
        .collect();
    let users = vec![user("noisy", "zz", Class::Runtime)];
    images.push(image(
        "r.example/zz:v1",
        broken(&[(Code::TagMissing, "")]),
        users,
    ));
    images.push(image(
        "r.example/b:v1",
        pullable(),
        vec![user("quiet", "web", Class::Runtime)],
    ));
    let caps = Caps {
        series: 1000,
        series_per_namespace: 10,
    };
    let text = scrape(images, caps, Format::Text);
    let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(
        count("pullproof_workload_image_pullable{"),
        10,
        "nine of noisy, one of quiet"
    );
    assert_eq!(count("pullproof_workload_image_failure{"), 1);
    assert!(text.contains("namespace=\"quiet\""));
    assert!(text.contains("pullproof_series_dropped_total 42"));
}

#[test]
fn every_exposed_family_is_in_the_catalogue() {
    let text = scrape(scene(), CAPS, Format::OpenMetrics);
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE pullproof_"))
    {
        let (name, _) = line.split_once(' ').unwrap();
        assert!(
            catalog::ALL.iter().any(|metric| metric.name == name),
            "{name}"
        );
    }
}

#[test]
fn drift_is_told_of_those_who_drift_and_what_a_node_disputes_of_its_workload() {
    let digest = Digest::of(b"old");
    let users = ["web", "db"].map(|name| user("shop", name, Class::Runtime));
    let image = image("r.example/app:v1", pullable(), users.to_vec());
    let Named::Image(written) = image.named else {
        panic!("it has details already");
    };
    let of = |kind: Kind, users: Arc<[Arc<User>]>| Drift {
        kind,
        digest: Some(digest),
        platform: None,
        registry: None,
        users,
    };
    // What runs is known by the ReplicaSet that runs it; it is the same workload's.
    let web = Arc::new(User {
        via: Some("ReplicaSet/web-a".into()),
        ..users[0].clone()
    });
    let image = ImageState {
        named: Named::Detailed(Arc::new(Detailed {
            details: Details {
                drift: vec![
                    of(Kind::TagMoved, [Arc::clone(&web)].into()),
                    of(Kind::TagMoved, [Arc::clone(&web)].into()),
                    of(Kind::PlatformMissing, Arc::clone(&written.users)),
                ],
                disagreements: vec![Disagreement {
                    user: Arc::clone(&written.users[1]),
                    refusal: Refusal {
                        reason: Reason::ErrImagePull,
                        message: "404".into(),
                    },
                }],
                ..Details::default()
            },
            image: written,
        })),
        ..image
    };
    let text = scrape(
        vec![image.clone()],
        Caps {
            series: 100,
            series_per_namespace: 100,
        },
        Format::OpenMetrics,
    );
    let of_metric = |text: &str, name: &str| -> Vec<(bool, String)> {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("pullproof_{name}{{")));
        let told = lines.map(|line| {
            let drift = line
                .split("drift=\"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            (
                line.contains("workload=\"web\""),
                drift.unwrap_or_default().to_owned(),
            )
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    let kinds = |list: &[(bool, &str)]| -> Vec<(bool, String)> {
        list.iter()
            .map(|(is_web, kind)| (*is_web, (*kind).to_owned()))
            .collect()
    };
    assert_eq!(
        of_metric(&text, "workload_image_drift"),
        kinds(&[
            (false, "platform_missing"),
            (true, "platform_missing"),
            (true, "tag_moved")
        ])
    );
    assert_eq!(
        of_metric(&text, "workload_image_kubelet_disagreement"),
        kinds(&[(false, "")])
    );
    assert!(!text.contains(&digest.hex()), "no digest is a label");
    // They count: six series are two rows', and the second row does not fit.
    let text = scrape(
        vec![image],
        Caps {
            series: 5,
            series_per_namespace: 100,
        },
        Format::OpenMetrics,
    );
    let rows = text
        .lines()
        .filter(|line| line.starts_with("pullproof_workload_image_pullable{"));
    assert_eq!(rows.count(), 1, "{text}");
}

#[test]
fn what_people_say_of_alerts_are_labels_of_their_workloads_series_and_of_no_others() {
    let mark = |ignore: Option<&str>, labels: &[(&str, &str)]| {
        let labels = labels.iter();
        Arc::new(Mark {
            ignore: ignore.map(Into::into),
            labels: labels
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
        })
    };
    let owner = |name: &str| Arc::clone(&user("shop", name, Class::Runtime).owner);
    let long = "ü".repeat(300);
    let web = Marked {
        owner: owner("web"),
        mark: mark(Some("free \"text\""), &[("team", &long)]),
    };
    let api = Marked {
        owner: owner("api"),
        mark: mark(Some(""), &[("app_kubernetes_io_part_of", "a \"b\"")]),
    };
    let namespace = MarkedNamespace {
        cluster: None,
        name: "shop".into(),
        mark: mark(None, &[("team", "shop")]),
    };
    let marks = Marks::new(sorted(vec![web, api]).into(), vec![namespace]);
    let marks: AllMarks = [marks].into_iter().collect();
    let text = marked(scene(), marks, CAPS, Format::OpenMetrics);
    let plain = scrape(scene(), CAPS, Format::OpenMetrics);
    let cut = "ü".repeat(128);
    let expected: Vec<String> = plain
        .lines()
        .map(|line| {
            if line.contains("workload=\"web\"") && line.contains("namespace=\"shop\"") {
                let class = "class=\"runtime\"";
                line.replace(class, &format!("{class},ignored=\"true\",team=\"{cut}\""))
            } else if line.contains("workload=\"api\"") {
                let class = "class=\"runtime\"";
                let more = "app_kubernetes_io_part_of=\"a \\\"b\\\"\",team=\"shop\"";
                line.replace(class, &format!("{class},{more}"))
            } else {
                line.to_owned()
            }
        })
        .collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    assert!(!text.contains("free"), "why is no label");
}
