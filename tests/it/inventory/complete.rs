//! Complete or nothing: a site that is away, and a source that shrinks.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]

use serde_json::Value;

use crate::cli::run::pullproof_in;
use crate::daemon::shop::{OFTEN, Stock, deployment, namespace, require_shop, start_again};
use crate::support::cluster::Cluster;
use crate::support::daemon::{BOUND, Daemon};
use crate::support::wait::wait_until;

/// `/api/v1/inventory`, also of a daemon that was started again.
pub(super) async fn inventory(daemon: &Daemon) -> Value {
    let text = daemon.page("/api/v1/inventory").await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What closes the gates, as `/api/v1/inventory` says it.
async fn refusals(daemon: &Daemon) -> Vec<String> {
    let inventory = inventory(daemon).await;
    let refusals = inventory["refusals"].as_array().unwrap();
    let line = |it: &Value| format!("{}: {}", it["code"], it["message"]).replace('"', "");
    refusals.iter().map(line).collect()
}

/// Waits for a series of a daemon that was started again.
async fn series(daemon: &Daemon, name: &str, texts: &[&str]) {
    let what = format!("a series {name} with {texts:?}");
    wait_until(&what, BOUND, async || {
        let found = daemon.series(name, texts).await;
        (!found.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_site_that_is_away_is_kept_over_a_restart_and_for_as_long_as_it_may_be_away() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let mut cluster = Cluster::start().await;
    cluster
        .apply_yaml(&deployment("default", "web", &image))
        .await;
    let kubeconfig = cluster.admin().kubeconfig;
    let configuration = |max_age: &str| {
        format!(
            "inventory: {{clusters: [{{name: edge, kubeconfig: {}, role: failover, required: false, \
             maxAge: {max_age}}}]}}\nregistries:\n{}",
            kubeconfig.display(),
            stock.entry(OFTEN)
        )
    };
    let daemon = Daemon::start(&configuration("72h"));
    daemon.wait_until_ready().await;
    let silence = [
        "annotate",
        "deployment",
        "web",
        "pullproof.dev/ignore=far away",
    ];
    cluster.kubectl(&silence).await;
    // What is said of alerts is known as long as what is used.
    let pullable = [
        "cluster=\"edge\"",
        "class=\"failover\"",
        "ignored=\"true\"",
        " 1",
    ];
    daemon
        .wait_for_series("workload_image_pullable", &pullable)
        .await;
    assert_eq!(refusals(&daemon).await, Vec::<String>::new());
    assert!(daemon.terminate().await.success());

    cluster.stop_server();
    let again = start_again(&daemon);
    series(&daemon, "inventory_complete", &["edge", " 0"]).await;
    series(&daemon, "inventory_required", &["edge", " 0"]).await;
    series(&daemon, "workload_image_pullable", &pullable).await;
    let inventory = inventory(&daemon).await;
    let source = &inventory["sources"][0];
    assert_eq!(
        (&source["complete"], &source["required"]),
        (&false.into(), &false.into())
    );
    assert_eq!(source["references"], 1, "{inventory:#}");
    assert!(source["stands_until"].is_string() && source["last_complete"].is_string());
    assert_eq!(inventory["images"][0]["classes"][0], "failover");
    assert_eq!(
        inventory["refusals"].as_array().unwrap().len(),
        0,
        "{inventory:#}"
    );
    // New proofs are made of it, too.
    let goal = stock.registry.requests().len() + 10;
    again
        .wait_until("it is verified", BOUND, async || {
            (stock.registry.requests().len() >= goal).then_some(())
        })
        .await;

    // Past the age it is still verified, and the gates are closed.
    let file = daemon.configuration();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("72h", "1s")).unwrap();
    let closed = again
        .wait_until("the gates are closed", BOUND, async || {
            Some(refusals(&daemon).await).filter(|refusals| !refusals.is_empty())
        })
        .await;
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(
        closed[0].starts_with("inventory_incomplete: edge: ") && closed[0].contains("maxAge"),
        "{closed:?}"
    );
    series(&daemon, "workload_image_pullable", &pullable).await;

    cluster.start_server().await;
    series(&daemon, "inventory_complete", &["edge", " 1"]).await;
    again
        .wait_until("the gates are open", BOUND, async || {
            refusals(&daemon).await.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_source_that_shrinks_closes_the_gates_until_somebody_accepts_it() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    for name in ["a", "b", "c"] {
        let image = stock.push(&format!("{name}:1")).await;
        cluster
            .apply_yaml(&deployment(&namespace, name, &image))
            .await;
    }
    let daemon = Daemon::start(&format!(
        "inventory: {{clusters: [{{name: prod, kubeconfig: {}, namespaces: [{namespace}], \
         scopeIsAll: true}}]}}\nregistries:\n{}",
        cluster.admin().kubeconfig.display(),
        stock.entry(OFTEN)
    ));
    daemon.wait_until_ready().await;
    assert_eq!(refusals(&daemon).await, Vec::<String>::new());
    let home = daemon.configuration().parent().unwrap().to_owned();
    let accept = async |source: &str| {
        let arguments = ["inventory", "accept", source, "--by", "jane"];
        pullproof_in(&home, &arguments).await
    };
    let nothing = accept("prod").await;
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.stdout.contains("has not shrunk"), "{nothing:?}");

    for name in ["a", "b"] {
        cluster
            .kubectl(&["delete", "deployment", name, "-n", &namespace])
            .await;
    }
    daemon
        .wait_for_series("inventory_shrunk", &["prod", " 1"])
        .await;
    let closed = refusals(&daemon).await;
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert!(
        closed[0].starts_with("inventory_shrunk: prod: it named 3 references and names 1"),
        "{closed:?}"
    );
    assert!(
        daemon
            .page("/")
            .await
            .contains("The source prod has shrunk")
    );
    // It was read in full all the same.
    assert_eq!(
        daemon
            .series("inventory_complete", &["prod", " 1"])
            .await
            .len(),
        1
    );
    let ended = pullproof_in(&home, &["inventory"]).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(
        ended.stdout.contains("source prod: shrunk: it named 3"),
        "{ended:?}"
    );

    // Not by a restart either.
    assert!(daemon.terminate().await.success());
    let again = start_again(&daemon);
    series(&daemon, "inventory_complete", &["prod", " 1"]).await;
    series(&daemon, "inventory_shrunk", &["prod", " 1"]).await;

    let unknown = accept("prd").await;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(
        unknown.stderr.contains("no source prd; known are: prod"),
        "{unknown:?}"
    );
    let accepted = accept("prod").await;
    assert_eq!(accepted.code, 0, "{accepted:?}");
    assert!(accepted.stdout.contains("accepted by jane"), "{accepted:?}");
    again
        .wait_until("the gates are open", BOUND, async || {
            refusals(&daemon).await.is_empty().then_some(())
        })
        .await;
    assert!(
        daemon
            .series("inventory_shrunk", &["prod"])
            .await
            .is_empty()
    );
    let record = std::fs::read_to_string(home.join("state/accepted.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let record = &record["acceptances"][0];
    assert_eq!(
        (&record["source"], &record["by"]),
        (&"prod".into(), &"jane".into())
    );
    assert!(record["at"].is_string());
}
