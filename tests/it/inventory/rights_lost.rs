//! Rights that are taken away while a cluster is followed, and given back.

use serde_json::json;

use super::following::{Following, images, require_cluster, short};
use crate::daemon::shop::{
    OFTEN, Stock, all_series, deployment, namespace, proven_anew, require_shop,
};
use crate::support::between::Between;
use crate::support::cluster::Cluster;
use crate::support::daemon::{self, Daemon};
use crate::support::process::run;

/// A Role with these rights on all kinds of workloads but one, or on all.
fn role(namespace: &str, user: &str, without: Option<&str>) -> String {
    rights("Role", &format!(", namespace: {namespace}"), user, without)
}

fn cluster_role(user: &str, without: Option<&str>) -> String {
    rights("ClusterRole", "", user, without)
}

fn rights(kind: &str, place: &str, user: &str, without: Option<&str>) -> String {
    let kinds = |all: &[&str]| {
        let left = all.iter().filter(|kind| Some(**kind) != without);
        left.copied().collect::<Vec<_>>().join(", ")
    };
    let core = kinds(&["pods", "podtemplates", "replicationcontrollers"]);
    let apps = kinds(&[
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "controllerrevisions",
    ]);
    let batch = kinds(&["jobs", "cronjobs"]);
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}
metadata: {{name: read-{user}{place}}}
rules:
- {{apiGroups: [''], resources: [{core}], verbs: [list, watch]}}
- {{apiGroups: [apps], resources: [{apps}], verbs: [list, watch]}}
- {{apiGroups: [batch], resources: [{batch}], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {kind}Binding
metadata: {{name: read-{user}{place}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: read-{user}}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {user}}}]
---
"
    )
}

fn app(namespace: &str, name: &str) -> String {
    deployment(namespace, name, &format!("registry.example/{name}:1"))
}

const BOTH: [&str; 2] = ["registry.example/api:1", "registry.example/web:1"];

#[tokio::test]
async fn one_kind_in_one_namespace_is_taken_away_and_given_back() {
    require_cluster!();
    let cluster = Cluster::shared().await;
    let (one, other) = (cluster.new_namespace().await, cluster.new_namespace().await);
    let identity = cluster.new_identity();
    let user = &identity.user;
    let yaml = [
        app(&one, "api"),
        app(&other, "web"),
        role(&one, user, None),
        role(&other, user, None),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let source = Following::start(identity.kubeconfig.clone(), &[&one, &other], short()).await;
    source.until_complete().await;
    source.until_images(&BOTH).await;

    cluster
        .apply_yaml(&role(&other, user, Some("deployments")))
        .await;
    let state = source
        .until_incomplete(&["deployments.apps is forbidden", &other])
        .await;
    assert!(
        !state.incomplete.as_deref().unwrap().contains(&one),
        "{:?}",
        state.incomplete
    );
    assert_eq!(images(&state), BOTH);
    let last = state.complete_at.expect("it was complete");
    // Out of sight, a new one comes and the old one goes.
    let delete = ["delete", "deployment", "web", "-n", &other];
    cluster.kubectl(&delete).await;
    cluster.apply_yaml(&app(&other, "late")).await;
    // The other namespace goes on, and nothing passes for complete meanwhile.
    cluster.apply_yaml(&app(&one, "new")).await;
    let has_new = |state: &_| images(state).iter().any(|image| image.contains("/new:"));
    let state = source.until("the new one is seen", has_new).await;
    assert!(state.incomplete.is_some());
    assert_eq!(state.complete_at, Some(last));
    assert!(
        images(&state).iter().any(|image| image.contains("/web:")),
        "it was the last that was complete"
    );

    cluster.apply_yaml(&role(&other, user, None)).await;
    source.until_complete().await;
    let all = ["api", "late", "new"].map(|name| format!("registry.example/{name}:1"));
    let state = source
        .until_images(&all.each_ref().map(String::as_str))
        .await;
    assert!(state.incomplete.is_none());
}

#[tokio::test]
async fn a_role_for_the_whole_cluster_is_taken_away_and_given_back() {
    require_cluster!();
    // Its own: what all namespaces hold is looked at.
    let cluster = Cluster::start().await;
    let namespace = cluster.new_namespace().await;
    let identity = cluster.new_identity();
    let user = &identity.user;
    cluster
        .apply_yaml(&[app(&namespace, "web"), cluster_role(user, None)].concat())
        .await;
    let source = Following::start(identity.kubeconfig.clone(), &[], short()).await;
    source.until_complete().await;
    source.until_images(&["registry.example/web:1"]).await;

    let binding = format!("read-{user}");
    cluster
        .kubectl(&["delete", "clusterrolebinding", &binding])
        .await;
    let state = source
        .until_incomplete(&["is forbidden", user, "more"])
        .await;
    assert_eq!(images(&state), ["registry.example/web:1"]);
    cluster.apply_yaml(&app(&namespace, "api")).await;
    cluster.apply_yaml(&cluster_role(user, None)).await;
    source.until_complete().await;
    source.until_images(&BOTH).await;

    cluster
        .apply_yaml(&cluster_role(user, Some("cronjobs")))
        .await;
    let state = source
        .until_incomplete(&["cronjobs.batch is forbidden"])
        .await;
    assert_eq!(images(&state), BOTH);
    cluster.apply_yaml(&cluster_role(user, None)).await;
    source.until_complete().await;
}

#[tokio::test]
async fn lost_rights_show_in_metric_command_and_page_and_the_last_state_is_proven() {
    require_shop!();
    let stock = Stock::new().await;
    let image = stock.push("app:1").await;
    let (cluster, namespace) = namespace().await;
    let identity = cluster.new_identity();
    let user = &identity.user;
    let yaml = [
        deployment(&namespace, "web", &image),
        role(&namespace, user, None),
    ];
    cluster.apply_yaml(&yaml.concat()).await;
    let between = Between::start(cluster);
    let kubeconfig = between.kubeconfig(cluster, &identity);
    let registries = [stock.entry(OFTEN)];
    let daemon = Daemon::start(&crate::daemon::shop::of_namespace(
        &kubeconfig,
        &namespace,
        &registries,
    ));
    let complete = |value: &'static str| ["source=\"prod\"", value];
    daemon
        .wait_for_series("inventory_complete", &complete(" 1"))
        .await;
    daemon
        .wait_for_series("workload_image_pullable", &[&image, " 1"])
        .await;

    // A watch that is open goes on whatever becomes of the rights, so it is made to end.
    cluster
        .apply_yaml(&role(&namespace, user, Some("statefulsets")))
        .await;
    between.cut();
    daemon
        .wait_for_series("inventory_complete", &complete(" 0"))
        .await;
    let page = daemon.page("/").await;
    assert!(page.contains("statefulsets.apps is forbidden"), "{page}");
    let mut command = daemon::command(daemon.configuration().parent().unwrap());
    command
        .arg("inventory")
        .arg("--config")
        .arg(daemon.configuration())
        .args(["-o", "json"]);
    let failure = run(command).await.unwrap_err();
    assert!(failure.contains("ended with exit status: 3"), "{failure}");
    let json = failure.lines().skip(1).collect::<Vec<_>>().join("\n");
    assert!(json.contains("statefulsets.apps is forbidden"), "{failure}");

    proven_anew(&daemon, &image).await;
    assert_eq!(
        all_series(&daemon, "workload_image_pullable").await.len(),
        1
    );
    let status = daemon.api("status").await;
    assert_eq!(status["sources"][0]["complete"], json!(false), "{status:#}");

    cluster.apply_yaml(&role(&namespace, user, None)).await;
    daemon
        .wait_for_series("inventory_complete", &complete(" 1"))
        .await;
    let page = daemon.page("/").await;
    assert!(!page.contains("? incomplete"), "{page}");
}
