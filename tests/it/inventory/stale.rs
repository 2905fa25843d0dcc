//! API servers that lag behind, and a cluster that is away while another is there.

use serde_json::json;

use super::following::{Following, images, require_cluster, short, until};
use crate::daemon::shop::{OFTEN, Stock, deployment, entry, namespace, require_shop, value};
use crate::support::between::{Between, Fault};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::toxiproxy::Toxiproxy;

fn app(namespace: &str, name: &str) -> String {
    deployment(namespace, name, &format!("registry.example/{name}:1"))
}

#[tokio::test]
async fn an_api_server_that_answers_from_an_old_cache_is_not_believed() {
    crate::support::parts::require!("toxiproxy-server");
    require_cluster!();
    // Two API servers on one etcd; one of them can be cut off from it.
    let cluster = Cluster::start().await;
    let toxiproxy = Toxiproxy::start().await;
    let etcd = toxiproxy.proxy("etcd", cluster.etcd_host()).await;
    let other = cluster.another_server(&format!("http://{etcd}")).await;
    let namespace = cluster.new_namespace().await;
    cluster.apply_yaml(&app(&namespace, "web")).await;
    let between = Between::start(&cluster);
    let kubeconfig = between.kubeconfig(&cluster, &cluster.admin());
    // Both know the first; the other knows no more from here on.
    between.switch(&other.url);
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    source.until_images(&["registry.example/web:1"]).await;
    source.until_complete().await;
    between.switch(&cluster.url());
    toxiproxy
        .poison("etcd", "timeout", &json!({"timeout": 0}))
        .await;
    cluster.apply_yaml(&app(&namespace, "api")).await;
    let both = ["registry.example/api:1", "registry.example/web:1"];
    between.cut();
    source.until_images(&both).await;

    // To a watch it says nothing, and its list, asked for as a cache answers, is an old one.
    between.on(
        usize::MAX,
        Fault::With("&resourceVersion=0&resourceVersionMatch=NotOlderThan"),
        |asked| asked.contains("limit="),
    );
    between.switch(&other.url);
    between.cut();
    let state = source
        .until_incomplete(&["answers from an old state"])
        .await;
    assert_eq!(images(&state), both);
    // As often as it says so.
    let before = between.lists();
    until("it was listed again", || between.lists() >= before + 3).await;
    assert_eq!(images(&source.now()), both);
    assert!(source.now().incomplete.is_some());

    toxiproxy.heal("etcd", "timeout").await;
    between.heal();
    let state = source.until_complete().await;
    assert_eq!(images(&state), both);
    drop(other);
}

#[tokio::test]
async fn an_api_server_that_was_frozen_and_comes_back_takes_nothing_back() {
    require_cluster!();
    let cluster = Cluster::start().await;
    let other = cluster
        .another_server(&format!("http://{}", cluster.etcd_host()))
        .await;
    let namespace = cluster.new_namespace().await;
    cluster.apply_yaml(&app(&namespace, "web")).await;
    let between = Between::start(&cluster);
    let kubeconfig = between.kubeconfig(&cluster, &cluster.admin());
    between.switch(&other.url);
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    source.until_images(&["registry.example/web:1"]).await;
    source.until_complete().await;

    other.process.pause().await;
    source.until_incomplete(&["its watch stalled"]).await;
    between.switch(&cluster.url());
    between.cut();
    cluster.apply_yaml(&app(&namespace, "api")).await;
    cluster
        .kubectl(&["delete", "deployment", "web", "-n", &namespace])
        .await;
    // Until the controllers have taken what was under it.
    source.until_images(&["registry.example/api:1"]).await;
    source.until_complete().await;

    other.process.resume();
    between.switch(&other.url);
    between.cut();
    cluster.apply_yaml(&app(&namespace, "late")).await;
    // Every state on the way is looked at: not one may have it again.
    source
        .until("the new one is seen", |state| {
            let images = images(state);
            assert!(
                !images.iter().any(|image| image.contains("web")),
                "{images:?}"
            );
            images == ["registry.example/api:1", "registry.example/late:1"]
        })
        .await;
    source.until_complete().await;
}

#[tokio::test]
async fn one_of_two_clusters_is_away_and_the_other_goes_on() {
    require_shop!();
    let stock = Stock::new().await;
    let (here, far) = (stock.push("here:1").await, stock.push("far:1").await);
    let (cluster, own) = namespace().await;
    cluster.apply_yaml(&deployment(&own, "here", &here)).await;
    let mut standby = Cluster::start().await;
    let theirs = standby.new_namespace().await;
    standby.apply_yaml(&deployment(&theirs, "far", &far)).await;
    let configuration = format!(
        "inventory:\n  clusters:\n  \
         - {{name: prod, kubeconfig: {}, namespaces: [{own}]}}\n  \
         - {{name: standby, kubeconfig: {}, namespaces: [{theirs}], role: failover}}\n\
         registries:\n{}",
        cluster.admin().kubeconfig.display(),
        standby.admin().kubeconfig.display(),
        entry(&stock.host(), OFTEN),
    );
    let daemon = Daemon::start(&configuration);
    for image in [&here, &far] {
        daemon
            .wait_for_series("workload_image_pullable", &[image, " 1"])
            .await;
    }
    daemon
        .wait_for_series("inventory_complete", &["source=\"standby\"", " 1"])
        .await;

    standby.stop_server();
    daemon
        .wait_for_series("inventory_complete", &["source=\"standby\"", " 0"])
        .await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"prod\"", " 1"])
        .await;
    // What it said last is proven on, and what is new elsewhere is seen.
    let proven = "image_last_proof_timestamp_seconds";
    let before = value(&daemon.wait_for_series(proven, &[&far]).await);
    let late = stock.push("late:1").await;
    cluster.apply_yaml(&deployment(&own, "late", &late)).await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &[&late, "cluster=\"prod\"", " 1"],
        )
        .await;
    daemon
        .wait_until("it is proven anew", async || {
            let series = daemon.series(proven, &[&far]).await;
            (value(series.first()?) > before).then_some(())
        })
        .await;
    let series = daemon
        .series(
            "workload_image_pullable",
            &[&far, "class=\"failover\"", " 1"],
        )
        .await;
    assert_eq!(series.len(), 1);
    let page = daemon.page("/").await;
    assert!(
        page.contains("standby") && page.contains("refused"),
        "{page}"
    );

    standby.start_server().await;
    daemon
        .wait_for_series("inventory_complete", &["source=\"standby\"", " 1"])
        .await;
}
