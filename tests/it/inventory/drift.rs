//! What runs against what its name leads to: each kind of drift appears, and goes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use serde_json::Value;
use tempfile::TempDir;

use super::pods::{pod, runs};
use crate::cli::run::{lose_blob, pullproof_in};
use crate::daemon::shop::{
    OFTEN, Stock, all_series, entry, namespace, of_list, of_namespace, require_shop, value,
};
use crate::support::clients::Clients;
use crate::support::daemon::Daemon;
use crate::support::images::{Format, push_image, push_index, push_index_again};
use crate::support::parts::require;
use crate::support::registry::{Options, Registry, Version};

const DRIFT: &str = "workload_image_drift";

/// Waits until two rounds over everything have ended that began from now on.
async fn wait_for_rounds(daemon: &Daemon) {
    let completed = "verification_last_completed_timestamp_seconds";
    let before = value(&daemon.wait_for_series(completed, &[]).await);
    daemon
        .wait_until("more rounds over everything", async || {
            let series = daemon.series(completed, &[]).await;
            (value(series.first()?) > before + 6.0).then_some(())
        })
        .await;
}

/// What the API says of an image's drift.
async fn told(daemon: &Daemon, image: &str) -> Vec<Value> {
    let images = daemon.api(&format!("images?q={image}")).await;
    images["images"][0]["drift"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_tag_moves_under_what_runs_and_what_runs_is_lost_and_found() {
    require_shop!();
    let stock = Stock::new().await;
    let host = stock.host();
    let image = format!("{host}/app:1");
    let old = push_image(&stock.clients, &image, "old").await;
    let (cluster, namespace) = namespace().await;
    cluster.apply_yaml(&pod(&namespace, "web", &image)).await;
    runs(cluster, &namespace, "web", &format!("{host}/app@{old}")).await;
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    ));
    daemon.wait_until_ready().await;
    assert_eq!(all_series(&daemon, DRIFT).await, Vec::<String>::new());

    let new = push_image(&stock.clients, &image, "new").await;
    assert_ne!(old, new);
    let moved = daemon.wait_for_series(DRIFT, &["tag_moved"]).await;
    for label in ["workload=\"web\"", "container=\"app\"", "class=\"runtime\""] {
        assert!(moved.contains(label), "{moved}");
    }
    let drift = told(&daemon, "app:1").await;
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert_eq!(drift[0]["drift"], "tag_moved");
    assert_eq!(drift[0]["digest"], old.as_str());
    assert_eq!(drift[0]["used_by"][0]["name"], "web");
    let page = daemon.page(&format!("/image?reference={image}")).await;
    assert!(page.contains(&format!("runs {old}")), "{page}");

    // What runs is proven too, although no name leads to it: so it is noticed when it goes.
    let by_digest = format!("image=\"{host}/app@{old}\"");
    let proof = "image_last_proof_timestamp_seconds";
    daemon.wait_for_series(proof, &[&by_digest]).await;
    lose_blob(&stock.registry, &old);
    daemon
        .wait_for_series(DRIFT, &["running_digest_missing"])
        .await;
    // It pages nobody: the next start pulls what the tag names.
    assert!(
        all_series(&daemon, "workload_image_failure")
            .await
            .is_empty()
    );
    push_image(&stock.clients, &format!("{host}/app:again"), "old").await;
    daemon
        .wait_for_no_series(DRIFT, &["running_digest_missing"])
        .await;
    assert_eq!(
        all_series(&daemon, DRIFT).await.len(),
        1,
        "it is there, elsewhere"
    );

    runs(cluster, &namespace, "web", &format!("{host}/app@{new}")).await;
    daemon.wait_for_no_series(DRIFT, &["tag_moved"]).await;
    daemon.wait_for_no_series(proof, &[&by_digest]).await;
    assert!(told(&daemon, "app:1").await.is_empty());
}

#[tokio::test]
async fn a_command_that_runs_once_tells_the_same() {
    require_shop!();
    let stock = Stock::new().await;
    let host = stock.host();
    let image = format!("{host}/app:1");
    let [kept, lost] = [
        push_image(&stock.clients, &image, "kept").await,
        push_image(&stock.clients, &image, "lost").await,
    ];
    stock.push("app:1").await;
    let (cluster, namespace) = namespace().await;
    for (name, digest) in [("first", &kept), ("second", &lost)] {
        cluster.apply_yaml(&pod(&namespace, name, &image)).await;
        runs(cluster, &namespace, name, &format!("{host}/app@{digest}")).await;
    }
    lose_blob(&stock.registry, &lost);
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.admin().kubeconfig;
    let text = of_namespace(&kubeconfig, &namespace, &[stock.entry(OFTEN)]);
    std::fs::write(home.path().join("pullproof.yaml"), text).unwrap();
    let ended = pullproof_in(home.path(), &["verify", "-o", "json"]).await;
    let view = ended.json();
    assert_eq!(
        view["summary"],
        serde_json::json!({"images": 1, "pullable": 1, "broken": 0, "unknown": 0})
    );
    let drift = view["images"][0]["drift"].as_array().unwrap().iter();
    let drift = drift.map(|one| {
        let digest = one["digest"].as_str().unwrap();
        let who = one["used_by"][0]["name"].as_str().unwrap();
        (one["drift"].as_str().unwrap(), digest, who)
    });
    let mut drift: Vec<_> = drift.collect();
    drift.sort_unstable();
    let mut expected = [
        ("running_digest_missing", &*lost, "second"),
        ("tag_moved", &*kept, "first"),
        ("tag_moved", &*lost, "second"),
    ];
    expected.sort_unstable();
    assert_eq!(drift, expected);

    // Whatever runs is kept, as far as the inventory goes: it asks no registry.
    let ended = pullproof_in(home.path(), &["inventory", "-o", "json"]).await;
    let mut running = [kept, lost];
    running.sort_unstable();
    assert_eq!(
        ended.json()["images"][0]["running"],
        serde_json::json!(running)
    );
}

#[tokio::test]
async fn what_any_runtime_writes_of_an_image_is_no_drift() {
    require_shop!();
    require!("buildah");
    let stock = Stock::new().await;
    let host = stock.host();
    let image = format!("{host}/app:1");
    let index = push_index(&stock.clients, &image, "app", Format::Oci).await;
    let manifest = |text: String| -> Value { serde_json::from_str(&text).unwrap() };
    let read = manifest(stock.clients.crane(&["manifest", &image]).await);
    let child = read["manifests"][1]["digest"].as_str().unwrap().to_owned();
    let by_digest = format!("{host}/app@{child}");
    let read = manifest(stock.clients.crane(&["manifest", &by_digest]).await);
    let config = read["config"]["digest"].as_str().unwrap().to_owned();
    let hex = config.strip_prefix("sha256:").unwrap().to_owned();

    let (cluster, namespace) = namespace().await;
    let forms = [
        format!("{host}/app@{index}"),
        format!("docker-pullable://{host}/app@{index}"),
        by_digest,
        format!("docker.io/library/other@{child}"),
        format!("docker://{config}"),
        config,
        hex,
        String::new(),
        // A node made this name for what it was given as a file.
        format!(
            "docker.io/library/import-2026-08-01@sha256:{}",
            "a".repeat(64)
        ),
    ];
    let name = |number: usize| format!("pod-{number}");
    let yaml: Vec<String> = (0..=forms.len())
        .map(|number| pod(&namespace, &name(number), &image))
        .collect();
    cluster.apply_yaml(&yaml.concat()).await;
    for (number, form) in forms.iter().enumerate() {
        runs(cluster, &namespace, &name(number), form).await;
    }
    let daemon = Daemon::start(&of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    ));
    daemon.wait_until_ready().await;
    wait_for_rounds(&daemon).await;
    assert_eq!(all_series(&daemon, DRIFT).await, Vec::<String>::new());
    // The same eyes see one that is none of these.
    let last = name(forms.len());
    let other = format!("sha256:{}", "b".repeat(64));
    runs(cluster, &namespace, &last, &other).await;
    let moved = daemon.wait_for_series(DRIFT, &["tag_moved"]).await;
    assert!(moved.contains(&format!("workload=\"{last}\"")), "{moved}");
    assert_eq!(all_series(&daemon, DRIFT).await.len(), 1);
}

#[tokio::test]
async fn a_platform_that_was_there_once_is_missed_until_it_is_back() {
    require_shop!();
    require!("buildah");
    let stock = Stock::new().await;
    let image = format!("{}/app:1", stock.host());
    push_index(&stock.clients, &image, "app", Format::Oci).await;
    let one = format!("{}/one:1", stock.host());
    push_index(&stock.clients, &one, "one", Format::Oci).await;
    let file = stock.clients.home().join("keep.txt");
    std::fs::write(&file, format!("{image}\n")).unwrap();
    let daemon = Daemon::start(&of_list(&file, &[stock.entry(OFTEN)]));
    daemon.wait_until_ready().await;
    assert_eq!(all_series(&daemon, DRIFT).await, Vec::<String>::new());

    let copy = [
        "index",
        "create",
        &image,
        "--ref",
        &one,
        "--platform",
        "linux/amd64",
    ];
    stock.clients.regctl(&copy).await;
    daemon.wait_for_series(DRIFT, &["platform_missing"]).await;
    let drift = told(&daemon, "app:1").await;
    assert_eq!(drift.len(), 1, "{drift:?}");
    assert!(
        drift[0]["platform"]
            .as_str()
            .unwrap()
            .starts_with("linux/arm64"),
        "{drift:?}"
    );
    // A restart forgets nothing.
    assert!(daemon.terminate().await.success());
    let _again = crate::daemon::shop::start_again(&daemon);
    let with_series = async || {
        let series = daemon.series(DRIFT, &["platform_missing"]).await;
        (!series.is_empty()).then_some(())
    };
    let bound = crate::support::daemon::BOUND;
    crate::support::wait::wait_until("it is still missed", bound, with_series).await;

    push_index_again(&stock.clients, &image, Format::Oci).await;
    let without_series = async || {
        let scrape = daemon.scrape().await?;
        let has_proof = scrape.contains("pullproof_image_last_proof_timestamp_seconds");
        (has_proof && !scrape.contains("platform_missing")).then_some(())
    };
    crate::support::wait::wait_until("it is back", bound, without_series).await;
}

#[tokio::test]
async fn a_mirror_that_serves_another_digest_disagrees_until_it_follows() {
    require!("docker-registry", "registry-3.1", "crane", "regctl");
    let roots: [TempDir; 2] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let origin = Registry::start(Options::new(Version::V3, roots[0].path())).await;
    let mirror = Registry::start(Options::new(Version::V2, roots[1].path())).await;
    let mut clients = Clients::of(&origin).await;
    clients.reach_plainly(&mirror.host()).await;
    let image = format!("{}/app:1", origin.host());
    let mirrored = format!("{}/app:1", mirror.host());
    for reference in [&image, &mirrored] {
        push_image(&clients, reference, "one").await;
    }
    let file = clients.home().join("keep.txt");
    std::fs::write(&file, format!("{image}\n")).unwrap();
    let with_mirror = format!(
        "  - {{host: \"{}\", plainHttp: true, mirrors: [{{host: \"{}\"}}], verify: {OFTEN}}}\n",
        origin.host(),
        mirror.host()
    );
    let daemon = Daemon::start(&of_list(
        &file,
        &[with_mirror, entry(&mirror.host(), OFTEN)],
    ));
    daemon.wait_until_ready().await;
    assert_eq!(all_series(&daemon, DRIFT).await, Vec::<String>::new());
    push_image(&clients, &image, "two").await;
    daemon
        .wait_for_series(DRIFT, &["registry_disagreement"])
        .await;
    let drift = told(&daemon, "app:1").await;
    assert_eq!(drift[0]["registry"], mirror.host().as_str(), "{drift:?}");
    push_image(&clients, &mirrored, "two").await;
    daemon
        .wait_for_no_series(DRIFT, &["registry_disagreement"])
        .await;
}
