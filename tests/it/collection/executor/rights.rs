//! What an executor's Job needs of a cluster: with the rights that are shipped, and nothing more.

use std::process::Command;
use std::time::Duration;

use super::job::{self, Scene};
use crate::collection::job::{rights, shipped};
use crate::support::parts::require_cluster;
use crate::support::process::run_well;
use crate::support::wait::wait_until;

const BOUND: Duration = Duration::from_mins(2);

#[tokio::test]
async fn with_what_is_shipped_it_is_started_followed_and_deleted_and_nothing_else_may_be_done() {
    require_cluster!("registry-3.1");
    let scene = Scene::start().await;
    let identity = scene.cluster.new_identity();
    let namespace = &scene.namespace;
    let yaml = shipped("executor-job-rbac.yaml")
        .replace("namespace: registry", &format!("namespace: {namespace}"))
        .replace(
            "{kind: ServiceAccount, name: pullproof, namespace: pullproof}",
            &format!(
                "{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {}}}",
                identity.user
            ),
        );
    scene.cluster.apply_yaml(&yaml).await;
    assert_eq!(
        rights(scene.cluster, &identity.user, namespace).await,
        ["jobs.batch [] [] [create delete get]", "pods [] [] [list]"]
    );
    assert_eq!(
        rights(scene.cluster, &identity.user, "default").await,
        [""; 0]
    );
    scene.desk.use_cluster(&identity.kubeconfig);

    let run = scene.run();
    let (made, pod) = scene.pod().await;
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    let words = ["command", "args"].map(|key| container[key].as_array().unwrap());
    let words: Vec<&str> = words
        .into_iter()
        .flatten()
        .map(|it| it.as_str().unwrap())
        .collect();
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("OTEL_TRACES_EXPORTER", "none");
    run_well(command).await;
    scene.ends(&pod, "Succeeded").await;
    let (code, view) = job::code(&run).await;
    assert_eq!(
        (code, view["result"].as_str()),
        (Some(0), Some("purged")),
        "{}",
        run.tail()
    );

    // Another run is another Job, and somebody stops it.
    let run = scene.run();
    wait_until("there is another Job", BOUND, async || {
        (scene.all("jobs").await.len() == 2).then_some(())
    })
    .await;
    scene.desk.gc(&["stop"]).await;
    let (code, _) = job::code(&run).await;
    assert_eq!(code, Some(1), "{}", run.tail());
    let told = run.output();
    assert!(told.contains("was deleted: it was told to stop"), "{told}");
    assert_eq!(scene.all("jobs").await.len(), 1);
}
