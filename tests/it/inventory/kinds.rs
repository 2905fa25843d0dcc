//! Every kind that names images, idle or not, and what `kubectl rollout undo` would pull.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use pullproof::inventory::SourceState;
use serde_json::json;

use super::following::{Following, require_cluster, short};
use crate::daemon::shop::namespace;
use crate::support::daemon::BOUND;
use crate::support::wait::wait_until;

/// What every one of them is made of.
const TEMPLATE: &str = "metadata: {labels: {app: NAME}}, spec: {RESTART containers: [{name: app, image: 'r.example/NAME:1'}]}";

fn template(name: &str, restart: &str) -> String {
    TEMPLATE.replace("NAME", name).replace("RESTART", restart)
}

fn object(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n---\n"
    )
}

/// With replicas, in `apps`.
fn scaled(kind: &str, name: &str, more: &str) -> String {
    let template = template(name, "");
    let spec =
        format!("selector: {{matchLabels: {{app: {name}}}}}, {more} template: {{{template}}}");
    object("apps/v1", kind, name, &spec)
}

fn job(name: &str, more: &str) -> String {
    let template = template(name, "restartPolicy: Never,");
    object(
        "batch/v1",
        "Job",
        name,
        &format!("{more} template: {{{template}}}"),
    )
}

fn cron(name: &str, suspend: bool) -> String {
    let template = template(name, "restartPolicy: Never,");
    let spec = format!(
        "schedule: '0 4 1 1 *', suspend: {suspend}, jobTemplate: {{spec: {{template: {{{template}}}}}}}"
    );
    object("batch/v1", "CronJob", name, &spec)
}

/// `Kind/name container image class idle`
fn told(state: &SourceState) -> Vec<String> {
    let told = state.uses.iter().map(|it| {
        let by = &it.user;
        let idle = by.idle.map(|idle| format!(" {idle}")).unwrap_or_default();
        let image = by.image.strip_prefix("r.example/").unwrap_or(&by.image);
        format!(
            "{}/{} {} {image} {}{idle}",
            by.kind, by.name, by.container, by.class
        )
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

#[tokio::test]
async fn every_kind_is_found_at_zero_suspended_done_and_running() {
    require_cluster!();
    let (cluster, namespace) = namespace().await;
    let controller = {
        let template = template("controller", "");
        let spec = format!("replicas: 0, selector: {{app: controller}}, template: {{{template}}}");
        object("v1", "ReplicationController", "controller", &spec)
    };
    let pod_template = format!(
        "apiVersion: v1\nkind: PodTemplate\nmetadata: {{name: template}}\ntemplate: {{{}}}\n---\n",
        template("template", "")
    );
    let pod = object(
        "v1",
        "Pod",
        "pod",
        "initContainers: [{name: init, image: 'r.example/init:1'}], \
         containers: [{name: app, image: 'r.example/pod:1', volumeMounts: [{name: data, mountPath: /data}]}], \
         volumes: [{name: data, image: {reference: 'r.example/data:1'}}]",
    );
    let yaml = [
        scaled("Deployment", "deployment", "replicas: 0,"),
        scaled(
            "StatefulSet",
            "stateful",
            "replicas: 0, serviceName: stateful,",
        ),
        scaled("ReplicaSet", "replicas", "replicas: 0,"),
        // There is no node, so there is no Pod of it.
        scaled("DaemonSet", "daemon", ""),
        controller,
        job("held", "suspend: true,"),
        // What has nothing to complete is complete at once.
        job("done", "completions: 0,"),
        job("running", ""),
        cron("paused", true),
        cron("yearly", false),
        pod_template,
        pod,
    ]
    .concat()
    .replace(
        "metadata: {name:",
        &format!("metadata: {{namespace: {namespace}, name:"),
    );
    cluster.apply_yaml(&yaml).await;
    let pods: Api<Pod> = Api::namespaced(cluster.client(&cluster.admin()).await, &namespace);
    let debugger =
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "r.example/debug:1"}]}});
    pods.patch_ephemeral_containers("pod", &PatchParams::default(), &Patch::Strategic(debugger))
        .await
        .unwrap();

    let source = Following::start(cluster.admin().kubeconfig, &[&namespace], short()).await;
    let expected = [
        "CronJob/paused app paused:1 runtime suspended",
        "CronJob/yearly app yearly:1 runtime",
        "DaemonSet/daemon app daemon:1 runtime",
        "Deployment/deployment app deployment:1 runtime scaled to zero",
        "Job/done app done:1 runtime done",
        "Job/held app held:1 runtime suspended",
        "Job/running app running:1 runtime",
        "Pod/pod app pod:1 runtime",
        "Pod/pod debug debug:1 runtime",
        "Pod/pod init init:1 runtime",
        "Pod/pod volume:data data:1 runtime",
        "PodTemplate/template app template:1 runtime",
        "ReplicaSet/replicas app replicas:1 runtime scaled to zero",
        "ReplicationController/controller app controller:1 runtime scaled to zero",
        "StatefulSet/stateful app stateful:1 runtime scaled to zero",
    ];
    source
        .until("each is told", |state| {
            state.incomplete.is_none() && told(state) == expected
        })
        .await;
}

#[tokio::test]
async fn what_kubectl_rollout_undo_pulls_was_kept_as_a_rollback() {
    require_cluster!();
    let (cluster, namespace) = namespace().await;
    let kubectl = async |arguments: &[&str]| {
        let arguments = [arguments, &["-n", &namespace]].concat();
        cluster.kubectl(&arguments).await
    };
    let kinds = [
        ("Deployment", "deployment", "replicas: 0,"),
        (
            "StatefulSet",
            "stateful",
            "replicas: 0, serviceName: stateful,",
        ),
        ("DaemonSet", "daemon", ""),
    ];
    let yaml = kinds.map(|(kind, name, more)| scaled(kind, name, more));
    let yaml = yaml.concat().replace(
        "metadata: {name:",
        &format!("metadata: {{namespace: {namespace}, name:"),
    );
    cluster.apply_yaml(&yaml).await;
    let history = ["get", "replicasets,controllerrevisions", "-o", "name"];
    let revisions = async |count: usize| {
        wait_until(&format!("{count} revisions are kept"), BOUND, async || {
            (kubectl(&history).await.lines().count() == count).then_some(())
        })
        .await;
    };
    revisions(3).await;
    for (kind, name, _) in kinds {
        let what = format!("{}/{name}", kind.to_lowercase());
        kubectl(&["set", "image", &what, &format!("app=r.example/{name}:2")]).await;
    }
    revisions(6).await;

    let source = Following::start(cluster.admin().kubeconfig, &[&namespace], short()).await;
    let expected = |now: u32, before: u32| {
        let told = kinds.map(|(kind, name, _)| {
            let idle = if kind == "DaemonSet" {
                ""
            } else {
                " scaled to zero"
            };
            [
                format!("{kind}/{name} app {name}:{before} rollback"),
                format!("{kind}/{name} app {name}:{now} runtime{idle}"),
            ]
        });
        let mut told = told.concat();
        told.sort();
        told
    };
    let state = source
        .until("the old ones are rollbacks", |state| {
            told(state) == expected(2, 1)
        })
        .await;
    for it in &*state.uses {
        assert!(it.user.since.is_some(), "{it:?}");
    }
    for (kind, name, _) in kinds {
        let what = format!("{}/{name}", kind.to_lowercase());
        kubectl(&["rollout", "undo", &what]).await;
    }
    source
        .until("they are what runs", |state| told(state) == expected(1, 2))
        .await;
}
