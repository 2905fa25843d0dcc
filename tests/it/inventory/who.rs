//! Who needs an image, why, and since when: as commands tell it beside the daemon.

use serde_json::{Value, json};

use crate::cli::run::{Ended, run};
use crate::daemon::shop::{OFTEN, Stock, deployment, namespace, of_namespace, require_shop};
use crate::support::daemon::{self, BOUND, Daemon};
use crate::support::wait::wait_until;

/// A command with the daemon's configuration, and so beside its state.
async fn beside(daemon: &Daemon, arguments: &[&str]) -> Ended {
    let file = daemon.configuration();
    let mut command = daemon::command(file.parent().unwrap());
    command.arg("--config").arg(&file).args(arguments);
    run(command, "").await
}

fn used_by<'a>(inventory: &'a Value, reference: &str) -> &'a [Value] {
    let mut images = inventory["images"].as_array().unwrap().iter();
    let image = images.find(|image| image["reference"] == reference);
    let image = image.unwrap_or_else(|| panic!("no {reference} in {inventory:#}"));
    image["used_by"].as_array().unwrap()
}

/// A `CronJob` that does not run.
fn suspended(namespace: &str, name: &str, image: &str) -> String {
    format!(
        "apiVersion: batch/v1
kind: CronJob
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  suspend: true
  schedule: '0 4 * * *'
  jobTemplate:
    spec:
      template:
        spec: {{restartPolicy: Never, containers: [{{name: main, image: '{image}'}}]}}
"
    )
}

#[tokio::test]
async fn a_workload_at_zero_a_rollback_and_what_is_remembered_are_told_apart() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let kubectl = async |arguments: &[&str]| {
        let arguments = [arguments, &["-n", &namespace]].concat();
        cluster.kubectl(&arguments).await
    };
    let [old, new, idle, gone, late] =
        ["old:1", "new:1", "idle:1", "gone:1", "late:1"].map(async |name| stock.push(name).await);
    let (old, new, idle, gone, late) = (old.await, new.await, idle.await, gone.await, late.await);
    let yaml = deployment(&namespace, "web", &old)
        + &deployment(&namespace, "idle", &idle)
        + &deployment(&namespace, "gone", &gone)
        + &suspended(&namespace, "late", &late);
    cluster.apply_yaml(&yaml).await;
    let configuration = of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    );
    let daemon = Daemon::start(&configuration);
    daemon.wait_until_ready().await;
    // History is made of what a controller has seen.
    let replica_sets = ["get", "replicasets", "-o", "name"];
    wait_until("each has its ReplicaSet", BOUND, async || {
        (kubectl(&replica_sets).await.lines().count() == 3).then_some(())
    })
    .await;
    // The old Pods go first: nobody here makes the new ones ready.
    let recreate = r#"{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}"#;
    kubectl(&["patch", "deployment/web", "-p", recreate]).await;
    kubectl(&["set", "image", "deployment/web", &format!("app={new}")]).await;
    kubectl(&["scale", "deployment/idle", "--replicas=0"]).await;
    daemon
        .wait_for_series("workload_image_pullable", &["/gone:1", "class=\"runtime\""])
        .await;
    kubectl(&["delete", "deployment", "gone"]).await;
    daemon
        .wait_for_series(
            "workload_image_pullable",
            &["/gone:1", "class=\"remembered\"", " 1"],
        )
        .await;

    // What is remembered is in the snapshot that the daemon writes for others.
    let inventory = daemon
        .wait_until("a command sees all of them", async || {
            let ended = beside(&daemon, &["inventory", "-o", "json"]).await;
            assert_eq!(ended.code, 0, "{ended:?}");
            let inventory = ended.json();
            let images = inventory["images"].as_array().unwrap();
            let has = |image: &str| images.iter().any(|it| it["reference"] == image);
            let is_history = || {
                let by = used_by(&inventory, &old);
                by.iter().all(|by| by["class"] == "rollback")
            };
            (has(&gone) && has(&new) && has(&old) && is_history()).then_some(inventory)
        })
        .await;
    let told = |reference: &str| {
        let [by] = used_by(&inventory, reference) else {
            panic!("{inventory:#}");
        };
        assert!(by["since"].is_string(), "{by:#}");
        let via = by["via"].as_str().map(|via| via.split('-').next().unwrap());
        json!([by["kind"], by["class"], by["idle"], via])
    };
    assert_eq!(told(&new), json!(["Deployment", "runtime", null, null]));
    assert_eq!(
        told(&old),
        json!(["Deployment", "rollback", null, "ReplicaSet/web"])
    );
    assert_eq!(
        told(&idle),
        json!(["Deployment", "runtime", "scaled_to_zero", null])
    );
    assert_eq!(
        told(&late),
        json!(["CronJob", "runtime", "suspended", null])
    );
    assert_eq!(told(&gone), json!(["Ledger", "remembered", null, null]));

    // The same in words, of one image alone.
    for (image, words) in [
        (&idle, "/Deployment/idle (app, scaled to zero), since 20"),
        (&old, "rollback   prod:"),
        (&old, "/Deployment/web (app) via ReplicaSet/web-"),
        (&gone, "remembered named by nothing since 20"),
    ] {
        for command in ["inventory", "explain"] {
            let ended = beside(&daemon, &[command, image]).await;
            assert_eq!(ended.code, 0, "{ended:?}");
            assert!(ended.stdout.contains(words), "{words}: {ended:?}");
        }
    }
    let ended = beside(&daemon, &["inventory", &idle]).await;
    assert!(!ended.stdout.contains("/Deployment/web"), "{ended:?}");
    let ended = beside(&daemon, &["inventory", "registry.example/none:1"]).await;
    let nobody = "registry.example/none:1: no source names it";
    assert!(ended.stdout.contains(nobody), "{ended:?}");
    // The page of the image says so, too.
    let page = daemon.page(&format!("/image?reference={idle}")).await;
    assert!(page.contains("scaled to zero"), "{page}");
}

#[tokio::test]
async fn a_digest_is_asked_for_as_well() {
    require_shop!();
    let stock = Stock::new().await;
    let (cluster, namespace) = namespace().await;
    let image = stock.push("app:1").await;
    let digest = stock.clients.crane(&["digest", &image]).await;
    let digest = digest.trim();
    let (repository, _) = image.rsplit_once(':').unwrap();
    let pinned = format!("{repository}@{digest}");
    let yaml = deployment(&namespace, "pinned", &pinned) + &deployment(&namespace, "other", &image);
    cluster.apply_yaml(&yaml).await;
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pullproof.yaml");
    let configuration = of_namespace(
        &cluster.admin().kubeconfig,
        &namespace,
        &[stock.entry(OFTEN)],
    );
    let configuration = format!("{configuration}state: {{directory: state}}\n");
    std::fs::write(&file, configuration).unwrap();
    let ask = async |arguments: &[&str]| {
        let mut command = daemon::command(home.path());
        command.arg("--config").arg(&file).args(arguments);
        run(command, "").await
    };
    // What references and Pods say needs no registry; what is inside of images does.
    let ended = ask(&["inventory", digest]).await;
    assert!(
        ended.stdout.contains("/Deployment/pinned (app)"),
        "{ended:?}"
    );
    assert!(!ended.stdout.contains("/Deployment/other"), "{ended:?}");
    let ended = ask(&["explain", digest]).await;
    for name in ["pinned", "other"] {
        let user = format!("/Deployment/{name} (app)");
        assert!(ended.stdout.contains(&user), "{ended:?}");
    }
    let nobody = format!("sha256:{}", "0".repeat(64));
    let ended = ask(&["inventory", &nobody]).await;
    assert!(ended.stdout.contains("no Pod runs it"), "{ended:?}");
}
