//! Watches that fall silent, and watches whose version is forgotten.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::following::{Following, images, make_templates, names, require_cluster, short, until};
use crate::daemon::shop::{OFTEN, Stock, deployment, namespace, of_namespace, require_shop};
use crate::support::between::{Between, Fault};
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;
use crate::support::toxiproxy::Toxiproxy;

fn app(namespace: &str, name: &str) -> String {
    deployment(namespace, name, &format!("registry.example/{name}:1"))
}

#[tokio::test]
async fn a_connection_that_is_dropped_without_a_word_is_found_by_its_watchs_end() {
    crate::support::parts::require!("toxiproxy-server");
    require_cluster!();
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    cluster.apply_yaml(&app(&namespace, "web")).await;
    let toxiproxy = Toxiproxy::start().await;
    let upstream = cluster.url().replace("https://", "");
    let host = toxiproxy.proxy("cluster", &upstream).await;
    let kubeconfig = cluster.kubeconfig_by(&cluster.admin(), &format!("https://{host}"));
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    source.until_complete().await;

    // Nothing comes through, and no connection ends: a load balancer that has forgotten them.
    toxiproxy
        .poison("cluster", "timeout", &json!({"timeout": 0}))
        .await;
    cluster.apply_yaml(&app(&namespace, "api")).await;
    let state = source.until_incomplete(&["its watch stalled"]).await;
    assert_eq!(images(&state), ["registry.example/web:1"]);
    toxiproxy.heal("cluster", "timeout").await;
    source
        .until_images(&["registry.example/api:1", "registry.example/web:1"])
        .await;
    source.until_complete().await;
}

#[tokio::test]
async fn a_frozen_api_server_is_found_and_followed_on_when_it_thaws() {
    require_cluster!();
    let mut cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    cluster.apply_yaml(&app(&namespace, "web")).await;
    let between = Between::start(&cluster);
    let kubeconfig = between.kubeconfig(&cluster, &cluster.admin());
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    source.until_complete().await;
    let lists = between.lists();

    cluster.pause_server().await;
    let state = source.until_incomplete(&["its watch stalled"]).await;
    assert_eq!(images(&state), ["registry.example/web:1"]);
    cluster.resume_server();
    source.until_complete().await;
    cluster.apply_yaml(&app(&namespace, "api")).await;
    source
        .until_images(&["registry.example/api:1", "registry.example/web:1"])
        .await;
    assert!(
        between.lists() <= lists + 12,
        "each kind is listed anew once at most"
    );
}

#[tokio::test]
async fn watches_that_end_in_time_are_followed_by_watches() {
    require_cluster!();
    let cluster = Cluster::shared().await;
    let namespace = cluster.new_namespace().await;
    cluster.apply_yaml(&app(&namespace, "web")).await;
    let between = Between::start(cluster);
    let kubeconfig = between.kubeconfig(cluster, &cluster.admin());
    let source = Following::start(kubeconfig, &[&namespace], short()).await;
    source.until_complete().await;
    let lists = between.lists();
    let watches = || {
        let requests = between.requests();
        requests
            .iter()
            .filter(|it| it.contains("watch=true") && it.contains("/deployments"))
            .count()
    };
    until("three watches have ended", || watches() >= 4).await;
    cluster.apply_yaml(&app(&namespace, "api")).await;
    source
        .until_images(&["registry.example/api:1", "registry.example/web:1"])
        .await;
    assert_eq!(between.lists(), lists, "nothing is listed anew");
    assert!(source.now().incomplete.is_none());
}

#[tokio::test]
async fn no_series_is_missing_while_a_forgotten_watch_is_listed_anew() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let mut yaml = String::new();
    let mut expected = BTreeSet::new();
    for number in 0..6 {
        let image = stock.push(&format!("app-{number}:1")).await;
        yaml += &deployment(&namespace, &format!("web-{number}"), &image);
        expected.insert(image);
    }
    cluster.apply_yaml(&yaml).await;
    // More than a page, so that there is a time between two pages.
    let many = names("it", 520);
    make_templates(cluster, &namespace, &many).await;
    let between = Between::start(cluster);
    let kubeconfig = between.kubeconfig(cluster, &cluster.admin());
    let daemon = Daemon::start(&of_namespace(
        &kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    ));
    let host = stock.host();
    let shown = async || {
        let series = daemon
            .series("workload_image_pullable", &[&host, " 1"])
            .await;
        series.len()
    };
    daemon
        .wait_until("all are proven", async || {
            (shown().await == expected.len()).then_some(())
        })
        .await;
    daemon
        .wait_for_series("inventory_complete", &["prod", " 1"])
        .await;

    let listed = between.lists();
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
        "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"}});
    // Every watch of what is listed is told so once; the second page of the long list never comes.
    between.on(10, Fault::Answer(200, format!("{gone}\n")), |asked| {
        asked.contains("watch=true") && !asked.contains("/events?")
    });
    between.on(1, Fault::Silence, |asked| asked.contains("continue="));
    between.cut();
    let is_over = AtomicBool::new(false);
    let looking = async {
        let mut looks = 0;
        while !is_over.load(Ordering::Relaxed) {
            let scrape = daemon.scrape().await.unwrap();
            let there = expected.iter().filter(|image| {
                let is_of = |line: &str| {
                    line.starts_with("pullproof_workload_image_pullable{") && line.contains(*image)
                };
                scrape.lines().any(is_of)
            });
            assert_eq!(there.count(), expected.len(), "{scrape}");
            looks += 1;
        }
        looks
    };
    let listing = async {
        until("all is listed anew, and one list hangs", || {
            between.lists() >= listed + 10
                && between.requests().iter().any(|it| it.contains("continue="))
        })
        .await;
        is_over.store(true, Ordering::Relaxed);
    };
    let (looks, ()) = tokio::join!(looking, listing);
    assert!(looks > 0);
}
