//! What was named recently and is named by nothing now.

use serde_json::Value;

use crate::daemon::shop::{
    OFTEN, Stock, deployment, namespace, of_namespace, require_shop, start_again,
};
use crate::support::daemon::{BOUND, Daemon};
use crate::support::wait::wait_until;

#[tokio::test]
async fn what_nothing_names_any_more_is_remembered_over_a_restart_until_it_expires() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let gone = stock.push("gone:1").await;
    let stays = stock.push("stays:1").await;
    let apply = async |name: &str, image: &str| {
        cluster
            .apply_yaml(&deployment(&namespace, name, image))
            .await;
    };
    let delete = async |name: &str| {
        cluster
            .kubectl(&["delete", "deployment", name, "-n", &namespace])
            .await;
    };
    apply("gone", &gone).await;
    apply("stays", &stays).await;
    let kubeconfig = cluster.admin().kubeconfig;
    let configuration = of_namespace(&kubeconfig, &namespace, &[stock.entry(OFTEN)]);
    let configuration = configuration.replace("inventory: {", "inventory: {keepSeen: 90d, ");
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;

    delete("gone").await;
    let remembered = ["/gone:1", "class=\"remembered\"", " 1"];
    daemon
        .wait_for_series("workload_image_pullable", &remembered)
        .await;
    let of = async |reference: &str| -> Value {
        let inventory = super::complete::inventory(&daemon).await;
        let images = inventory["images"].as_array().unwrap().iter();
        let mut images = images.filter(|image| image["reference"] == reference);
        images.next().cloned().unwrap_or_default()
    };
    let image = of(&gone).await;
    assert_eq!(
        image["classes"],
        serde_json::json!(["remembered"]),
        "{image:#}"
    );
    let since = image["used_by"][0]["since"].as_str().unwrap();
    assert!(since.starts_with("20"), "{since}");

    // It breaks, and that is found.
    stock.break_layer(&gone).await;
    let broken = ["/gone:1", "class=\"remembered\"", "layer_missing"];
    daemon
        .wait_for_series("workload_image_failure", &broken)
        .await;

    // What goes while nobody looks is remembered, too.
    assert!(daemon.terminate().await.success());
    delete("stays").await;
    let again = start_again(&daemon);
    let series = async |name: &str, texts: &[&str]| {
        again
            .wait_until(
                &format!("a series {name} with {texts:?}"),
                BOUND,
                async || {
                    let found = daemon.series(name, texts).await;
                    (!found.is_empty()).then_some(())
                },
            )
            .await;
    };
    series("workload_image_failure", &broken).await;
    let stays_remembered = ["/stays:1", "class=\"remembered\"", " 1"];
    series("workload_image_pullable", &stays_remembered).await;

    // What comes back is a workload's again, and of the ledger no more.
    apply("stays", &stays).await;
    series(
        "workload_image_pullable",
        &["/stays:1", "class=\"runtime\"", " 1"],
    )
    .await;
    wait_until("the ledger lets go of it", BOUND, async || {
        let still = daemon
            .series("workload_image_pullable", &stays_remembered)
            .await;
        still.is_empty().then_some(())
    })
    .await;

    // It expires.
    let file = daemon.configuration();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("90d", "1s")).unwrap();
    wait_until("it is forgotten", BOUND, async || {
        let scrape = daemon.scrape().await?;
        (scrape.contains("/stays:1") && !scrape.contains("/gone:1")).then_some(())
    })
    .await;
    assert_eq!(of(&gone).await, Value::Null);
    assert_eq!(of(&stays).await["classes"][0], "runtime");
}
