//! Mirrors and pull-through caches: each endpoint has its own verdict, and a workload can pull what one of
//! those has that its node would try.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use serde_json::Value;

use crate::cli::run::{Ended, lose_blob, pullproof_in};
use crate::daemon::shop::{of_list, value};
use crate::support::clients::Clients;
use crate::support::daemon::Daemon;
use crate::support::images::push_image;
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};
use tempfile::TempDir;

struct Pair {
    origin: Registry,
    mirror: Registry,
    clients: Clients,
    _roots: [TempDir; 2],
}

/// Two registries with the same image.
async fn pair() -> Pair {
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let origin = Registry::start(Options::new(Version::V3, roots[0].path())).await;
    let mirror = Registry::start(Options::new(Version::V2, roots[1].path())).await;
    let mut clients = Clients::of(&origin).await;
    clients.reach_plainly(&mirror.host()).await;
    for host in [origin.host(), format!("{}/hub", mirror.host())] {
        push_image(&clients, &format!("{host}/team/app:1"), "the same").await;
    }
    Pair {
        origin,
        mirror,
        clients,
        _roots: roots,
    }
}

impl Pair {
    fn entries(&self) -> Vec<String> {
        let (origin, mirror) = (self.origin.host(), self.mirror.host());
        vec![
            format!(
                "  - {{host: \"{origin}\", plainHttp: true, mirrors: [{{host: \"{mirror}/hub\"}}], verify: {{interval: 1s, blobInterval: 1s}}}}\n"
            ),
            format!(
                "  - {{host: \"{mirror}\", plainHttp: true, verify: {{interval: 1s, blobInterval: 1s}}}}\n"
            ),
        ]
    }

    async fn verify(&self, reference: &str) -> Ended {
        let home = tempfile::tempdir().unwrap();
        let text = format!("registries:\n{}", self.entries().concat());
        std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
        pullproof_in(home.path(), &["verify", "-o", "json", reference]).await
    }
}

/// The verdict of the one image, and each endpoint's role and verdict.
fn told(ended: &Ended) -> (String, Vec<(String, String)>) {
    let view = ended.json();
    let image = &view["images"][0];
    assert_eq!(
        view["summary"]["images"], 1,
        "an endpoint is no image: {view:#}"
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let endpoints = image["endpoints"].as_array().unwrap().iter();
    let endpoints = endpoints.map(|one| (text(&one["role"]), text(&one["verdict"])));
    (text(&image["verdict"]), endpoints.collect())
}

fn both(origin: &str, mirror: &str) -> Vec<(String, String)> {
    vec![
        ("origin".to_owned(), origin.to_owned()),
        ("mirror".to_owned(), mirror.to_owned()),
    ]
}

#[tokio::test]
async fn a_workload_can_pull_what_one_of_its_endpoints_has() {
    require!("registry-3.1", "docker-registry", "crane", "regctl");
    let mut pair = pair().await;
    let reference = format!("{}/team/app:1", pair.origin.host());
    let layer = crate::cli::first_layer(&pair.clients, &reference).await;

    let ended = pair.verify(&reference).await;
    assert_eq!(
        told(&ended),
        ("pullable".to_owned(), both("pullable", "pullable"))
    );
    // Written at the mirror, the node would ask nobody else; what it mirrors is told beside it.
    let at_mirror = format!("{}/hub/team/app:1", pair.mirror.host());
    let (verdict, endpoints) = told(&pair.verify(&at_mirror).await);
    assert_eq!(verdict, "pullable");
    assert_eq!(endpoints[1], ("upstream".to_owned(), "pullable".to_owned()));

    lose_blob(&pair.origin, &layer);
    let ended = pair.verify(&reference).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        told(&ended),
        ("pullable".to_owned(), both("broken", "pullable"))
    );

    pair.mirror.stop();
    let ended = pair.verify(&reference).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert_eq!(
        told(&ended),
        ("unknown".to_owned(), both("broken", "unknown"))
    );
    assert_eq!(ended.codes("/team/app:1"), ["layer_missing", "unreachable"]);

    pair.mirror.start_again().await;
    lose_blob(&pair.mirror, &layer);
    let ended = pair.verify(&reference).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(
        told(&ended),
        ("broken".to_owned(), both("broken", "broken"))
    );
    let (verdict, _) = told(&pair.verify(&at_mirror).await);
    assert_eq!(verdict, "broken");
}

#[tokio::test]
async fn the_daemon_has_series_for_each_endpoint_and_pages_for_none_that_is_mirrored() {
    require!("registry-3.1", "docker-registry", "crane", "regctl");
    let pair = pair().await;
    let reference = format!("{}/team/app:1", pair.origin.host());
    let layer = crate::cli::first_layer(&pair.clients, &reference).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("keep.txt");
    std::fs::write(&file, &reference).unwrap();
    let daemon = Daemon::start(&of_list(&file, &pair.entries()));
    let mirror = pair.mirror.host();
    daemon
        .wait_for_series(
            "image_last_proof_timestamp_seconds",
            &[&mirror, "hub/team/app:1"],
        )
        .await;
    lose_blob(&pair.origin, &layer);
    let origin = format!("registry=\"{}\"", pair.origin.host());
    daemon
        .wait_for_series("image_platforms", &[&origin, "verdict=\"broken\"", " 1"])
        .await;
    let pullable = daemon
        .wait_for_series("workload_image_pullable", &["team/app:1"])
        .await;
    assert!(value(&pullable) > 0.0, "{pullable}");
    assert!(
        daemon
            .series("workload_image_failure", &[])
            .await
            .is_empty()
    );
    lose_blob(&pair.mirror, &layer);
    daemon
        .wait_for_series("workload_image_failure", &["team/app:1", "layer_missing"])
        .await;
}

/// A pull-through cache serves what it has while what it mirrors is away; that is its own proof, and none
/// of the other.
#[tokio::test]
async fn a_pull_through_cache_vouches_for_itself_alone() {
    require!("registry-3.1", "crane", "regctl");
    let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut origin = Registry::start(Options::new(Version::V3, roots[0].path())).await;
    let clients = Clients::of(&origin).await;
    let reference = format!("{}/team/app:1", origin.host());
    push_image(&clients, &reference, "cached").await;
    let cache = Options::new(Version::V3, roots[1].path()).mirroring(&origin.url());
    let cache = Registry::start(cache).await;
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "registries:\n  - {{host: \"{0}\", plainHttp: true, mirrors: [{{host: \"{1}\"}}]}}\n  - {{host: \"{1}\", plainHttp: true}}\n",
        origin.host(),
        cache.host()
    );
    std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
    let verify = async |depth: &str| {
        let arguments = ["verify", "--depth", depth, "-o", "json", reference.as_str()];
        pullproof_in(home.path(), &arguments).await
    };
    // All of it goes through the cache once, and stays there.
    let ended = verify("content").await;
    assert_eq!(
        told(&ended),
        ("pullable".to_owned(), both("pullable", "pullable"))
    );
    origin.stop();
    let ended = verify("head").await;
    let (verdict, endpoints) = told(&ended);
    assert_eq!(endpoints[0].1, "unknown", "{ended:?}");
    assert_eq!(
        (verdict.as_str(), endpoints[1].1.as_str()),
        ("pullable", "pullable")
    );
}
