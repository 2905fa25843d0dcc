//! The pages as they come out of the router, for snapshots of every kind.
//!
//! With `PULLPROOF_PAGE_DUMP=DIRECTORY` every page that a test asks for is written there, to be
//! looked at in a browser.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Response, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock as _, SystemClock};
use crate::drift::{Disagreement, Drift, Kind};
use crate::http::asked::Asked;
use crate::http::{Ui, serve, ui_router};
use crate::images::{Image, ImageKey, Lack, Puller, PullerKey};
use crate::inventory::marks::{AllMarks, Mark, Marked, Marks};
use crate::inventory::running::{Reason, Refusal};
use crate::inventory::{Class, TopOwner, User};
use crate::mirrors::Role;
use crate::oci::digest::Digest;
use crate::state::collections::Collections;
use crate::state::retention::Retentions;
use crate::state::storages::Storages;
use crate::state::windows::Windows;
use crate::state::{
    Detailed, Details, Endpoint, ImageState, Malformed, Named, ObjectCounts, RegistryStatus,
    Snapshot, SourceStatus,
};
use crate::verify::finding::{Code, Finding, Findings, PlatformReport, Report, Verdict};
use crate::verify::target::Needs;

mod stands;
mod tree;

const HOSTILE: &str = "\"><script>alert(1)</script>";

fn ago(seconds: i64) -> Timestamp {
    SystemClock.now() - SignedDuration::from_secs(seconds)
}

fn digest(of: &str) -> Digest {
    Digest::of(of.as_bytes())
}

fn user(namespace: &str, kind: &str, name: &str, container: &str, image: &str) -> User {
    User {
        owner: Arc::new(TopOwner {
            cluster: None,
            namespace: namespace.into(),
            kind: kind.into(),
            name: name.into(),
        }),
        container: container.into(),
        image: image.into(),
        class: Class::Runtime,
        via: None,
        since: None,
        idle: None,
    }
}

fn written(reference: &str, users: Arc<[Arc<User>]>) -> Arc<Image> {
    let key = ImageKey {
        reference: reference.parse().unwrap(),
        puller: PullerKey::Own.into(),
    };
    Arc::new(Image {
        name: reference.into(),
        registry: key.reference.host().into(),
        key: Arc::new(key),
        puller: Puller::Own.into(),
        needs: Needs::All,
        users,
        running: None,
    })
}

/// The same image, written otherwise.
fn with_image(image: ImageState, change: impl FnOnce(&mut Image)) -> ImageState {
    let Named::Image(mut changed) = image.named else {
        panic!("{image:?}");
    };
    change(Arc::make_mut(&mut changed));
    ImageState {
        named: Named::Image(changed),
        ..image
    }
}

fn unavailable(secret: &str) -> Arc<Puller> {
    Arc::new(Puller::Unavailable {
        label: secret.into(),
        lack: Lack::Unread("forbidden".into()),
    })
}

/// The one user's workload in `namespace/Kind/name`, its container named as the repository.
fn image(reference: &str, workload: &str, platforms: &[&str]) -> ImageState {
    let [namespace, kind, name] = workload.split('/').collect::<Vec<_>>()[..] else {
        panic!("{workload}");
    };
    let (_, rest) = reference.split_once('/').unwrap_or(("", reference));
    let container = rest.split([':', '@']).next().unwrap_or_default();
    let container = container.rsplit('/').next().unwrap_or_default();
    let platforms = platforms.iter().map(|platform| PlatformReport {
        platform: Some(platform.parse().unwrap()),
        digest: Some(digest(&format!("{reference} {platform}"))),
        verdict: Verdict::Pullable,
        needed: true,
    });
    ImageState {
        named: Named::Image(written(
            reference,
            [user(namespace, kind, name, container, reference).into()].into(),
        )),
        report: Arc::new(Report {
            digest: Some(digest(reference)),
            verdict: Verdict::Pullable,
            platforms: platforms.collect(),
            findings: Findings::default(),
            proven_at: Some(ago(140).into()),
            fresh_until: Some(ago(-1660).into()),
            checked_at: Some(ago(138).into()),
        }),
        proven_at: Some(ago(140).into()),
        since: ago(86_000).into(),
        is_known: false,
    }
}

fn with_report(image: ImageState, change: impl FnOnce(&mut Report)) -> ImageState {
    let mut report = Report::clone(&image.report);
    change(&mut report);
    report.settle();
    ImageState {
        report: Arc::new(report),
        since: ago(960).into(),
        proven_at: Some(ago(1560).into()),
        ..image
    }
}

/// The platform's own manifest is gone.
fn without_child(image: ImageState, index: usize) -> ImageState {
    let root = digest(image.reference());
    with_report(image, |report| {
        let platform = &mut report.platforms[index];
        platform.verdict = Verdict::Broken;
        let subject = platform.digest.unwrap();
        report.findings.push(Finding {
            code: Code::ChildMissing,
            subject: Some(subject),
            platform: platform.platform.clone(),
            needed: platform.needed,
            path: vec![root],
            message: format!(
                "the registry does not have the manifest {subject} that {} names",
                root.short()
            ),
        });
    })
}

/// Layers of one platform are gone.
fn without_layers(image: ImageState, index: usize, layers: usize) -> ImageState {
    let root = digest(image.reference());
    with_report(image, |report| {
        let platform = &mut report.platforms[index];
        platform.verdict = Verdict::Broken;
        let manifest = platform.digest.unwrap();
        for layer in 0..layers {
            let subject = digest(&format!("layer {layer}"));
            report.findings.push(Finding {
                code: Code::LayerMissing,
                subject: Some(subject),
                platform: platform.platform.clone(),
                needed: platform.needed,
                path: vec![root, manifest],
                message: format!(
                    "the registry does not have the blob {subject} that {} names",
                    manifest.short()
                ),
            });
        }
    })
}

fn only(image: ImageState, code: Code, message: &str) -> ImageState {
    ImageState {
        report: Arc::new(Report::only(code, message.to_owned())),
        ..image
    }
}

fn registry(host: &str, is_up: Option<bool>, blobs: u64, bytes: u64) -> RegistryStatus {
    RegistryStatus {
        host: host.into(),
        is_up,
        last_completed_at: is_up.map(|_| ago(135)),
        last_clean_at: Some(ago(1135)),
        last_duration: is_up.map(|_| SignedDuration::from_millis(2140)),
        interval: SignedDuration::from_secs(600),
        objects: [
            ObjectCounts { blobs, bytes },
            ObjectCounts::default(),
            ObjectCounts::default(),
        ],
        rate_limit_remaining: None,
        requests_per_day: 31_680,
    }
}

fn source(name: &str, incomplete: Option<&str>, references: usize) -> SourceStatus {
    SourceStatus {
        name: name.into(),
        incomplete: incomplete.map(ToOwned::to_owned),
        complete_at: Some(ago(if incomplete.is_some() { 780 } else { 4 })),
        references,
        ..SourceStatus::default()
    }
}

fn snapshot(mut images: Vec<ImageState>) -> Snapshot {
    // As a state orders them: what is no reference comes last.
    images.sort_by_key(|image| {
        image
            .image()
            .map_or((true, None), |it| (false, Some(Arc::clone(&it.key))))
    });
    Snapshot {
        endpoints: vec![],
        at: ago(3),
        sequence: 7,
        sources: vec![source("prod", None, images.len())],
        images: images.into_iter().map(Arc::new).collect(),
        registries: vec![registry("registry.example", Some(true), 97, 13_316_812)],
        marks: AllMarks::default(),
        tags: Arc::default(),
        histories: Arc::default(),
        is_ready: true,
        baseline_images: 0,
    }
}

const BOTH: &[&str] = &["linux/amd64", "linux/arm64/v8"];

fn shop() -> Vec<ImageState> {
    let pinned = format!("registry.example/base/nginx-like:1.27@{}", digest("nginx"));
    [
        (
            "registry.example/base/nginx-like:1.28",
            "shop/DaemonSet/edge",
        ),
        (&pinned, "payments/Deployment/checkout"),
        (
            "registry.example/data/ledger-db:17.0",
            "payments/StatefulSet/ledger",
        ),
        (
            "registry.example/team/checkout:latest",
            "payments/Deployment/checkout",
        ),
        (
            "registry.example/team/storefront:v2.3.0",
            "shop/Deployment/storefront-sale",
        ),
        (
            "registry.example/team/storefront:v2.4.0",
            "shop/Deployment/storefront",
        ),
        (
            "registry.example/team/worker:0.15.0",
            "batch/Deployment/worker",
        ),
        (
            "registry.example/tools/migrate:3.1",
            "payments/StatefulSet/ledger",
        ),
        (
            "registry.example/tools/migrate:3.2",
            "shop/Deployment/storefront",
        ),
    ]
    .into_iter()
    .map(|(reference, workload)| image(reference, workload, BOTH))
    .chain([image(
        "registry.example/legacy/report:2019.4",
        "batch/CronJob/yearly-report",
        &["linux/amd64"],
    )])
    .collect()
}

/// One child swept under a live tag, as in the demo.
fn incident() -> Snapshot {
    let mut images = shop();
    images[3] = without_child(images[3].clone(), 1);
    snapshot(images)
}

/// Something of everything that may be wrong.
fn night_images() -> Vec<ImageState> {
    let mut images = shop();
    images[3] = without_child(images[3].clone(), 1);
    let users = [
        user(
            "payments",
            "Deployment",
            "checkout",
            "checkout",
            "registry.example/team/checkout:latest",
        ),
        user(
            "shop",
            "CronJob",
            "abandoned-carts",
            "main",
            "registry.example/team/checkout",
        ),
        User {
            class: Class::Rollback,
            via: Some("ReplicaSet/refunds-5d8f".into()),
            ..user(
                "payments",
                "Deployment",
                "refunds",
                "refunds",
                "registry.example/team/checkout:latest",
            )
        },
    ];
    images[3] = with_image(images[3].clone(), |image| {
        image.users = users.map(Arc::new).into();
    });
    images[6] = without_layers(images[6].clone(), 0, 11);
    images[6] = with_report(images[6].clone(), |report| {
        report.platforms.push(PlatformReport {
            platform: Some("linux/s390x".parse().unwrap()),
            digest: Some(digest("s390x")),
            verdict: Verdict::Broken,
            needed: false,
        });
        report.findings.push(Finding {
            code: Code::ChildMissing,
            subject: Some(digest("s390x")),
            platform: Some("linux/s390x".parse().unwrap()),
            needed: false,
            path: vec![digest("registry.example/team/worker:0.15.0")],
            message: format!(
                "the registry does not have the manifest {}",
                digest("s390x")
            ),
        });
    });
    images[9] = ImageState {
        is_known: true,
        proven_at: None,
        ..only(
            images[9].clone(),
            Code::TagMissing,
            "the registry does not have the tag `2019.4` in registry.example/legacy/report",
        )
    };
    let mut hostile = image("x/y", "shop/Deployment/promo", &[]);
    hostile.named = Named::Malformed(Arc::new(Malformed {
        reference: HOSTILE.into(),
        users: [user("shop", "Deployment", HOSTILE, HOSTILE, HOSTILE).into()].into(),
    }));
    hostile.proven_at = None;
    let message = format!(
        "`{HOSTILE}` is not an image reference: upper case or a sign that has no place there"
    );
    images.push(only(hostile, Code::ReferenceInvalid, &message));
    let private = image("ghcr.io/acme/agent:2", "ops/DaemonSet/agent", &[]);
    let private = with_image(private, |image| image.puller = unavailable("ops/ghcr"));
    images.push(only(private, Code::CredentialUnavailable, "the pull secret ops/ghcr: secrets \"ghcr\" is forbidden: cannot get resource \"secrets\" in the namespace \"ops\" (without it: HEAD answered 401)"));
    let public = image("docker.io/library/redis:7", "shop/StatefulSet/cache", &[]);
    images.push(only(
        public,
        Code::Unreachable,
        "tag `7`: connecting to registry-1.docker.io: connection refused",
    ));
    let mut sparse = image(
        "registry.example/base/busybox:1.36",
        "shop/Job/seed",
        &[
            "linux/amd64",
            "linux/arm64/v8",
            "linux/arm/v7",
            "linux/ppc64le",
        ],
    );
    sparse = with_report(sparse, |report| {
        for platform in &mut report.platforms[2..] {
            platform.needed = false;
            platform.verdict = Verdict::Broken;
        }
    });
    images.push(sparse);
    images
}

fn night() -> Snapshot {
    Snapshot {
        sources: vec![
            source(
                "prod",
                Some(
                    "cronjobs.batch is forbidden: User \"system:serviceaccount:pullproof:pullproof\" cannot list resource \"cronjobs\" in API group \"batch\"",
                ),
                41,
            ),
            source("keep-list", None, 12),
        ],
        registries: vec![
            RegistryStatus {
                rate_limit_remaining: Some(12),
                ..registry("docker.io", Some(false), 0, 0)
            },
            registry("ghcr.io", None, 0, 0),
            registry("registry.example", Some(true), 12_097, 48_318_382_080),
        ],
        baseline_images: 2,
        ..snapshot(night_images())
    }
}

fn many(count: usize) -> Snapshot {
    let images = (0..count).map(|number| {
        let reference = format!("registry.example/team/app-{number:03}:v1");
        image(
            &reference,
            &format!("team-{}/Deployment/app-{number:03}", number % 7),
            BOTH,
        )
    });
    snapshot(images.collect())
}

/// What is told beside the snapshot.
struct Beside {
    windows: Windows,
    storages: Storages,
    collections: Collections,
    retentions: Retentions,
    asked: Asked,
}

impl Default for Beside {
    fn default() -> Self {
        Self {
            windows: Windows::default(),
            storages: Storages::default(),
            collections: Collections::default(),
            retentions: Retentions::default(),
            asked: Asked::nothing(ago(3600)),
        }
    }
}

struct Site {
    address: String,
    client: reqwest::Client,
    _publish: watch::Sender<Arc<Snapshot>>,
}

impl Site {
    async fn of(snapshot: Snapshot) -> Self {
        Self::with(snapshot, Beside::default()).await
    }

    async fn with(snapshot: Snapshot, told: Beside) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (publish, snapshots) = watch::channel(Arc::new(snapshot));
        #[expect(clippy::disallowed_methods, reason = "the test's own server")]
        tokio::spawn(serve(
            listener,
            ui_router(Ui {
                snapshots,
                keepset: None,
                windows: watch::channel(Arc::new(told.windows)).1,
                storages: watch::channel(Arc::new(told.storages)).1,
                collections: watch::channel(Arc::new(told.collections)).1,
                retentions: watch::channel(Arc::new(told.retentions)).1,
                asked: told.asked,
            }),
            CancellationToken::new(),
        ));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            address,
            client,
            _publish: publish,
        }
    }

    async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.address);
        self.client.get(url).send().await.unwrap()
    }

    /// A page, under a name by which it is dumped.
    async fn page(&self, name: &str, path: &str) -> String {
        let response = self.get(path).await;
        let text = response.text().await.unwrap();
        dump(name, &text);
        text
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "for looking at it: nothing else is read from there"
)]
fn dump(name: &str, html: &str) {
    let Ok(directory) = std::env::var("PULLPROOF_PAGE_DUMP") else {
        return;
    };
    let directory = std::path::Path::new(&directory);
    let html = html.replace("href=\"/style.css\"", "href=\"style.css\"");
    std::fs::write(directory.join(format!("{name}.html")), html).unwrap();
    let style = include_str!("../../../templates/style.css");
    std::fs::write(directory.join("style.css"), style).unwrap();
}

/// What the tags of a page do wrong: one that is never closed, or closed where it is not open.
fn unbalanced(html: &str) -> Vec<String> {
    const VOID: [&str; 8] = [
        "meta", "link", "input", "br", "path", "rect", "wbr", "!doctype",
    ];
    let mut open: Vec<&str> = Vec::new();
    let mut problems = Vec::new();
    for part in html.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap();
        let name = tag.split([' ', '/']).next().unwrap_or_default();
        match tag.strip_prefix('/') {
            Some(closed) if open.last() == Some(&closed) => drop(open.pop()),
            Some(closed) => problems.push(format!("</{closed}> within {open:?}")),
            None if VOID.contains(&name) => {}
            None => open.push(name),
        }
    }
    problems.extend(open.iter().map(|name| format!("<{name}> is never closed")));
    problems
}

/// Each somewhere after the one before.
fn follow(html: &str, texts: &[&str]) {
    let mut rest = html;
    for text in texts {
        let (_, after) = rest
            .split_once(text)
            .unwrap_or_else(|| panic!("`{text}` does not follow in:\n{html}"));
        rest = after;
    }
}

/// What holds of every page.
fn check(html: &str) {
    assert_eq!(unbalanced(html), Vec::<String>::new());
    for forbidden in ["<script", " style=", "<style", " onclick", "src="] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    for landmark in [
        "<html lang=\"en\">",
        "<header",
        "<main id=\"main\">",
        "<footer",
        "<h1",
    ] {
        assert_eq!(html.matches(landmark).count(), 1, "{landmark}");
    }
}

fn position(html: &str, text: &str) -> usize {
    html.find(text)
        .unwrap_or_else(|| panic!("`{text}` is not in:\n{html}"))
}

fn in_order(html: &str, texts: &[&str]) {
    let positions: Vec<usize> = texts.iter().map(|text| position(html, text)).collect();
    assert!(positions.is_sorted(), "{texts:?} at {positions:?}");
}

const CHECKOUT: &str = "/image?reference=registry.example%2Fteam%2Fcheckout%3Alatest";

#[tokio::test]
async fn one_broken_child_is_told_in_words_with_who_uses_it() {
    let site = Site::of(incident()).await;
    let html = site.page("incident", "/").await;
    check(&html);
    in_order(
        &html,
        &[
            "<title>1 broken",
            "1 of 10 images is broken",
            "<h2 id=\"g-broken\">",
            CHECKOUT,
            "The image is gone",
            "linux/arm64/v8",
            "payments/Deployment/checkout",
            "Do first",
            "Push the whole multi-platform image again",
            "<h2 id=\"g-pullable\">",
            "batch/CronJob/yearly-report",
        ],
    );
    assert!(html.contains("http-equiv=\"refresh\""));
    assert!(!html.contains("class=\"state pullable\""));
}

#[tokio::test]
async fn the_image_page_draws_the_way_from_the_tag_to_what_is_missing() {
    let site = Site::of(incident()).await;
    let html = site.page("incident-image", CHECKOUT).await;
    check(&html);
    let reference = "registry.example/team/checkout:latest";
    let child = digest(&format!("{reference} linux/arm64/v8")).to_string();
    let way = &html[position(&html, "<ol class=\"way\"")..];
    in_order(
        way,
        &[
            "class=\"d0\"",
            "team/checkout:latest",
            "class=\"d1\"",
            &digest(reference).to_string(),
            "class=\"d2 subject broken\"",
            &child,
            "child_missing",
            "It means",
            "Do first",
            "payments",
        ],
    );
    assert!(html.contains("linux/arm64/v8 nodes that do not have it cached cannot pull it."));
    assert!(!html.contains("http-equiv=\"refresh\""));
}

#[tokio::test]
async fn a_bad_night_is_listed_broken_first_then_unknown_then_the_rest() {
    let site = Site::of(night()).await;
    let html = site.page("night", "/").await;
    check(&html);
    in_order(
        &html,
        &[
            "4 of 14 images are broken, 2 are unknown",
            "The registry docker.io does not answer",
            "The source prod is incomplete",
            "cronjobs.batch is forbidden",
            "Baseline: 2 images were broken before pullproof came",
            "A layer is gone",
            "(11 objects)",
            "This is not an image reference",
            // What was known before comes after what is new.
            "The tag is gone",
            "The registry cannot be reached",
            "The pull secret cannot be read",
            "<table class=\"list\"",
            "<h2 id=\"registries\">",
            "✗ down",
            "45.0 GiB",
            "<h2 id=\"sources\">",
            "? incomplete",
        ],
    );
    // Platforms that nobody needs are marked, and make no row of findings.
    assert!(html.contains("mark broken aside"));
    assert!(html.contains("and 1 more</a>"));
    let html = site.page("night-checkout", CHECKOUT).await;
    check(&html);
    in_order(
        &html,
        &[
            "CronJob/abandoned-carts",
            "writes",
            "ReplicaSet/refunds-5d8f",
        ],
    );
    let html = site
        .page(
            "night-worker",
            "/image?reference=registry.example/team/worker:0.15.0",
        )
        .await;
    check(&html);
    in_order(&html, &["and 3 more of them", "no node needs it"]);
}

#[tokio::test]
async fn what_tenants_write_is_text_everywhere() {
    let site = Site::of(night()).await;
    let escaped = "&#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;";
    let own = "/image?reference=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E";
    for (name, path) in [
        ("night", "/"),
        ("night-hostile", own),
        (
            "night-searched",
            "/?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&class=%22%3E%3Cscript%3E",
        ),
        (
            "night-gone",
            "/image?reference=gone%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        ),
    ] {
        let html = site.page(name, path).await;
        check(&html);
        assert!(html.contains(escaped), "{path}");
    }
    let html = site.page("night", "/").await;
    assert!(html.contains(&format!("href=\"{own}\"")));
}

#[tokio::test]
async fn whose_alerts_are_silenced_stands_with_the_reason_as_text() {
    let marked = Marked {
        owner: Arc::new(TopOwner {
            cluster: None,
            namespace: "payments".into(),
            kind: "Deployment".into(),
            name: "checkout".into(),
        }),
        mark: Arc::new(Mark {
            ignore: Some(HOSTILE.into()),
            labels: Box::default(),
        }),
    };
    let marks = Marks::new([marked].into(), Vec::new());
    let site = Site::of(Snapshot {
        marks: [marks].into_iter().collect(),
        ..incident()
    })
    .await;
    let told = "silenced: &#34;&#62;&#60;script&#62;alert(1)&#60;/script&#62;";
    for (name, path) in [("silenced", "/"), ("silenced-image", CHECKOUT)] {
        let html = site.page(name, path).await;
        check(&html);
        in_order(&html, &["Deployment/checkout", told]);
    }
    // Broken as before, and nobody else is silenced.
    let html = site.page("silenced", "/").await;
    in_order(&html, &["1 of 10 images is broken", "<h2 id=\"g-broken\">"]);
    assert_eq!(html.matches("silenced: ").count(), 2);
}

#[tokio::test]
async fn nothing_is_green_before_it_was_checked() {
    let unchecked = |image: ImageState| ImageState {
        report: Arc::new(Report::never_checked()),
        proven_at: None,
        ..image
    };
    let is_green = |html: &str| html.contains("✓") || html.contains("class=\"state pullable\"");
    let fresh = || Snapshot {
        is_ready: false,
        registries: vec![registry("registry.example", None, 0, 0)],
        sources: vec![SourceStatus {
            complete_at: None,
            ..source("prod", Some("it was not read yet"), 0)
        }],
        ..snapshot(vec![])
    };
    let html = Site::of(fresh()).await.page("empty", "/").await;
    check(&html);
    assert!(!is_green(&html));
    in_order(
        &html,
        &["No images yet", "The source prod: it was not read yet."],
    );
    let nothing = Snapshot {
        sources: vec![],
        ..fresh()
    };
    let html = Site::of(nothing).await.page("first", "/").await;
    assert!(html.contains("reading its sources for the first time"));

    let images = shop().into_iter().map(unchecked).map(Arc::new).collect();
    let html = Site::of(Snapshot { images, ..fresh() })
        .await
        .page("checking", "/")
        .await;
    check(&html);
    assert!(!is_green(&html));
    assert!(html.contains("Checking 10 images for the first time"));

    let images = shop().into_iter().map(Arc::new).collect();
    let html = Site::of(Snapshot { images, ..fresh() })
        .await
        .page("incomplete", "/")
        .await;
    assert!(html.contains("class=\"state unknown\""));
    assert!(html.contains("10 known images can be pulled, but the inventory is incomplete"));
}

#[tokio::test]
async fn a_whole_world_says_so() {
    let html = Site::of(snapshot(shop())).await.page("whole", "/").await;
    check(&html);
    in_order(
        &html,
        &["class=\"state pullable\"", "All 10 images can be pulled"],
    );
    assert!(!html.contains("banner"));
}

#[tokio::test]
async fn a_daemon_that_fell_silent_is_said_to_be() {
    let at = ago(3600);
    let html = Site::of(Snapshot {
        at,
        ..snapshot(shop())
    })
    .await
    .page("silent", "/")
    .await;
    assert!(html.contains("Nothing new for 60 min"));
}

#[tokio::test]
async fn what_broke_stays_broken_with_the_doubt_beside_it() {
    let mut images = shop();
    images[3] = with_report(without_child(images[3].clone(), 1), |report| {
        report.findings.push(Finding {
            code: Code::Unreachable,
            platform: None,
            path: vec![],
            message: "connection refused".to_owned(),
            ..report.findings[0].clone()
        });
    });
    let html = Site::of(snapshot(images)).await.page("doubt", "/").await;
    in_order(
        &html,
        &[
            "The image is gone",
            "The registry cannot be reached",
            "Do first",
            "Push the whole",
        ],
    );
}

#[tokio::test]
async fn one_page_of_many_is_shown_and_the_others_are_linked() {
    let site = Site::of(many(250)).await;
    let html = site.page("many", "/").await;
    check(&html);
    in_order(
        &html,
        &[
            "team/app-000",
            "team/app-099",
            "1–100 of 250",
            "rel=\"next\" href=\"/?offset=100\"",
        ],
    );
    assert!(!html.contains("app-100") && !html.contains("rel=\"prev\""));

    let html = site
        .page("many-2", "/?registry=registry.example&offset=200&limit=100")
        .await;
    in_order(
        &html,
        &[
            "team/app-200",
            "team/app-249",
            "201–250 of 250",
            "that fit the filter",
            "rel=\"prev\"",
        ],
    );
    assert!(html.contains("/?registry=registry.example&#38;offset=100&#38;limit=100"));
    assert!(!html.contains("rel=\"next\"") && !html.contains("team/app-199"));

    let html = site.page("many-none", "/?offset=1000").await;
    check(&html);
    assert!(html.contains("beyond the last image"));
    assert!(html.contains("rel=\"prev\" href=\"/?offset=150\""));
}

#[tokio::test]
async fn a_filter_shows_what_fits_and_stays_in_the_form() {
    let site = Site::of(night()).await;
    let check_filter = async |path: &str, present: &[&str], absent: &[&str]| {
        let html = site.page("filtered", path).await;
        check(&html);
        let list = &html[position(&html, "</form>")..position(&html, "class=\"paging\"")];
        for text in present {
            assert!(list.contains(text), "{path}: {text}");
        }
        for text in absent {
            assert!(!list.contains(text), "{path}: {text}");
        }
        html
    };
    let html = check_filter("/?verdict=unknown", &["redis", "acme/"], &["checkout"]).await;
    assert!(html.contains("aria-current=\"true\""));
    let html = check_filter(
        "/?q=checkout&namespace=payments",
        &["team/checkout"],
        &["worker"],
    )
    .await;
    assert!(html.contains("value=\"checkout\""));
    assert!(html.contains("<option selected>payments</option>"));
    check_filter("/?class=rollback", &["team/checkout"], &["worker"]).await;
    check_filter("/?q=&verdict=&registry=ghcr.io", &["acme/"], &["checkout"]).await;
    check_filter("/?q=nowhere", &["No image fits this filter"], &["checkout"]).await;
    check_filter("/?cluster=gone", &["No image fits this filter"], &[]).await;
}

#[tokio::test]
async fn too_many_values_are_typed_and_not_chosen() {
    let mut snapshot = many(600);
    for (number, image) in snapshot.images.iter_mut().enumerate() {
        let namespace = format!("team-{number}");
        let users = [user(
            &namespace,
            "Deployment",
            "app",
            "app",
            image.reference(),
        )];
        let typed = with_image(ImageState::clone(image), |image| {
            image.users = users.map(Arc::new).into();
        });
        *image = Arc::new(typed);
    }
    let html = Site::of(snapshot).await.page("typed", "/").await;
    assert!(html.contains("<input id=\"namespace\""));
    assert!(html.contains("<select id=\"registry\""));
}

#[tokio::test]
async fn pages_come_with_their_headers_and_their_codes() {
    let site = Site::of(night()).await;
    for (path, status) in [
        ("/", StatusCode::OK),
        (CHECKOUT, StatusCode::OK),
        ("/style.css", StatusCode::OK),
        (
            "/image?reference=registry.example/team/gone:1",
            StatusCode::NOT_FOUND,
        ),
        ("/image", StatusCode::BAD_REQUEST),
        ("/?offset=many", StatusCode::BAD_REQUEST),
        ("/?colour=red", StatusCode::BAD_REQUEST),
        ("/nowhere", StatusCode::NOT_FOUND),
    ] {
        let response = site.get(path).await;
        assert_eq!(response.status(), status, "{path}");
        let policy = &response.headers()["content-security-policy"];
        assert!(
            policy
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'; style-src 'self';")
        );
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    }
    let style = site.get("/style.css").await;
    assert_eq!(style.headers()["content-type"], "text/css; charset=utf-8");
    let html = site
        .page(
            "night-missing",
            "/image?reference=registry.example/team/gone:1",
        )
        .await;
    check(&html);
    in_order(
        &html,
        &[
            "No workload names this image now",
            "/?q=team%2Fgone",
            "pullproof verify",
        ],
    );
}

#[test]
fn every_class_in_the_templates_that_colours_has_a_rule() {
    let style = include_str!("../../../templates/style.css");
    for class in [
        "broken", "unknown", "pullable", "known", "aside", "faint", "sr", "d6",
    ] {
        assert!(style.contains(&format!(".{class}")), "{class}");
    }
    for verdict in Verdict::ALL {
        assert!(style.contains(&format!(".mark.{verdict}")), "{verdict}");
    }
    assert!(!style.contains("url(") && !style.contains("@import"));
}

#[tokio::test]
async fn an_image_with_mirrors_shows_each_endpoint_as_what_it_is() {
    let image = image("docker.io/library/nginx:1", "shop/Deployment/web", BOTH);
    let limited = Report::only(Code::RateLimited, "later".to_owned());
    let endpoint = |role: Role, reference: &str, report: Report| Endpoint {
        role,
        image: written(reference, [].into()),
        report: Arc::new(report),
    };
    let whole = Report::clone(&image.report);
    let image = ImageState {
        named: Named::Detailed(Arc::new(Detailed {
            image: written("docker.io/library/nginx:1", image.users().into()),
            details: Details {
                endpoints: vec![
                    endpoint(Role::Origin, "docker.io/library/nginx:1", limited),
                    endpoint(Role::Mirror, "harbor.example/hub/library/nginx:1", whole),
                ],
                ..Details::default()
            },
        })),
        ..image
    };
    let site = Site::of(snapshot(vec![image])).await;
    let page = site
        .page("mirrored", "/image?reference=docker.io/library/nginx:1")
        .await;
    for text in [
        "<dt>Endpoints</dt>",
        "origin",
        "unknown, rate_limited",
        "mirror",
        "harbor.example/hub/library/nginx:1",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn what_drifts_and_what_nodes_say_stands_on_the_images_page() {
    let plain = image("r.example/app:1", "shop/Deployment/web", BOTH);
    let of = |kind: Kind| Drift {
        kind,
        digest: Some(digest("running")),
        platform: Some("linux/s390x".parse().unwrap()),
        registry: Some("mirror.example".into()),
        users: plain.users().into(),
    };
    let drifting = ImageState {
        named: Named::Detailed(Arc::new(Detailed {
            image: written("r.example/app:1", plain.users().into()),
            details: Details {
                drift: Kind::ALL.iter().map(|kind| of(*kind)).collect(),
                disagreements: vec![Disagreement {
                    user: Arc::clone(&plain.users()[0]),
                    refusal: Refusal {
                        reason: Reason::ErrImagePull,
                        message: "<b>404</b>".into(),
                    },
                }],
                ..Details::default()
            },
        })),
        ..plain.clone()
    };
    let site = Site::of(snapshot(vec![drifting])).await;
    let page = site.page("drift", "/image?reference=r.example/app:1").await;
    let runs = format!("Deployment/web app in shop runs {}", digest("running"));
    for text in [
        "<dt>Drift</dt>",
        &format!("the tag has moved: {runs}"),
        &format!("{runs}, which could not be pulled again"),
        "there is no image for linux/s390x any more",
        &format!("mirror.example serves {}", digest("running")),
        "<dt>Kubelet</dt>",
        "ErrImagePull: &#60;b&#62;404",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let site = Site::of(snapshot(vec![plain])).await;
    let page = site.page("calm", "/image?reference=r.example/app:1").await;
    assert!(!page.contains("<dt>Drift</dt>") && !page.contains("<dt>Kubelet</dt>"));
}
